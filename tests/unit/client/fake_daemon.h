// FakeDaemon: just enough of a daemon, in this process, to test the client against. No store, no workers.
//
// Tasks: "echo" succeeds at once with its payload; "fail" ends FAILED; "hold" waits for end(); "big" succeeds with a
// result that is not sent unasked. Of a chunk of calls, each echoes or, given "fail", fails. A task named "unknown…" is
// refused. Of a command, an empty argv is refused. A watch tells where it begins, whether there is a gap, and no event.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace futured::test {

class FakeDaemon {
 public:
  explicit FakeDaemon(std::string socket_path);
  ~FakeDaemon();
  FakeDaemon(const FakeDaemon&) = delete;
  FakeDaemon& operator=(const FakeDaemon&) = delete;

  void stop();   // as kill -9: every connection breaks; the jobs stay
  void start();  // again, on the same socket

  void hold_receipts(bool hold);           // batches are accepted, but not acknowledged
  void acknowledge(std::size_t receipts);  // so many of those that are held, the oldest first
  void read_only(std::size_t batches);     // so many in all; then writes of the client stall
  void refuse_keys();                      // from now on, as a daemon does that has none
  void hold_results(bool hold);            // what is fetched of them waits, and fails after 10 s
  [[nodiscard]] std::size_t jobs() const;  // accepted in all
  void end(std::uint64_t id, bool well);   // ends a "hold" job
  void end_all_held();
  void wait_for_jobs(std::size_t count);     // until so many have been accepted in all
  void wait_for_batches(std::size_t count);  // until so many have been read in all, refused ones included
  void wait_for_waits(std::size_t count);    // until so many ids are being waited for through Wait

  [[nodiscard]] std::vector<std::size_t> batch_sizes() const;
  [[nodiscard]] std::size_t wait_calls() const;           // Wait calls in all
  [[nodiscard]] std::size_t wait_calls_open_max() const;  // the most at once
  [[nodiscard]] std::vector<std::uint64_t> cancelled() const;
  [[nodiscard]] std::string address() const;

  struct State;

 private:
  struct Services;
  std::string socket_path_;
  std::shared_ptr<State> state_;
  std::unique_ptr<Services> services_;
};

}  // namespace futured::test
