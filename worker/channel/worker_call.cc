// The part of WorkerEnd that asks the daemon for something, and finds the answer.
#include <algorithm>

#include "worker/channel/worker_state.h"

namespace futured::channel {

bool WorkerEnd::call(const CallId& id, std::string_view request, Duration patience) {
  FUTURED_CHECK(request.size() <= limits::kChildBytesMax, "a request of a call is bounded by who encodes it");
  CallRecord record{{0, static_cast<std::uint16_t>(RecordType::kCall), 0},
                    to_wire(id.fence),
                    id.number,
                    static_cast<std::uint32_t>(request.size()),
                    0};
  return state_->append({reinterpret_cast<char*>(&record), sizeof record}, request, patience);
}

std::optional<Reply> WorkerEnd::reply(const Run& run, std::uint64_t number) const { return state_->reply(run, number); }
bool WorkerEnd::arm_for_reply(const Run& run, std::uint64_t number) { return state_->arm_for_reply(run, number); }

std::uint32_t WorkerEnd::nudges(const Run& run) const { return state_->nudges(run); }
bool WorkerEnd::arm_for_nudge(const Run& run, std::uint32_t seen) { return state_->arm_for_nudge(run, seen); }

// An answer is written once (HostEnd::answer), and the next one only after this run has called again. The second look
// at the number costs a load, and holds should a daemon think otherwise.
std::optional<Reply> WorkerEnd::State::reply(const Run& run, std::uint64_t number) const {
  const ReplyPlace& reply = map_.reply(run.place);
  if (reply.number.load(std::memory_order_seq_cst) != number || from_wire(reply.fence) != run.fence) return {};
  const std::size_t class_bytes = std::min<std::size_t>(reply.class_bytes, kReplyTextBytesMax);
  const std::size_t message_bytes = std::min<std::size_t>(reply.message_bytes, kReplyTextBytesMax - class_bytes);
  Reply copy{JobId{reply.job}, std::string(reply.text, class_bytes),
             std::string(reply.text + class_bytes, message_bytes)};
  std::atomic_thread_fence(std::memory_order_acquire);
  if (reply.number.load(std::memory_order_relaxed) != number) return {};
  return copy;
}

bool WorkerEnd::State::arm_for_reply(const Run& run, std::uint64_t number) {
  if (!arm_for_stop()) return false;
  if (!reply(run, number)) return true;
  map_.header().worker_waiting.store(0, std::memory_order_relaxed);
  return false;
}

bool WorkerEnd::State::arm_for_nudge(const Run& run, std::uint32_t seen) {
  if (!arm_for_stop()) return false;
  if (nudges(run) == seen) return true;
  map_.header().worker_waiting.store(0, std::memory_order_relaxed);
  return false;
}

}  // namespace futured::channel
