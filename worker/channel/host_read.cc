// The half of HostEnd that reads what a worker wrote. Nothing in the rings is believed before it was copied and
// checked.
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "base/child.h"
#include "base/wait_call.h"
#include "worker/channel/host_end.h"
#include "worker/channel/packet.h"

namespace futured::channel {

namespace {

constexpr std::size_t kProgressMessageBytesMax = limits::kErrorMessageBytesMax;

[[nodiscard]] RecordHeader read_header(char* at) {
  const std::uint64_t word =
      std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(at)).load(std::memory_order_relaxed);
  return std::bit_cast<RecordHeader>(word);
}

}  // namespace

// The checked end of the responses; nothing when it cannot be true.
std::optional<std::uint64_t> HostEnd::published_responses() {
  const std::uint64_t published = map_.header().response_published.load(std::memory_order_seq_cst);
  if (published == response_seen_) return published;
  if (published % 8 != 0 || published < response_seen_ || published - released_ > map_.response_bytes()) {
    fail("its response position is impossible");
    return {};
  }
  response_seen_ = published;
  return published;
}

Read HostEnd::read(Response& response) {
  if (is_broken()) return Read::kBroken;
  const auto published = published_responses();
  if (!published) return Read::kBroken;
  const std::uint64_t left = *published - cursor_;
  if (left == 0) return Read::kNothing;
  const RecordHeader header = read_header(map_.response(cursor_));
  if (header.bytes % 8 != 0 || header.bytes < sizeof(RecordHeader) + sizeof(WireFence) || header.bytes > left) {
    fail("a response has an impossible size");
    return Read::kBroken;
  }
  const Read result = parse(header, response);
  if (result == Read::kResponse) cursor_ += header.bytes;
  return result;
}

Read HostEnd::parse(const RecordHeader& header, Response& response) {
  switch (static_cast<RecordType>(header.type)) {
    case RecordType::kDone:
      return parse_done(header, response);
    case RecordType::kEmit:
      return parse_emit(header, response);
    case RecordType::kProgress:
      return parse_progress(header, response);
    case RecordType::kCall:
      return parse_call(header, response);
    case RecordType::kRun:
    case RecordType::kStop:
      break;
  }
  fail("a response has an unknown type");
  return Read::kBroken;
}

// Copies the fixed part. The header is the one that was checked, whatever stands in shared memory by now.
template <typename Record>
bool HostEnd::copy_fixed(const RecordHeader& header, Record& record) {
  if (header.bytes < sizeof record) {
    fail("a response is too short for its type");
    return false;
  }
  std::memcpy(static_cast<void*>(&record), map_.response(cursor_), sizeof record);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  record.header = header;
  if (is_expected(from_wire(record.fence))) return true;
  fail("a response names a run that is not here");
  return false;
}

// Copies the variable part into scratch_. `variable` is a sum of 32-bit lengths and cannot overflow.
bool HostEnd::copy_variable(const RecordHeader& header, std::size_t fixed, std::uint64_t variable) {
  if (variable > header.bytes || padded(fixed + variable) != header.bytes) {
    fail("the lengths in a response do not add up");
    return false;
  }
  scratch_.assign(map_.response(cursor_) + fixed, variable);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return true;
}

bool HostEnd::is_expected(const Fence& fence) { return cursor_ < recovered_until_ || find_open(fence) != kNone; }

