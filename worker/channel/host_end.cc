#include "worker/channel/host_end.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "worker/channel/packet.h"

namespace futured::channel {

namespace {

// After it the compiler must use the private copy, never the shared bytes a second time.
void end_of_copy() { std::atomic_signal_fence(std::memory_order_seq_cst); }

[[nodiscard]] RecordHeader copy_header(const char* at) {
  std::uint64_t word = std::atomic_ref<std::uint64_t>(*reinterpret_cast<std::uint64_t*>(const_cast<char*>(at)))
                           .load(std::memory_order_relaxed);
  return std::bit_cast<RecordHeader>(word);
}

[[nodiscard]] std::array<int, limits::kPayloadPartsMax + 1> gather(int first, std::span<const int> rest) {
  std::array<int, limits::kPayloadPartsMax + 1> all{};
  std::size_t count = 0;
  if (first >= 0) all[count++] = first;
  std::copy(rest.begin(), rest.end(), all.begin() + static_cast<std::ptrdiff_t>(count));
  return all;
}

[[nodiscard]] Error broken_by(std::string_view what) {
  return {ErrorCode::kDataLoss, "the worker broke its channel: " + std::string(what)};
}

}  // namespace

Result<HostEnd> HostEnd::attach(ChannelFds fds) {
  auto map = ChannelMap::map(fds.memory.get());
  if (!map) return map.error();
  HostEnd end(std::move(fds), std::move(*map));
  if (auto recovered = end.recover(); !recovered) return recovered.error();
  return end;
}

Status HostEnd::recover() {
  const int from_first = 0;
  if (::setsockopt(fds_.descriptors.get(), SOL_SOCKET, SO_PEEK_OFF, &from_first, sizeof from_first) != 0) {
    return system_error("setsockopt SO_PEEK_OFF");
  }
  Header& header = map_.header();
  // The tail is read before the responses: a run that has left the request ring published its DONE before it left.
  const std::uint64_t tail = header.request_tail.load(std::memory_order_acquire);
  released_ = cursor_ = header.response_tail.load(std::memory_order_acquire);
  response_seen_ = released_;
  if (released_ % 8 != 0 || !published_responses()) return broken_by("response positions");
  recovered_until_ = response_seen_;
  return recover_requests(tail);
}

Status HostEnd::recover_requests(std::uint64_t tail) {
  const std::uint64_t published = map_.header().request_published.load(std::memory_order_acquire);
  if (tail % 8 != 0 || published % 8 != 0 || tail > published || published - tail > map_.request_bytes()) {
    return broken_by("request positions");
  }
  appended_ = published_ = published;
  request_tail_ = tail;
  for (std::uint64_t at = tail; at < published;) {
    const RecordHeader header = copy_header(map_.request(at));
    const bool is_run = header.type == static_cast<std::uint16_t>(RecordType::kRun);
    const bool is_reply = header.type == static_cast<std::uint16_t>(RecordType::kReply);
    const std::size_t least = is_run ? sizeof(RunRecord) : sizeof(StopRecord);
    if (!is_run && !is_reply && header.type != static_cast<std::uint16_t>(RecordType::kStop)) {
      return broken_by("request type");
    }
    if (header.bytes % 8 != 0 || header.bytes < least || header.bytes > published - at) {
      return broken_by("request size");
    }
    if (is_reply && !recover_reply(at, header)) return broken_by("reply");
    if (is_run) {
      WireFence wire;
      std::memcpy(&wire, &run_at(at).fence, sizeof wire);
      end_of_copy();
      offers_.push_back({from_wire(wire), at, false});
      if (run_at(at).state.load(std::memory_order_acquire) == static_cast<std::uint32_t>(RunState::kRevoked)) {
        offers_.back().closed = true;
      } else {
        ++outstanding_;
        const auto seen = look(offers_.back());
        if (!seen) return broken_by("run state");
        recovered_.push_back(*seen);
      }
    }
    at += header.bytes;
  }
  return {};
}

void HostEnd::fail(std::string why) {
  if (broken_.empty()) broken_ = std::move(why);
}

RunRecord& HostEnd::run_at(std::uint64_t position) const {
  return *reinterpret_cast<RunRecord*>(map_.request(position));
}

// Room for `bytes` with `keep_free` left over. Reads the worker's tail only when what was seen last does not do.
bool HostEnd::request_room(std::size_t bytes, std::size_t keep_free) {
  const auto fits = [&] { return appended_ - request_tail_ + bytes + keep_free <= map_.request_bytes(); };
  if (fits()) return true;
  const std::uint64_t tail = map_.header().request_tail.load(std::memory_order_acquire);
  if (tail < request_tail_ || tail > published_ || tail % 8 != 0) {
    fail("its request tail is impossible");
    return false;
  }
  request_tail_ = tail;
  return fits();
}

bool HostEnd::offer(const RunRequest& request) {
  if (is_broken()) return false;
  FUTURED_CHECK(request.descriptors.size() <= limits::kPayloadPartsMax, "more segments than a payload has parts");
  const bool copied = request.payload_memfd < 0 && request.payload.size() > limits::kInlineBytesMax;
  const bool beside = copied || request.payload_memfd >= 0;
  const std::size_t inline_bytes = beside ? 0 : request.payload.size();
  const std::size_t limit_bytes = request.run_timeout.count() > 0 ? sizeof(std::int64_t) : 0;
  const std::size_t bytes = padded(sizeof(RunRecord) + inline_bytes) + limit_bytes;
  wants_room_ = true;
  if (outstanding_ >= limits::kOffersPerSlotMax) return false;
  if (outstanding_ + (dones_read_ - dones_released_) >= dones_max(map_.response_bytes())) return false;
  if (!request_room(bytes, kStopReserveBytes + reply_reserve() + kReplyBytes)) return false;

  Fd copy;
  if (copied) {
    auto made = sealed_copy("futured-payload", request.payload);
    if (!made) return false;  // no memory or descriptors now: the same as no room
    copy = std::move(*made);
  }
  const int payload_memfd = copied ? copy.get() : request.payload_memfd;
  const std::size_t count = request.descriptors.size() + (beside ? 1 : 0);
  if (count > 0) {
    const auto all = gather(payload_memfd, request.descriptors);
    const DescriptorTag tag{kTagMagic, static_cast<std::uint32_t>(count), appended_, to_wire(request.fence)};
    if (send_packet(fds_.descriptors.get(), bytes_of(tag), std::span(all.data(), count)) != Sent::kYes) return false;
  }
  wants_room_ = false;

  auto* record = new (map_.request(appended_)) RunRecord{};
  std::uint16_t flags = beside ? kRunPayloadInDescriptor : 0;
  if (request.follow) flags |= kRunFollow;
  if (limit_bytes > 0) flags |= kRunTimeLimit;
  record->header = {static_cast<std::uint32_t>(bytes), static_cast<std::uint16_t>(RecordType::kRun), flags};
  record->fence = to_wire(request.fence);
  record->state.store(static_cast<std::uint32_t>(RunState::kOffered), std::memory_order_relaxed);
  record->task = request.task;
  record->payload_bytes = static_cast<std::uint32_t>(copied                       ? request.payload.size()
                                                     : request.payload_memfd >= 0 ? request.payload_memfd_bytes
                                                                                  : inline_bytes);
  record->descriptor_count = static_cast<std::uint32_t>(count);
  copy_bytes(map_.request(appended_) + sizeof(RunRecord), request.payload.substr(0, inline_bytes));
  if (limit_bytes > 0) {
    const std::int64_t limit_ns = request.run_timeout.count();
    std::memcpy(map_.request(appended_) + bytes - limit_bytes, &limit_ns, sizeof limit_ns);
  }
  offers_.push_back({request.fence, appended_, false});
  ++outstanding_;
  appended_ += bytes;
  return true;
}

bool HostEnd::stop(const Fence& fence, StopReason reason) {
  if (is_broken() || !request_room(sizeof(StopRecord), reply_reserve())) return false;
  auto* record = new (map_.request(appended_)) StopRecord{};
  record->header = {sizeof(StopRecord), static_cast<std::uint16_t>(RecordType::kStop), 0};
  record->fence = to_wire(fence);
  record->reason = static_cast<std::uint32_t>(reason);
  appended_ += sizeof(StopRecord);
  return true;
}

void HostEnd::publish() {
  if (appended_ == published_ || is_broken()) return;
  published_ = appended_;
  Header& header = map_.header();
  // In one order with the worker's: set waiting, then look again.
  header.request_published.store(published_, std::memory_order_seq_cst);
  wake_worker();
}

HostEnd::Offer* HostEnd::find_open(const Fence& fence) {
  // Not the first of its name: a revoked run may be offered here again while its old record still lies in the ring.
  for (Offer& offer : offers_) {
    if (!offer.closed && offer.fence == fence) return &offer;
  }
  return nullptr;
}

void HostEnd::close(Offer& offer) {
  offer.closed = true;
  --outstanding_;
  if (offer.reply_at) --offers_with_reply_;
  while (!offers_.empty() && offers_.front().closed) offers_.pop_front();
}

Revoked HostEnd::revoke(const Fence& fence) {
  Offer* offer = find_open(fence);
  if (offer == nullptr || is_broken()) return Revoked::kUnknown;
  auto expected = static_cast<std::uint32_t>(RunState::kOffered);
  if (run_at(offer->position)
          .state.compare_exchange_strong(expected, static_cast<std::uint32_t>(RunState::kRevoked),
                                         std::memory_order_acq_rel)) {
    if (offer->taken) {
      fail("a run that was taken is offered again");
      return Revoked::kTaken;
    }
    close(*offer);
    return Revoked::kYes;
  }
  if (expected != static_cast<std::uint32_t>(RunState::kTaken) &&
      expected != static_cast<std::uint32_t>(RunState::kFinished)) {
    fail("a run's state word is impossible");
  }
  return Revoked::kTaken;
}

std::optional<Head> HostEnd::look(Offer& offer) {
  const RunRecord& record = run_at(offer.position);
  const std::uint32_t state = record.state.load(std::memory_order_acquire);
  const Instant taken_at{record.taken_at_ns.load(std::memory_order_relaxed)};
  const Instant alive_at{record.alive_at_ns.load(std::memory_order_relaxed)};
  if (state == static_cast<std::uint32_t>(RunState::kOffered)) {
    if (!offer.taken) return Head{offer.fence, RunState::kOffered, {}, {}};
    fail("a run that was taken is offered again");
    return {};
  }
  const bool known =
      state == static_cast<std::uint32_t>(RunState::kTaken) || state == static_cast<std::uint32_t>(RunState::kFinished);
  if (!known || taken_at.ns < 0 || alive_at.ns < 0) {
    fail("a run's state word or one of its times is impossible");
    return {};
  }
  offer.taken = true;
  return Head{offer.fence, static_cast<RunState>(state), taken_at, alive_at};
}

std::optional<Head> HostEnd::head() {
  for (Offer& offer : offers_) {
    if (!offer.closed) return look(offer);
  }
  return {};
}

std::optional<Fence> HostEnd::oldest() const {
  for (const Offer& offer : offers_) {
    if (!offer.closed) return offer.fence;
  }
  return {};
}

std::optional<Head> HostEnd::find(const Fence& fence) {
  Offer* offer = find_open(fence);
  return offer == nullptr ? std::nullopt : look(*offer);
}

bool HostEnd::arm() {
  // In one order with the worker's: publish, then look for who waits.
  map_.header().host_waiting.store(1, std::memory_order_seq_cst);
  const auto published = published_responses();
  if (!published || is_broken()) return false;  // the next read says so
  if (*published == cursor_) return true;
  if (!awaits_descriptors_) return false;
  // What stands first waits for its descriptors; what was published behind it must not keep us awake.
  if (!arrived_.empty() && arrived_.back().tag.position >= cursor_) return false;
  return peek_one() == Fetched::kNotYet;
}

}  // namespace futured::channel
