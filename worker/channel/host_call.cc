// The part of HostEnd that answers calls.
#include <sys/eventfd.h>

#include <algorithm>
#include <cstring>

#include "worker/channel/host_end.h"

namespace futured::channel {

// False: no sound worker gives this call that number now. What an earlier daemon had not released may hold calls of
// runs that are over, and calls that it has answered already.
bool HostEnd::take_number(const CallId& id) {
  const std::uint32_t place = find_open(id.fence);
  if (place == kNone) return true;
  const bool waits =
      std::ranges::any_of(calls_, [&](const OpenCall& call) { return !call.is_answered && call.id.fence == id.fence; });
  if (id.number <= offers_[place].call || (waits && cursor_ >= recovered_until_)) {
    fail(waits ? "a CALL came before the answer to the one before it" : "the number of a CALL does not ascend");
    return false;
  }
  offers_[place].call = id.number;
  return true;
}

void HostEnd::answer(const CallId& id, const Answer& answer) {
  const auto call = std::ranges::find_if(calls_, [&](const OpenCall& one) { return !one.is_answered && one.id == id; });
  if (call == calls_.end()) return;
  call->is_answered = true;
  while (!calls_.empty() && calls_.front().is_answered) calls_.pop_front();
  const std::uint32_t place = find_open(id.fence);
  // Of a run that is over, or of a call that it has given up.
  if (place == kNone || offers_[place].call != id.number || is_broken()) return;
  // What an earlier daemon wrote stands: the worker may be reading it just now.
  if (has_answer(id)) return;
  write_reply(map_.reply(place), id, answer);
  wake_worker();
}

bool HostEnd::has_answer(const CallId& id) {
  const std::uint32_t place = find_open(id.fence);
  if (place == kNone) return false;
  const ReplyPlace& reply = map_.reply(place);
  if (reply.number.load(std::memory_order_acquire) != id.number) return false;
  WireFence answered;
  std::memcpy(&answered, &reply.fence, sizeof answered);
  return from_wire(answered) == id.fence;
}

void HostEnd::nudge(const Fence& fence) {
  const std::uint32_t place = find_open(fence);
  if (place == kNone || is_broken()) return;
  // In one order with the worker's: set waiting, then look again.
  map_.place(place).nudges.fetch_add(1, std::memory_order_seq_cst);
  wake_worker();
}

void HostEnd::write_reply(ReplyPlace& reply, const CallId& id, const Answer& answer) {
  const std::string_view error_class = answer.error_class.substr(0, limits::kErrorClassBytesMax);
  const std::string_view message = answer.error_message.substr(0, kReplyTextBytesMax - error_class.size());
  reply.number.store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);  // nothing below is seen before that
  reply.fence = to_wire(id.fence);
  reply.job = answer.job.value;
  reply.class_bytes = static_cast<std::uint32_t>(error_class.size());
  reply.message_bytes = static_cast<std::uint32_t>(message.size());
  copy_bytes(reply.text, error_class);
  copy_bytes(reply.text + error_class.size(), message);
  // In one order with the worker's: set waiting, then look again.
  reply.number.store(id.number, std::memory_order_seq_cst);
}

void HostEnd::wake_worker() {
  Header& header = map_.header();
  if (header.worker_waiting.load(std::memory_order_seq_cst) != 0 &&
      header.worker_waiting.exchange(0, std::memory_order_acq_rel) != 0) {
    (void)::eventfd_write(fds_.to_worker.get(), 1);
  }
}

Cursor HostEnd::cursor() const {
  return calls_.empty() ? Cursor{map_.generation(), cursor_, dones_read_} : calls_.front().before;
}

}  // namespace futured::channel
