// Futures from coroutines: all of it. What is awaited runs on the caller's loop; see coroutine.h.
#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "futured/client.h"
#include "futured/coroutine.h"
#include "futured/gather.h"
#include "futured/run_loop.h"
#include "futured/session.h"

namespace futured::client {

// Futures in the order in which they end:
//   while (const auto future = co_await completions.next()) …
// For one loop; one next() at a time.
class Completions {
 public:
  class Next;
  explicit Completions(std::span<const Future> futures = {});
  // Also while others are being waited for.
  void add(const Future& future);
  // The next that ended; nothing when all have been given out.
  [[nodiscard]] Next next();

 private:
  std::shared_ptr<CompletionQueue> queue_;
};

class Completions::Next {
 public:
  explicit Next(std::shared_ptr<CompletionQueue> queue) : queue_(std::move(queue)) {}
  class Awaiter {
   public:
    Awaiter(std::shared_ptr<CompletionQueue> queue, const Surroundings& here);
    Awaiter(Awaiter&&) noexcept;
    Awaiter& operator=(Awaiter&&) noexcept;
    ~Awaiter();
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> handle);
    [[nodiscard]] std::optional<Future> await_resume();

   private:
    struct State;
    std::unique_ptr<State> state_;
  };
  [[nodiscard]] Awaiter in(const Surroundings& here) const { return {queue_, here}; }

 private:
  std::shared_ptr<CompletionQueue> queue_;
};

// A job's output, piece by piece, while it runs:
//   while (const auto piece = co_await output.next()) …
// Goes on by itself after a broken connection, without loss or repetition. Reads ahead by 1 MiB, on a thread of its
// own. For one loop; one next() at a time. Letting go of it ends the reading, not the job.
class AsyncOutput {
 public:
  class Next;
  AsyncOutput(const Client& client, std::uint64_t id, OutputOptions options = {});
  AsyncOutput(AsyncOutput&&) noexcept;
  AsyncOutput& operator=(AsyncOutput&&) noexcept;
  ~AsyncOutput();

  // The next piece; nothing at the end. Throws as Client::read_output does.
  [[nodiscard]] Next next();
  // After the end: how the job ended, without its result; of state kUnknown when it has not.
  [[nodiscard]] const Outcome& outcome() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

class AsyncOutput::Next {
 public:
  explicit Next(std::shared_ptr<State> state) : state_(std::move(state)) {}
  class Awaiter {
   public:
    Awaiter(std::shared_ptr<State> state, const Surroundings& here);
    Awaiter(Awaiter&&) noexcept;
    Awaiter& operator=(Awaiter&&) noexcept;
    ~Awaiter();
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> handle);
    [[nodiscard]] std::optional<OutputStream::Piece> await_resume();

   private:
    struct Waiting;
    std::unique_ptr<Waiting> waiting_;
  };
  [[nodiscard]] Awaiter in(const Surroundings& here) const { return {state_, here}; }

 private:
  std::shared_ptr<State> state_;
};

}  // namespace futured::client
