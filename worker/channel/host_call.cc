// The half of HostEnd that answers calls.
#include <sys/eventfd.h>

#include <algorithm>
#include <cstring>

#include "worker/channel/host_end.h"

namespace futured::channel {

// What an earlier daemon had not released may hold calls that it has answered already.
bool HostEnd::take_number(Offer& offer, const CallId& id) {
  const bool waits =
      std::ranges::any_of(calls_, [&](const OpenCall& call) { return !call.is_answered && call.id.fence == id.fence; });
  if (id.number <= offer.call || (waits && cursor_ >= recovered_until_)) {
    fail(waits ? "a CALL came before the answer to the one before it" : "the number of a CALL does not ascend");
    return false;
  }
  offer.call = id.number;
  return true;
}

void HostEnd::answer(const CallId& id, const Answer& answer) {
  const auto call = std::ranges::find_if(calls_, [&](const OpenCall& one) { return !one.is_answered && one.id == id; });
  if (call == calls_.end()) return;
  call->is_answered = true;
  while (!calls_.empty() && calls_.front().is_answered) calls_.pop_front();
  Offer* const offer = find_open(id.fence);
  // Of a run that is over, or of a call that it has given up.
  if (offer == nullptr || offer->call != id.number || is_broken()) return;
  const bool is_new = !offer->reply_at;
  if (is_new && !append_reply(*offer)) return;
  write_reply(reply_at(*offer->reply_at), id, answer);
  if (is_new) return publish();
  wake_worker();
}

// Its room was kept since the run was offered.
bool HostEnd::append_reply(Offer& offer) {
  ++offers_with_reply_;
  if (!request_room(kReplyBytes, reply_reserve())) {
    --offers_with_reply_;
    fail("its request ring has no room for a reply");
    return false;
  }
  offer.reply_at = appended_;
  auto* const record = new (map_.request(appended_)) ReplyRecord{};
  record->header = {kReplyBytes, static_cast<std::uint16_t>(RecordType::kReply), 0};
  record->fence = to_wire(offer.fence);
  appended_ += kReplyBytes;
  return true;
}

ReplyRecord& HostEnd::reply_at(std::uint64_t position) const {
  return *reinterpret_cast<ReplyRecord*>(map_.request(position));
}

void HostEnd::write_reply(ReplyRecord& record, const CallId& id, const Answer& answer) {
  const std::string_view error_class = answer.error_class.substr(0, limits::kErrorClassBytesMax);
  const std::string_view message = answer.error_message.substr(0, kReplyTextBytesMax - error_class.size());
  record.job = answer.job.value;
  record.class_bytes = static_cast<std::uint32_t>(error_class.size());
  record.message_bytes = static_cast<std::uint32_t>(message.size());
  char* const text = reinterpret_cast<char*>(&record) + sizeof record;
  copy_bytes(text, error_class);
  copy_bytes(text + error_class.size(), message);
  // In one order with the worker's: set waiting, then look again.
  record.number.store(id.number, std::memory_order_seq_cst);
}

void HostEnd::wake_worker() {
  Header& header = map_.header();
  if (header.worker_waiting.load(std::memory_order_seq_cst) != 0 &&
      header.worker_waiting.exchange(0, std::memory_order_acq_rel) != 0) {
    (void)::eventfd_write(fds_.to_worker.get(), 1);
  }
}

// Of a daemon before us, as it stands in the ring. False: it is not what one writes.
bool HostEnd::recover_reply(std::uint64_t at, const RecordHeader& header) {
  WireFence wire;
  if (header.bytes != kReplyBytes) return false;
  std::memcpy(&wire, &reply_at(at).fence, sizeof wire);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  Offer* const offer = find_open(from_wire(wire));
  if (offer == nullptr || offer->reply_at) return offer == nullptr;
  offer->reply_at = at;
  ++offers_with_reply_;
  return true;
}

Cursor HostEnd::cursor() const {
  return calls_.empty() ? Cursor{map_.generation(), cursor_, dones_read_} : calls_.front().before;
}

}  // namespace futured::channel
