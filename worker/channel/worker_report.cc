// The half of WorkerEnd that writes responses.
//
// The response ring is shared out so that a DONE never waits: the daemon offers only as many runs as there are reserves
// of kDoneReserveBytes in one half of the ring; what may wait (emits, and the part of a DONE beyond its reserve) shares
// the other half, counted here.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "worker/channel/packet.h"
#include "worker/channel/worker_state.h"

namespace futured::channel {

namespace {

constexpr std::uint64_t kSocketRoom = 2;  // epoll tag of the descriptor socket in the intake's epoll

}  // namespace

void WorkerEnd::State::wake_host() {
  Header& header = map_.header();
  if (header.host_waiting.load(std::memory_order_seq_cst) != 0 &&
      header.host_waiting.exchange(0, std::memory_order_acq_rel) != 0) {
    (void)::eventfd_write(fds_.to_host.get(), 1);
  }
}

// With mutex_ held: shows the daemon the next `bytes`, of which `elastic` are beyond a reserve.
void WorkerEnd::State::publish(std::size_t bytes, std::size_t elastic) {
  response_at_ += bytes;
  if (elastic > 0) {
    elastic_.push_back({response_at_, elastic});
    elastic_used_ += elastic;
  }
  // In one order with the daemon's: set waiting, then look again.
  map_.header().response_published.store(response_at_, std::memory_order_seq_cst);
  wake_host();
}

// With mutex_ held.
std::size_t WorkerEnd::State::elastic_room() {
  const std::size_t all = map_.response_bytes() - dones_max(map_.response_bytes()) * kDoneReserveBytes;
  if (!elastic_.empty()) {
    const std::uint64_t tail = map_.header().response_tail.load(std::memory_order_seq_cst);
    while (!elastic_.empty() && elastic_.front().end <= tail) {
      elastic_used_ -= elastic_.front().bytes;
      elastic_.pop_front();
    }
  }
  return all - std::min(all, elastic_used_);  // what a fork wrote may be more: resume()
}

// True once `bytes` of elastic room are free. Gives up after `patience` and when the lifeline closes.
bool WorkerEnd::State::wait_for_room(std::unique_lock<std::mutex>& lock, std::size_t bytes, Duration patience) {
  if (elastic_room() >= bytes) return true;
  const Instant until = monotonic_now() + patience;
  lock.unlock();
  const std::lock_guard sleeper(room_mutex_);
  for (;;) {
    Header& header = map_.header();
    // In one order with the daemon's: release, then look for who wants room.
    header.worker_wants_room.store(1, std::memory_order_seq_cst);
    lock.lock();
    const bool enough = elastic_room() >= bytes;
    const std::int64_t left_ms = ((until - monotonic_now()).count() + 999'999) / 1'000'000;
    if (enough || left_ms <= 0) return enough;
    lock.unlock();
    std::array<epoll_event, 2> events;
    const int count =
        ::epoll_wait(room_epoll_.get(), events.data(), 2, static_cast<int>(std::min<std::int64_t>(left_ms, 60'000)));
    for (int i = 0; i < count; ++i) {
      if ((events[static_cast<std::size_t>(i)].events & EPOLLHUP) != 0) {
        lock.lock();
        return elastic_room() >= bytes;
      }
    }
  }
}

bool WorkerEnd::State::try_append(std::span<char> fixed, std::string_view text) {
  return append(fixed, text, Duration::zero());
}

bool WorkerEnd::State::append(std::span<char> fixed, std::string_view text, Duration patience) {
  const std::size_t bytes = padded(fixed.size() + text.size());
  const auto stated = static_cast<std::uint32_t>(bytes);
  std::memcpy(fixed.data(), &stated, sizeof stated);  // RecordHeader::bytes
  std::unique_lock lock(mutex_);
  if (elastic_room() < bytes && (patience <= Duration::zero() || !wait_for_room(lock, bytes, patience))) return false;
  char* at = map_.response(response_at_);
  std::memcpy(at, fixed.data(), fixed.size());
  copy_bytes(at + fixed.size(), text);
  publish(bytes, bytes);
  return true;
}

void WorkerEnd::State::done(Run& run, const Outcome& outcome) {
  {
    std::unique_lock lock(mutex_);
    append_done(lock, run, outcome);
  }
  if (!run.is_detached) finish(run.position);
  run.payload = {};
  run.payload_view = SealedView();
  run.descriptors.clear();
}

// The kernel counts descriptors on their way for each user, and says that there are too many while the socket has room:
// so this is a moment's rest, and no wait for the socket. True: the lifeline has closed.
bool WorkerEnd::State::rest() const {
  constexpr int kRestMs = 5;
  pollfd gone{lifeline_.get(), 0, 0};
  return ::poll(&gone, 1, kRestMs) > 0;
}

void WorkerEnd::State::settle() {
  while (unsent_count_.load(std::memory_order_relaxed) != 0 && !rest()) flush_unsent();
}

// What the fork wrote beyond the reserves is not known here, so all of it counts as that until it is released.
bool WorkerEnd::State::resume(Run& run) {
  const RunPlace& place = map_.place(run.place);
  const auto state = static_cast<RunState>(place.state.load(std::memory_order_acquire));
  // Once the daemon has read the report it may have given the place to another run, which nobody has taken yet.
  const bool is_ours = state != RunState::kOffered || from_wire(place.fence) == run.fence;
  const bool is_over = !is_ours || (state != RunState::kOffered && state != RunState::kTaken);
  {
    const std::lock_guard lock(mutex_);
    const std::uint64_t published = map_.header().response_published.load(std::memory_order_acquire);
    if (published != response_at_) {
      const auto written = static_cast<std::size_t>(published - response_at_);
      response_at_ = published;
      elastic_.push_back({published, written});
      elastic_used_ += written;
    }
  }
  if (is_over) finish(run.position);
  if (state == RunState::kRevoked) silent_progress_ = true;
  run = Run{};
  return is_over;
}

void WorkerEnd::State::append_done(std::unique_lock<std::mutex>& lock, Run& run, const Outcome& outcome) {
  FUTURED_CHECK(outcome.descriptors.size() <= limits::kPayloadPartsMax, "more segments than a result has parts");
  std::string_view error_class = outcome.error_class.substr(0, limits::kErrorClassBytesMax);
  std::string_view message = outcome.error_message.substr(0, limits::kErrorMessageBytesMax);
  std::string_view result = outcome.result;
  DoneStatus status = outcome.status;
  std::span<const int> segments = outcome.descriptors;
  std::string lost;
  Fd memfd;

  const auto size = [&] {
    return padded(sizeof(DoneRecord) + error_class.size() + message.size() + (memfd.is_open() ? 0 : result.size()));
  };
  const auto beyond = [&] { return size() > kDoneReserveBytes ? size() - kDoneReserveBytes : 0; };
  const auto move_result = [&] {
    auto made = sealed_copy("futured-result", result);
    if (made) {
      memfd = std::move(*made);
      return;
    }
    lost = "the result of " + std::to_string(result.size()) + " bytes could not be kept: " + made.error().message;
    status = DoneStatus::kWorkerError;
    error_class = {};
    message = lost;
    result = {};
    segments = {};
  };

  if (result.size() > limits::kInlineBytesMax) move_result();
  // A worker of many runs has others to go on with.
  const Duration patience = map_.runs_at_once() > 1 ? Duration::zero() : kRoomWait;
  if (beyond() > elastic_room() && !wait_for_room(lock, beyond(), patience)) {
    if (!result.empty() && !memfd.is_open()) move_result();
    if (beyond() > elastic_room())
      message = message.substr(0, kDoneReserveBytes - sizeof(DoneRecord) - error_class.size());
  }

  const std::size_t bytes = size();
  DoneRecord record{};
  std::uint16_t flags = memfd.is_open() ? kDoneResultInDescriptor : 0;
  if (outcome.no_retry) flags |= kDoneNoRetry;
  if (outcome.stacks_kept) flags |= kDoneStacksKept;
  if (message.size() < outcome.error_message.size() && lost.empty()) flags |= kDoneMessageCut;
  record.header = {static_cast<std::uint32_t>(bytes), static_cast<std::uint16_t>(RecordType::kDone), flags};
  record.fence = to_wire(run.fence);
  record.started_at_ns = outcome.started_at.ns != 0 ? outcome.started_at.ns : run.taken_at.ns;
  record.finished_at_ns =
      std::max(record.started_at_ns, outcome.finished_at.ns != 0 ? outcome.finished_at.ns : monotonic_now().ns);
  record.cpu_ns = outcome.cpu_ns;
  record.peak_rss_bytes = outcome.peak_rss_bytes;
  record.status = static_cast<std::uint32_t>(status);
  record.exit_code = outcome.exit_code;
  record.signal = outcome.signal;
  record.class_bytes = static_cast<std::uint32_t>(error_class.size());
  record.message_bytes = static_cast<std::uint32_t>(message.size());
  record.result_bytes = memfd.is_open() ? 0 : static_cast<std::uint32_t>(result.size());
  record.descriptor_count = static_cast<std::uint32_t>(segments.size() + (memfd.is_open() ? 1 : 0));
  record.retry_after_ms = outcome.retry_after_ms;
  record.descriptor_result_bytes = memfd.is_open() ? result.size() : 0;

  if (record.descriptor_count > 0) {
    std::array<int, limits::kPayloadPartsMax + 1> all{};
    std::size_t count = 0;
    if (memfd.is_open()) all[count++] = memfd.get();
    for (const int segment : segments) all[count++] = segment;
    send_descriptors({kTagMagic, record.descriptor_count, response_at_, record.fence}, std::span(all.data(), count));
  }
  char* at = map_.response(response_at_);
  std::memcpy(at, &record, sizeof record);
  at += sizeof record;
  for (const std::string_view text : {error_class, message, memfd.is_open() ? std::string_view() : result}) {
    copy_bytes(at, text);
    at += text.size();
  }
  // Finished before published: who finds a taken run that is not finished may still wait for all of its work.
  map_.place(run.place).state.store(static_cast<std::uint32_t>(RunState::kFinished), std::memory_order_release);
  publish(bytes, bytes > kDoneReserveBytes ? bytes - kDoneReserveBytes : 0);
}

// With mutex_ held. What the socket has no room for is kept, in order, and sent before the next run is taken.
void WorkerEnd::State::send_descriptors(const DescriptorTag& tag, std::span<const int> descriptors) {
  if (unsent_.empty()) {
    const Sent sent = send_packet(fds_.descriptors.get(), bytes_of(tag), descriptors);
    if (sent != Sent::kFull) return;  // gone: so is the spawner, and the lifeline says so
    epoll_event event{};
    event.events = EPOLLOUT;
    event.data.u64 = kSocketRoom;
    (void)::epoll_ctl(intake_epoll_.get(), EPOLL_CTL_ADD, fds_.descriptors.get(), &event);
  }
  Unsent unsent{tag, {}};
  for (const int descriptor : descriptors) {
    unsent.descriptors.emplace_back(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
    // A DONE without its descriptors would never be read; a dead worker is at least seen.
    FUTURED_CHECK(unsent.descriptors.back().is_open(), "out of descriptors for a result");
  }
  unsent_.push_back(std::move(unsent));
  unsent_count_ = unsent_.size();
}

void WorkerEnd::State::flush_unsent() {
  const std::lock_guard lock(mutex_);
  if (unsent_.empty()) return;
  while (!unsent_.empty()) {
    std::vector<int> descriptors;
    for (const Fd& descriptor : unsent_.front().descriptors) descriptors.push_back(descriptor.get());
    if (send_packet(fds_.descriptors.get(), bytes_of(unsent_.front().tag), descriptors) == Sent::kFull) return;
    unsent_.pop_front();
    unsent_count_ = unsent_.size();
  }
  (void)::epoll_ctl(intake_epoll_.get(), EPOLL_CTL_DEL, fds_.descriptors.get(), nullptr);
  // The daemon may have met a DONE whose descriptors were not there yet. A socket takes no part in the order of the
  // flags, so it is woken whether it waits or not.
  (void)::eventfd_write(fds_.to_host.get(), 1);
}

}  // namespace futured::channel
