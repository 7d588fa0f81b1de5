// The half of WorkerEnd that writes responses.
//
// The response ring is shared out so that a DONE never waits: the daemon offers only as many runs as there are reserves
// of kDoneReserveBytes in one half of the ring; what may wait (emits, and the part of a DONE beyond its reserve) shares
// the other half, counted here.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "worker/channel/worker_state.h"

namespace futured::channel {

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
    (void)elastic_room();  // forgets what was released: forks alone ask for room, each with a copy of this list
  }
  if (is_over) finish(run.position);
  if (state == RunState::kRevoked) silent_progress_ = true;
  run = Run{};
  return is_over;
}

}  // namespace futured::channel
