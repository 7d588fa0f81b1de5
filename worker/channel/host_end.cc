#include "worker/channel/host_end.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "worker/channel/packet.h"

namespace futured::channel {

namespace {

// After it the compiler must use the private copy, never the shared bytes a second time.
void end_of_copy() { std::atomic_signal_fence(std::memory_order_seq_cst); }

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
  if (auto found = recover_requests(header.request_tail.load(std::memory_order_acquire)); !found) return found;
  // The table is read before the responses: a run that is finished in it publishes its DONE right after that.
  if (auto found = recover_places(); !found) return found;
  released_ = cursor_ = header.response_tail.load(std::memory_order_acquire);
  response_seen_ = released_;
  if (released_ % 8 != 0 || !published_responses()) return broken_by("response positions");
  recovered_until_ = response_seen_;
  return {};
}

Status HostEnd::recover_requests(std::uint64_t tail) {
  const std::uint64_t published = map_.header().request_published.load(std::memory_order_acquire);
  if (tail % 8 != 0 || published % 8 != 0 || tail > published || published - tail > map_.request_bytes()) {
    return broken_by("request positions");
  }
  appended_ = published_ = published;
  request_tail_ = tail;
  return {};
}

Status HostEnd::recover_places() {
  offers_.resize(map_.run_places());
  std::vector<Passing> found;
  for (std::uint32_t number = map_.run_places(); number-- > 0;) {
    RunPlace& place = map_.place(number);
    const auto state = static_cast<RunState>(place.state.load(std::memory_order_acquire));
    std::uint64_t position = 0;
    std::memcpy(&position, &place.position, sizeof position);
    end_of_copy();
    if (state == RunState::kFree) {
      free_places_.push_back(number);
    } else if (position >= published_) {  // the daemon died before it had shown it
      free_place(number);
    } else if (state == RunState::kRevoked) {
      passing_.push_back({position, number});
    } else {
      found.push_back({position, number});
    }
  }
  std::ranges::sort(found, {}, &Passing::position);
  for (const auto& [position, number] : found) {
    WireFence wire;
    std::memcpy(&wire, &map_.place(number).fence, sizeof wire);
    end_of_copy();
    open(number, from_wire(wire), position);
    const auto seen = look(number);
    if (!seen) return broken_by("run state");
    recovered_.push_back(*seen);
    if (seen->state == RunState::kTaken) nudge(seen->fence);
  }
  return {};
}

// Until its worker is dead it goes on, and may say that it is at another run.
void HostEnd::fail(std::string why) {
  if (is_broken()) return;
  running_at_break_ = said_to_run();
  broken_ = std::move(why);
}

bool HostEnd::see_request_tail() {
  const std::uint64_t tail = map_.header().request_tail.load(std::memory_order_acquire);
  if (tail < request_tail_ || tail > published_ || tail % 8 != 0) {
    fail("its request tail is impossible");
    return false;
  }
  request_tail_ = tail;
  return true;
}

// Room for `bytes` with `keep_free` left over. Reads the worker's tail only when what was seen last does not do.
bool HostEnd::request_room(std::size_t bytes, std::size_t keep_free) {
  const auto fits = [&] { return appended_ - request_tail_ + bytes + keep_free <= map_.request_bytes(); };
  return fits() || (see_request_tail() && fits());
}

bool HostEnd::has_free_place() {
  if (!free_places_.empty()) return true;
  if (passing_.empty() || !see_request_tail()) return false;
  std::erase_if(passing_, [this](const Passing& passing) {
    const bool is_passed = passing.position < request_tail_;
    if (is_passed) free_place(passing.place);
    return is_passed;
  });
  return !free_places_.empty();
}

void HostEnd::free_place(std::uint32_t place) {
  map_.place(place).state.store(static_cast<std::uint32_t>(RunState::kFree), std::memory_order_relaxed);
  free_places_.push_back(place);
}

bool HostEnd::offer(const RunRequest& request) {
  if (is_broken()) return false;
  FUTURED_CHECK(request.descriptors.size() <= limits::kPayloadPartsMax, "more segments than a payload has parts");
  const bool copied = request.payload_memfd < 0 && request.payload.size() > limits::kInlineBytesMax;
  const bool beside = copied || request.payload_memfd >= 0;
  const std::size_t inline_bytes = beside ? 0 : request.payload.size();
  const std::size_t bytes = padded(sizeof(RunRecord) + inline_bytes);
  wants_room_ = true;
  if (!has_free_place()) return false;
  if (outstanding_ + (dones_read_ - dones_released_) >= dones_max(map_.response_bytes())) return false;
  if (!request_room(bytes, kStopReserveBytes)) return false;

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
  record->header = {static_cast<std::uint32_t>(bytes), static_cast<std::uint16_t>(RecordType::kRun), flags};
  record->fence = to_wire(request.fence);
  record->place = free_places_.back();
  record->task = request.task;
  record->payload_bytes = static_cast<std::uint32_t>(copied                       ? request.payload.size()
                                                     : request.payload_memfd >= 0 ? request.payload_memfd_bytes
                                                                                  : inline_bytes);
  record->descriptor_count = static_cast<std::uint32_t>(count);
  copy_bytes(map_.request(appended_) + sizeof(RunRecord), request.payload.substr(0, inline_bytes));
  RunPlace& place = map_.place(record->place);
  place.fence = record->fence;
  place.position = appended_;
  place.run_timeout_ns = request.run_timeout.count();
  place.taken_at_ns.store(0, std::memory_order_relaxed);
  place.alive_at_ns.store(0, std::memory_order_relaxed);
  place.state.store(static_cast<std::uint32_t>(RunState::kOffered), std::memory_order_release);
  open(record->place, request.fence, appended_);
  free_places_.pop_back();
  appended_ += bytes;
  return true;
}

bool HostEnd::stop(const Fence& fence, StopReason reason) {
  if (is_broken() || !request_room(sizeof(StopRecord), 0)) return false;
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

// A revoked run may be offered here again while its old record still lies in the ring: only one of them is open.
std::uint32_t HostEnd::find_open(const Fence& fence) const {
  if (!place_of_.empty()) {
    const auto found = place_of_.find(fence.job.value);
    return found != place_of_.end() && offers_[found->second].fence == fence ? found->second : kNone;
  }
  for (std::uint32_t place = oldest_; place != kNone; place = offers_[place].newer) {
    if (offers_[place].fence == fence) return place;
  }
  return kNone;
}

void HostEnd::open(std::uint32_t place, const Fence& fence, std::uint64_t position) {
  offers_[place] = {fence, position, newest_, kNone, true, false};
  (newest_ != kNone ? offers_[newest_].newer : oldest_) = place;
  newest_ = place;
  if (untold_ == kNone) untold_ = place;
  if (map_.run_places() > limits::kOffersPerSlotMax) place_of_[fence.job.value] = place;
  ++outstanding_;
}

void HostEnd::close(std::uint32_t place) {
  Offer& offer = offers_[place];
  offer.open = false;
  (offer.older != kNone ? offers_[offer.older].newer : oldest_) = offer.newer;
  (offer.newer != kNone ? offers_[offer.newer].older : newest_) = offer.older;
  if (untold_ == place) untold_ = offer.newer;
  if (!place_of_.empty()) place_of_.erase(offer.fence.job.value);
  --outstanding_;
}

Revoked HostEnd::revoke(const Fence& fence) {
  const std::uint32_t place = find_open(fence);
  if (place == kNone || is_broken()) return Revoked::kUnknown;
  auto expected = static_cast<std::uint32_t>(RunState::kOffered);
  if (map_.place(place).state.compare_exchange_strong(expected, static_cast<std::uint32_t>(RunState::kRevoked),
                                                      std::memory_order_acq_rel)) {
    if (offers_[place].taken) {
      fail("a run that was taken is offered again");
      return Revoked::kTaken;
    }
    close(place);
    passing_.push_back({offers_[place].position, place});
    return Revoked::kYes;
  }
  if (expected != static_cast<std::uint32_t>(RunState::kTaken) &&
      expected != static_cast<std::uint32_t>(RunState::kFinished)) {
    fail("a run's state word is impossible");
  }
  return Revoked::kTaken;
}

std::optional<Head> HostEnd::look(std::uint32_t number) {
  const RunPlace& place = map_.place(number);
  Offer& offer = offers_[number];
  const std::uint32_t state = place.state.load(std::memory_order_acquire);
  const Instant taken_at{place.taken_at_ns.load(std::memory_order_relaxed)};
  const Instant alive_at{place.alive_at_ns.load(std::memory_order_relaxed)};
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

std::optional<Head> HostEnd::head() { return oldest_ == kNone ? std::nullopt : look(oldest_); }

std::vector<Head> HostEnd::newly_taken() {
  std::vector<Head> taken;
  while (untold_ != kNone && !is_broken()) {
    const auto seen = look(untold_);
    if (!seen || seen->state == RunState::kOffered) break;
    taken.push_back(*seen);
    untold_ = offers_[untold_].newer;
  }
  if (!is_broken()) return taken;
  // What may have begun counts as begun: nothing that the worker says any more can tell.
  for (; untold_ != kNone; untold_ = offers_[untold_].newer) {
    const std::uint32_t state = map_.place(untold_).state.load(std::memory_order_acquire);
    if (state == static_cast<std::uint32_t>(RunState::kOffered) && !offers_[untold_].taken) continue;
    taken.push_back({offers_[untold_].fence, RunState::kTaken, monotonic_now(), {}});
  }
  return taken;
}

std::optional<Fence> HostEnd::running() const { return is_broken() ? running_at_break_ : said_to_run(); }

std::optional<Fence> HostEnd::said_to_run() const {
  const std::uint32_t said = map_.header().running.load(std::memory_order_acquire);
  if (said == 0 || said > offers_.size() || !offers_[said - 1].open) return {};
  return offers_[said - 1].fence;
}

std::optional<Fence> HostEnd::oldest() const {
  return oldest_ == kNone ? std::nullopt : std::optional(offers_[oldest_].fence);
}

std::optional<Head> HostEnd::find(const Fence& fence) {
  const std::uint32_t place = find_open(fence);
  return place == kNone ? std::nullopt : look(place);
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