Read HostEnd::parse_done(const RecordHeader& header, Response& response) {
  DoneRecord record;
  if (!copy_fixed(header, record)) return Read::kBroken;
  const bool beside = (header.flags & kDoneResultInDescriptor) != 0;
  if (!is_done_status(record.status) || record.class_bytes > limits::kErrorClassBytesMax ||
      record.message_bytes > limits::kErrorMessageBytesMax || record.result_bytes > limits::kInlineBytesMax ||
      record.descriptor_count > limits::kPayloadPartsMax + 1 || record.started_at_ns < 0 ||
      record.finished_at_ns < record.started_at_ns || (beside && record.descriptor_count == 0) ||
      (beside && (record.result_bytes != 0 || record.descriptor_result_bytes > limits::kSegmentBytesMax))) {
    fail("a DONE has a field out of bounds");
    return Read::kBroken;
  }
  const std::uint64_t variable = std::uint64_t{record.class_bytes} + record.message_bytes + record.result_bytes;
  if (!copy_variable(header, sizeof record, variable)) return Read::kBroken;

  awaits_descriptors_ = false;
  std::span<Fd> descriptors;
  if (record.descriptor_count > 0) {
    switch (fetch(record)) {
      case Fetched::kBroken:
        return Read::kBroken;
      case Fetched::kNotYet:
        awaits_descriptors_ = true;
        return Read::kNothing;
      case Fetched::kYes:
        descriptors = arrived_.back().descriptors;
        break;
    }
  }
  const std::string_view text = scratch_;
  Done done;
  done.fence = from_wire(record.fence);
  done.status = static_cast<DoneStatus>(record.status);
  done.started_at = Instant{record.started_at_ns};
  done.finished_at = Instant{record.finished_at_ns};
  done.cpu_ns = record.cpu_ns;
  done.peak_rss_bytes = record.peak_rss_bytes;
  done.exit_code = record.exit_code;
  done.signal = record.signal;
  done.no_retry = (header.flags & kDoneNoRetry) != 0;
  done.retry_after_ms = record.retry_after_ms;
  done.message_cut = (header.flags & kDoneMessageCut) != 0;
  done.stacks_kept = (header.flags & kDoneStacksKept) != 0;
  done.error_class = text.substr(0, record.class_bytes);
  done.error_message = text.substr(record.class_bytes, record.message_bytes);
  done.result = text.substr(record.class_bytes + record.message_bytes);
  done.descriptors = descriptors;
  if (beside) {
    auto view = SealedView::map(descriptors.front().get(), record.descriptor_result_bytes);
    if (!view) {
      fail("a result's memfd is no good: " + view.error().message);
      return Read::kBroken;
    }
    result_view_ = std::move(*view);
    done.result = result_view_.bytes();
    done.result_memfd = &descriptors.front();
    done.descriptors = descriptors.subspan(1);
  }
  if (const std::uint32_t place = find_open(done.fence); place != kNone) {
    close(place);
    free_place(place);
  }
  ++dones_read_;
  response = done;
  return Read::kResponse;
}

Read HostEnd::parse_emit(const RecordHeader& header, Response& response) {
  EmitRecord record;
  if (!copy_fixed(header, record)) return Read::kBroken;
  if (record.data_bytes > kEmitBytesMax || record.stream == 0 || record.stream > kStreamsMax) {
    fail("an EMIT has a field out of bounds");
    return Read::kBroken;
  }
  if (!copy_variable(header, sizeof record, record.data_bytes)) return Read::kBroken;
  response = Emit{from_wire(record.fence), record.stream, record.offset, scratch_};
  return Read::kResponse;
}

Read HostEnd::parse_progress(const RecordHeader& header, Response& response) {
  ProgressRecord record;
  if (!copy_fixed(header, record)) return Read::kBroken;
  if (record.message_bytes > kProgressMessageBytesMax) {
    fail("a PROGRESS has a field out of bounds");
    return Read::kBroken;
  }
  if (!copy_variable(header, sizeof record, record.message_bytes)) return Read::kBroken;
  response = Progress{from_wire(record.fence), record.done, record.total, scratch_};
  return Read::kResponse;
}

