#include "daemon/rpc/inbox.h"

#include <algorithm>
#include <utility>

namespace futured::rpc {

namespace {

constexpr std::size_t kEndedBytes = sizeof(EndedJob) + sizeof(Ending);
constexpr std::size_t kSliceJobs = 8'192;         // packed together
constexpr std::size_t kSmallBytes = 1024 * 1024;  // a client with less is never the one that is cut off

}  // namespace

bool Inbox::add(const std::shared_ptr<const Batch>& batch, std::vector<EndedJob> jobs) {
  if (jobs.empty()) return true;
  std::size_t bytes = 0;
  for (const EndedJob& job : jobs) bytes += kEndedBytes + job.ending->result.size();
  bytes_ += bytes;
  const std::size_t total = total_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  waiting_.push_back({batch, std::move(jobs), bytes});
  return bytes_ <= limits::kInboxBytesMax && (total <= limits::kInboxBytesTotalMax || bytes_ <= kSmallBytes);
}

void Inbox::sent(const Delivery& delivery) {
  bytes_ -= delivery.bytes;
  total_.fetch_sub(delivery.bytes, std::memory_order_relaxed);
}

// An empty inbox may outlive the total: the loop may still share the call that it belonged to.
void Inbox::clear() {
  if (bytes_ > 0) total_.fetch_sub(bytes_, std::memory_order_relaxed);
  bytes_ = 0;
  waiting_.clear();
}

std::size_t tell(std::deque<Delivery>& from, std::vector<Delivery>& done, ResultWanted wanted,
                 OutcomePacker::Outcomes& outcomes, OutcomePacker::Packed& packed) {
  std::size_t bytes = 0;
  while (!from.empty() && bytes < limits::kAnswerBytesMax) {
    Delivery& delivery = from.front();
    const std::size_t end = std::min(delivery.jobs.size(), delivery.next + kSliceJobs);
    JobId first = delivery.jobs[delivery.next].id;
    for (std::size_t i = delivery.next; i < end; ++i) first = std::min(first, delivery.jobs[i].id);
    OutcomePacker packer(first, wanted, outcomes, packed);
    while (delivery.next < end && bytes < limits::kAnswerBytesMax) {
      const EndedJob& job = delivery.jobs[delivery.next++];
      bytes += packer.add(job.id, *job.ending);
    }
    if (delivery.next < delivery.jobs.size()) continue;
    done.push_back(std::move(delivery));
    from.pop_front();
  }
  return bytes;
}

}  // namespace futured::rpc
