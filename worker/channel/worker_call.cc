// The part of WorkerEnd that asks the daemon for something, and finds the answer.
#include <algorithm>
#include <cstring>

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

std::optional<Reply> WorkerEnd::reply(const CallId& id) { return state_->reply(id); }
bool WorkerEnd::arm_for_reply(const CallId& id) { return state_->arm_for_reply(id); }

// The run is not finished, so its REPLY is not passed in the ring either, whoever has read past it.
const ReplyRecord* WorkerEnd::State::find_reply(const CallId& id) {
  const std::lock_guard lock(mutex_);
  scan(map_.header().request_published.load(std::memory_order_acquire));
  const auto found = std::ranges::find(replies_, id.fence, &ReplyPlace::fence);
  if (found == replies_.end()) return nullptr;
  const auto* const record = reinterpret_cast<const ReplyRecord*>(map_.request(found->position));
  return record->number.load(std::memory_order_seq_cst) == id.number ? record : nullptr;
}

std::optional<Reply> WorkerEnd::State::reply(const CallId& id) {
  const ReplyRecord* const record = find_reply(id);
  if (record == nullptr) return std::nullopt;
  const std::size_t class_bytes = std::min<std::size_t>(record->class_bytes, kReplyTextBytesMax);
  const std::size_t message_bytes = std::min<std::size_t>(record->message_bytes, kReplyTextBytesMax - class_bytes);
  const char* const text = reinterpret_cast<const char*>(record) + sizeof *record;
  return Reply{JobId{record->job}, std::string(text, class_bytes), std::string(text + class_bytes, message_bytes)};
}

bool WorkerEnd::State::arm_for_reply(const CallId& id) {
  if (!arm_for_stop()) return false;
  if (find_reply(id) == nullptr) return true;
  map_.header().worker_waiting.store(0, std::memory_order_relaxed);
  return false;
}

// With mutex_ held.
void WorkerEnd::State::note_reply(const ReplyRecord& record, std::uint64_t at) {
  const Fence fence = from_wire(record.fence);
  if (std::ranges::find(replies_, fence, &ReplyPlace::fence) == replies_.end()) replies_.push_back({fence, at});
}

// With mutex_ held: the run is over.
void WorkerEnd::State::drop_reply(const Fence& fence) {
  std::erase_if(replies_, [&](const ReplyPlace& place) { return place.fence == fence; });
}

// A run that goes on keeps its REPLY, which the tail cannot pass before the run itself.
void WorkerEnd::State::pass_reply(const ReplyRecord& record, std::uint64_t end) {
  const std::uint64_t at = read_.load(std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    const Fence fence = from_wire(record.fence);
    if (!is_outstanding(fence)) {
      drop_reply(fence);
    } else if (scanned_.load(std::memory_order_relaxed) <= at) {
      note_reply(record, at);
    }
    outstanding_.push_back({Fence{}, at, end, false});
    read_.store(end, std::memory_order_relaxed);
  }
  finish(at);
  silent_progress_ = true;
}

}  // namespace futured::channel