Read HostEnd::parse_call(const RecordHeader& header, Response& response) {
  CallRecord record;
  if (!copy_fixed(header, record)) return Read::kBroken;
  const CallId id{from_wire(record.fence), record.number};
  if (record.request_bytes > limits::kChildBytesMax || id.number == 0) {
    fail("a CALL has a field out of bounds");
    return Read::kBroken;
  }
  if (!copy_variable(header, sizeof record, record.request_bytes)) return Read::kBroken;
  const Status sound = is_wait_call(scratch_) ? check_wait_call(scratch_) : check_encoded_child(scratch_);
  if (!sound) {
    fail("the request of a CALL is no good: " + sound.error().message);
    return Read::kBroken;
  }
  if (!take_number(id)) return Read::kBroken;
  calls_.push_back({id, {map_.generation(), cursor_, dones_read_}, false});
  response = Call{id, scratch_};
  return Read::kResponse;
}

// Brings the packet of the DONE at cursor_ into arrived_. Packets come in the order of their records.
HostEnd::Fetched HostEnd::fetch(const DoneRecord& record) {
  if (arrived_.empty() || arrived_.back().tag.position < cursor_) {
    const Fetched peeked = peek_one();
    if (peeked != Fetched::kYes) return peeked;
  }
  const Arrived& last = arrived_.back();
  if (last.tag.position == cursor_ && from_wire(last.tag.fence) == from_wire(record.fence) &&
      last.descriptors.size() == record.descriptor_count) {
    return Fetched::kYes;
  }
  fail("the descriptors beside a DONE are not its own");
  return Fetched::kBroken;
}

// Looks at the next packet and leaves it in the socket: it is taken out when its record is released, so that a daemon
// that dies before its commit leaves the result to the next one.
HostEnd::Fetched HostEnd::peek_one() {
  for (;;) {
    std::array<char, sizeof(DescriptorTag) + 1> buffer;
    auto packet = receive_packet(fds_.descriptors.get(), buffer, true);
    if (!packet) {
      fail("its descriptor socket: " + packet.error().message);
      return Fetched::kBroken;
    }
    if (!packet->has_value()) return Fetched::kNotYet;
    Arrived arrived;
    if ((*packet)->bytes == sizeof arrived.tag) std::memcpy(&arrived.tag, buffer.data(), sizeof arrived.tag);
    arrived.descriptors = std::move((*packet)->descriptors);
    const bool good = (*packet)->bytes == sizeof arrived.tag && arrived.tag.magic == kTagMagic &&
                      arrived.tag.count == arrived.descriptors.size() &&
                      (arrived_.empty() || arrived.tag.position > arrived_.back().tag.position);
    if (!good) {
      fail("a packet on its descriptor socket is damaged");
      return Fetched::kBroken;
    }
    if (arrived.tag.position >= released_) {
      arrived_.push_back(std::move(arrived));
      return Fetched::kYes;
    }
    drop_packet();  // of a record that an earlier daemon released just before it died
  }
}

// Takes the first packet out of the socket; without room for its descriptors the kernel closes them.
void HostEnd::drop_packet() {
  char byte;
  (void)::recv(fds_.descriptors.get(), &byte, 1, MSG_DONTWAIT | MSG_TRUNC);
}

void HostEnd::release(const Cursor& cursor) {
  if (cursor.generation != map_.generation() || cursor.position <= released_) return;
  FUTURED_CHECK(cursor.position <= cursor_ && cursor.dones <= dones_read_, "released what was not read");
  released_ = cursor.position;
  dones_released_ = cursor.dones;
  Header& header = map_.header();
  // In one order with the worker's: ask for room, then look again.
  header.response_tail.store(released_, std::memory_order_seq_cst);
  if (header.worker_wants_room.load(std::memory_order_seq_cst) != 0 &&
      header.worker_wants_room.exchange(0, std::memory_order_acq_rel) != 0) {
    (void)::eventfd_write(fds_.to_worker.get(), 1);
  }
  // Last: dying before this leaves packets that recognisably belong to nothing; dying after the opposite order would
  // leave a record without its descriptors.
  while (!arrived_.empty() && arrived_.front().tag.position < released_) {
    arrived_.pop_front();
    drop_packet();
  }
}

}  // namespace futured::channel
