// Inbox: ended jobs on their way to one client, between the loop that tells them and the thread that sends them.
//
// Nothing is copied on the loop's thread: an entry shares the batch that its endings lie in.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "base/limits.h"
#include "daemon/loop/sinks.h"
#include "daemon/rpc/convert.h"

namespace futured::rpc {

struct Delivery {
  std::shared_ptr<const Batch> batch;
  std::vector<EndedJob> jobs;
  std::size_t bytes = 0;
  std::size_t next = 0;  // jobs before it are sent
};

// Guarded by its owner.
class Inbox {
 public:
  explicit Inbox(std::atomic<std::size_t>& total) : total_(total) {}
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;
  ~Inbox() { clear(); }

  [[nodiscard]] bool empty() const { return waiting_.empty(); }

  // False: the client reads too slowly, and what waits for it is over its bound.
  [[nodiscard]] bool add(const std::shared_ptr<const Batch>& batch, std::vector<EndedJob> jobs);

  // Everything that waits. Counted as waiting until sent().
  [[nodiscard]] std::deque<Delivery> take() { return std::exchange(waiting_, {}); }
  void sent(const Delivery& delivery);
  void clear();

 private:
  std::atomic<std::size_t>& total_;
  std::deque<Delivery> waiting_;
  std::size_t bytes_ = 0;
};

// Adds outcomes from the front of `from` to a message until it is full. Fully told deliveries are moved to `done`.
// Returns about how many bytes were added.
std::size_t tell(std::deque<Delivery>& from, std::vector<Delivery>& done, ResultWanted wanted,
                 OutcomePacker::Outcomes& outcomes, OutcomePacker::Packed& packed);

}  // namespace futured::rpc
