#include "worker/channel/worker_end.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "worker/channel/packet.h"
#include "worker/channel/worker_state.h"

namespace futured::channel {

namespace {

// What an epoll event is about.
enum Source : std::uint64_t { kWake, kLifeline, kDescriptors };

[[nodiscard]] Status watch(int epoll, int descriptor, std::uint32_t events, Source source) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = source;
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) != 0) return system_error("epoll_ctl");
  return {};
}

template <typename Record>
[[nodiscard]] std::span<char> fixed_part(Record& record) {
  return {reinterpret_cast<char*>(&record), sizeof record};
}

// Of two stops of a run the one that counts: behind a soft timeout a result still does, so whatever follows it is news.
// Of the others the first holds.
[[nodiscard]] StopReason stronger(std::optional<StopReason> before, StopReason next) {
  return before && *before != StopReason::kSoftTimeout ? *before : next;
}

[[nodiscard]] RecordHeader header_of(RecordType type) { return {0, static_cast<std::uint16_t>(type), 0}; }

}  // namespace

WorkerEnd::WorkerEnd(std::unique_ptr<State> state) : state_(std::move(state)) {}
WorkerEnd::WorkerEnd(WorkerEnd&&) noexcept = default;
WorkerEnd::~WorkerEnd() = default;

Result<WorkerEnd> WorkerEnd::attach(ChannelFds fds, Fd lifeline) {
  auto map = ChannelMap::map(fds.memory.get());
  if (!map) return map.error();
  auto state = std::make_unique<State>(std::move(fds), std::move(lifeline), std::move(*map));
  if (auto opened = state->open(); !opened) return opened.error();
  return WorkerEnd(std::move(state));
}

Intake WorkerEnd::next(Run& run) { return state_->next(run); }
Intake WorkerEnd::try_next(Run& run) { return state_->try_next(run); }
bool WorkerEnd::arm() { return state_->arm(); }
bool WorkerEnd::arm_for_stop() { return state_->arm_for_stop(); }
void WorkerEnd::disarm() { state_->disarm(); }
int WorkerEnd::wake_fd() const { return state_->wake_fd(); }
int WorkerEnd::lifeline_fd() const { return state_->lifeline_fd(); }
Take WorkerEnd::take(Run& run) { return state_->take(run); }
void WorkerEnd::done(Run& run, const Outcome& outcome) { state_->done(run, outcome); }
bool WorkerEnd::stop_requested(const Fence& fence) { return state_->stop_reason(fence).has_value(); }
std::optional<StopReason> WorkerEnd::stop_reason(const Fence& fence) { return state_->stop_reason(fence); }

bool WorkerEnd::has_more(const Run& run) const { return state_->has_more(run); }
void WorkerEnd::detach(Run& run) { state_->detach(run); }
void WorkerEnd::hand_out_stops() { state_->hand_out_stops(); }
void WorkerEnd::note_running(const Run* run) { state_->note_running(run); }
LoopFigures& WorkerEnd::loop_figures() { return state_->loop_figures(); }
void WorkerEnd::take_blame() { state_->take_blame(); }
void WorkerEnd::settle() { state_->settle(); }
bool WorkerEnd::resume(Run& run) { return state_->resume(run); }

bool WorkerEnd::is_stopped_softly(const Run& run) const { return state_->is_stopped_softly(run); }
void WorkerEnd::beat(const Run& run) { state_->beat(run); }

bool WorkerEnd::try_emit(const Fence& fence, std::uint32_t stream, std::uint64_t offset, std::string_view data) {
  if (data.size() > kEmitBytesMax) return false;
  EmitRecord record{header_of(RecordType::kEmit), to_wire(fence), offset, stream,
                    static_cast<std::uint32_t>(data.size())};
  return state_->try_append(fixed_part(record), data);
}

bool WorkerEnd::emit(const Fence& fence, std::uint32_t stream, std::uint64_t offset, std::string_view data,
                     Duration patience) {
  if (data.size() > kEmitBytesMax) return false;
  EmitRecord record{header_of(RecordType::kEmit), to_wire(fence), offset, stream,
                    static_cast<std::uint32_t>(data.size())};
  return state_->append(fixed_part(record), data, patience);
}

bool WorkerEnd::try_progress(const Fence& fence, std::uint64_t done, std::uint64_t total, std::string_view message) {
  message = message.substr(0, limits::kErrorMessageBytesMax);
  ProgressRecord record{
      header_of(RecordType::kProgress), to_wire(fence), done, total, static_cast<std::uint32_t>(message.size()), 0};
  return state_->try_append(fixed_part(record), message);
}

// ---- Intake ---------------------------------------------------------------------------------------------------------

Status WorkerEnd::State::open() {
  intake_epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  room_epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!intake_epoll_.is_open() || !room_epoll_.is_open()) return system_error("epoll_create1");
  for (const int epoll : {intake_epoll_.get(), room_epoll_.get()}) {
    if (auto added = watch(epoll, fds_.to_worker.get(), EPOLLIN | EPOLLET, kWake); !added) return added;
    if (auto added = watch(epoll, lifeline_.get(), 0, kLifeline); !added) return added;  // EPOLLHUP comes unasked
  }
  const Header& header = map_.header();
  read_ = scanned_ = header.request_tail.load(std::memory_order_relaxed);
  response_at_ = header.response_published.load(std::memory_order_relaxed);
  return {};
}

Intake WorkerEnd::State::try_next(Run& run) {
  if (ended_) return Intake::kEnded;
  if (unsent_count_.load(std::memory_order_relaxed) != 0) {
    flush_unsent();
    if (unsent_count_.load(std::memory_order_relaxed) != 0) return Intake::kNothing;
  }
  for (;;) {
    const std::uint64_t published = map_.header().request_published.load(std::memory_order_acquire);
    const std::uint64_t at = read_.load(std::memory_order_relaxed);
    if (published == at) return Intake::kNothing;
    if (published < at || published - at > map_.request_bytes()) return Intake::kBroken;
    const Intake got = intake_one(published, run);
    if (got != Intake::kNothing) return got;
  }
}

// Passes one record. kNothing: it was not a run to hand out.
Intake WorkerEnd::State::intake_one(std::uint64_t published, Run& run) {
  const std::uint64_t at = read_.load(std::memory_order_relaxed);
  RecordHeader header;
  std::memcpy(&header, map_.request(at), sizeof header);
  const std::uint64_t end = at + header.bytes;
  if (header.bytes < sizeof header || header.bytes % 8 != 0 || end > published) return Intake::kBroken;
  switch (static_cast<RecordType>(header.type)) {
    case RecordType::kRun: {
      if (!read_run(header.bytes, run)) return Intake::kBroken;
      {
        const std::lock_guard lock(mutex_);
        outstanding_.push_back({run.fence, at, end, false});
        read_.store(end, std::memory_order_relaxed);
      }
      const std::uint32_t state = map_.place(run.place).state.load(std::memory_order_acquire);
      if (state == static_cast<std::uint32_t>(RunState::kOffered)) return Intake::kRun;
      if (run.descriptor_count > 0) (void)receive_descriptors(run);
      finish(at);
      silent_progress_ = true;
      return Intake::kNothing;
    }
    case RecordType::kStop:
      if (header.bytes < sizeof(StopRecord)) return Intake::kBroken;
      if (hands_out_stops_) {
        hand_out_stop(*reinterpret_cast<const StopRecord*>(map_.request(at)), end, run);
        return Intake::kStop;
      }
      pass_stop(*reinterpret_cast<const StopRecord*>(map_.request(at)), end);
      return Intake::kNothing;
    case RecordType::kDone:
    case RecordType::kEmit:
    case RecordType::kProgress:
    case RecordType::kCall:
      break;
  }
  return Intake::kBroken;
}

bool WorkerEnd::State::read_run(std::uint32_t bytes, Run& run) {
  const std::uint64_t at = read_.load(std::memory_order_relaxed);
  if (bytes < sizeof(RunRecord)) return false;
  const auto& record = *reinterpret_cast<const RunRecord*>(map_.request(at));
  if (record.place >= map_.run_places()) return false;
  run = Run{};
  run.fence = from_wire(record.fence);
  run.task = record.task;
  run.place = record.place;
  run.run_timeout = Duration(map_.place(run.place).run_timeout_ns);
  run.follow = (record.header.flags & kRunFollow) != 0;
  run.position = at;
  run.descriptor_count = record.descriptor_count;
  run.payload_bytes = record.payload_bytes;
  run.payload_in_descriptor = (record.header.flags & kRunPayloadInDescriptor) != 0;
  if (run.payload_in_descriptor) return run.descriptor_count > 0;
  if (run.payload_bytes > bytes - sizeof(RunRecord)) return false;
  run.payload = {map_.request(at) + sizeof(RunRecord), run.payload_bytes};
  return true;
}

Take WorkerEnd::State::take(Run& run) {
  RunPlace& place = map_.place(run.place);
  run.taken_at = monotonic_now();
  place.taken_at_ns.store(run.taken_at.ns, std::memory_order_relaxed);
  auto expected = static_cast<std::uint32_t>(RunState::kOffered);
  const bool taken = place.state.compare_exchange_strong(expected, static_cast<std::uint32_t>(RunState::kTaken),
                                                         std::memory_order_acq_rel);
  const bool arrived = run.descriptor_count == 0 || receive_descriptors(run);
  if (!taken) {
    run.descriptors.clear();
    finish(run.position);
    silent_progress_ = true;
    return Take::kRevoked;
  }
  if (!arrived) return Take::kUnreadable;
  if (run.payload_in_descriptor) {
    auto view = SealedView::map(run.descriptors.front().get(), run.payload_bytes);
    if (!view) return Take::kUnreadable;
    run.payload_view = std::move(*view);
    run.payload = run.payload_view.bytes();
    run.descriptors.erase(run.descriptors.begin());
  }
  return Take::kTaken;
}

// The packet of this run. Earlier ones belong to records that were never published or were passed: dropped.
bool WorkerEnd::State::receive_descriptors(Run& run) {
  for (;;) {
    std::array<char, sizeof(DescriptorTag) + 1> buffer;
    auto packet = receive_packet(fds_.descriptors.get(), buffer);
    if (!packet || !packet->has_value() || (*packet)->bytes == 0) return false;
    DescriptorTag tag;
    if ((*packet)->bytes != sizeof tag) return false;
    std::memcpy(&tag, buffer.data(), sizeof tag);
    if (tag.position != run.position || from_wire(tag.fence) != run.fence) continue;
    run.descriptors = std::move((*packet)->descriptors);
    return run.descriptors.size() == run.descriptor_count;
  }
}

bool WorkerEnd::State::arm() {
  Header& header = map_.header();
  // In one order with the daemon's: publish, then look for who waits.
  header.worker_waiting.store(1, std::memory_order_seq_cst);
  if (header.request_published.load(std::memory_order_seq_cst) != read_.load(std::memory_order_relaxed) &&
      unsent_count_.load(std::memory_order_relaxed) == 0) {
    header.worker_waiting.store(0, std::memory_order_relaxed);
    return false;
  }
  // Revoked records were passed since the last DONE: the daemon may be waiting for their room.
  if (std::exchange(silent_progress_, false)) wake_host();
  return true;
}

bool WorkerEnd::State::arm_for_stop() {
  Header& header = map_.header();
  // In one order with the daemon's: publish, then look for who waits.
  header.worker_waiting.store(1, std::memory_order_seq_cst);
  if (header.request_published.load(std::memory_order_seq_cst) == scanned_.load(std::memory_order_relaxed)) return true;
  header.worker_waiting.store(0, std::memory_order_relaxed);
  return false;
}

void WorkerEnd::State::disarm() {
  map_.header().worker_waiting.store(0, std::memory_order_relaxed);
  std::array<epoll_event, 4> events;
  const int count = ::epoll_wait(intake_epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    if (events[static_cast<std::size_t>(i)].data.u64 == kLifeline) ended_ = true;
  }
}

Intake WorkerEnd::State::next(Run& run) {
  for (;;) {
    if (const Intake got = try_next(run); got != Intake::kNothing) return got;
    if (unsent_count_.load(std::memory_order_relaxed) != 0 && rest()) return Intake::kEnded;
    if (!arm()) continue;
    // The event stays for disarm() to read; a signal just means another look.
    pollfd sleeper{intake_epoll_.get(), POLLIN, 0};
    (void)::poll(&sleeper, 1, -1);
    disarm();
  }
}

bool WorkerEnd::State::has_more(const Run& run) const {
  const auto& record = *reinterpret_cast<const RunRecord*>(map_.request(run.position));
  return map_.header().request_published.load(std::memory_order_relaxed) > run.position + record.header.bytes;
}

bool WorkerEnd::State::is_outstanding(const Fence& fence) const {
  return std::any_of(outstanding_.begin(), outstanding_.end(),
                     [&](const Outstanding& entry) { return !entry.finished && entry.fence == fence; });
}

void WorkerEnd::State::drop_stop(const Fence& fence) {
  if (std::erase_if(stops_, [&](const Stop& stop) { return stop.fence == fence; }) > 0) stop_count_ = stops_.size();
}

// Marks a request as done with and gives the daemon back what lies before the oldest that is not.
void WorkerEnd::State::finish(std::uint64_t position) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(outstanding_.begin(), outstanding_.end(),
                                  [&](const Outstanding& entry) { return entry.begin == position; });
  if (found == outstanding_.end()) return;
  found->finished = true;
  if (!stops_.empty()) drop_stop(found->fence);
  std::uint64_t tail = 0;
  while (!outstanding_.empty() && outstanding_.front().finished) {
    tail = outstanding_.front().end;
    outstanding_.pop_front();
  }
  if (tail != 0) map_.header().request_tail.store(tail, std::memory_order_release);
}

void WorkerEnd::State::detach(Run& run) {
  if (!run.payload_in_descriptor) {
    run.own_payload.assign(run.payload.begin(), run.payload.end());
    run.payload = {run.own_payload.data(), run.own_payload.size()};
  }
  run.is_detached = true;
  finish(run.position);
}

void WorkerEnd::State::hand_out_stop(const StopRecord& record, std::uint64_t end, Run& run) {
  run = Run{};
  run.fence = from_wire(record.fence);
  run.stop = static_cast<StopReason>(record.reason);
  const std::uint64_t at = read_.load(std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    outstanding_.push_back({Fence{}, at, end, false});
    read_.store(end, std::memory_order_relaxed);
  }
  finish(at);
  silent_progress_ = true;
}

// By the time a STOP is passed its run is either in our hands or over.
void WorkerEnd::State::pass_stop(const StopRecord& record, std::uint64_t end) {
  const Fence fence = from_wire(record.fence);
  const std::uint64_t at = read_.load(std::memory_order_relaxed);
  {
    const std::lock_guard lock(mutex_);
    if (!is_outstanding(fence)) {
      drop_stop(fence);
    } else if (scanned_.load(std::memory_order_relaxed) <= at) {
      stops_.push_back({fence, static_cast<StopReason>(record.reason)});
      stop_count_ = stops_.size();
    }
    outstanding_.push_back({Fence{}, at, end, false});
    read_.store(end, std::memory_order_relaxed);
  }
  finish(at);
  silent_progress_ = true;
}

std::optional<StopReason> WorkerEnd::State::stop_reason(const Fence& fence) {
  if (hands_out_stops_) return look_for_stop(fence, read_.load(std::memory_order_relaxed), {});
  const std::uint64_t published = map_.header().request_published.load(std::memory_order_acquire);
  if (published == scanned_.load(std::memory_order_relaxed) && stop_count_.load(std::memory_order_relaxed) == 0) {
    return {};
  }
  const std::lock_guard lock(mutex_);
  scan_stops(published);
  std::optional<StopReason> found;
  for (const Stop& stop : stops_) {
    if (stop.fence == fence) found = stronger(found, stop.reason);
  }
  return found;
}

// What lies behind a run's own record is not passed before it; behind that of a detached one it may be.
bool WorkerEnd::State::is_stopped_softly(const Run& run) const {
  const std::uint64_t from = run.is_detached ? read_.load(std::memory_order_relaxed) : run.position;
  return look_for_stop(run.fence, from, StopReason::kSoftTimeout).has_value();
}

// The stop of the run that lies there: for `wanted`, or of any the one that counts. Changes nothing.
std::optional<StopReason> WorkerEnd::State::look_for_stop(const Fence& fence, std::uint64_t from,
                                                          std::optional<StopReason> wanted) const {
  const std::uint64_t published = map_.header().request_published.load(std::memory_order_acquire);
  std::optional<StopReason> found;
  for (std::uint64_t at = from; at < published && published - at <= map_.request_bytes();) {
    RecordHeader header;
    std::memcpy(&header, map_.request(at), sizeof header);
    if (header.bytes < sizeof header || header.bytes % 8 != 0 || header.bytes > published - at) break;
    if (header.type == static_cast<std::uint16_t>(RecordType::kStop) && header.bytes >= sizeof(StopRecord)) {
      const auto& record = *reinterpret_cast<const StopRecord*>(map_.request(at));
      const auto reason = static_cast<StopReason>(record.reason);
      if ((!wanted || reason == *wanted) && from_wire(record.fence) == fence) found = stronger(found, reason);
    }
    at += header.bytes;
  }
  return found;
}

// Looks ahead of the intake for stops; the runs on the way are left alone.
void WorkerEnd::State::scan_stops(std::uint64_t published) {
  std::uint64_t at = std::max(scanned_.load(std::memory_order_relaxed), read_.load(std::memory_order_relaxed));
  while (at < published && published - at <= map_.request_bytes()) {
    RecordHeader header;
    std::memcpy(&header, map_.request(at), sizeof header);
    if (header.bytes < sizeof header || header.bytes % 8 != 0 || header.bytes > published - at) break;  // next() tells
    if (header.type == static_cast<std::uint16_t>(RecordType::kStop) && header.bytes >= sizeof(StopRecord)) {
      const auto& record = *reinterpret_cast<const StopRecord*>(map_.request(at));
      stops_.push_back({from_wire(record.fence), static_cast<StopReason>(record.reason)});
      stop_count_ = stops_.size();
    }
    at += header.bytes;
  }
  scanned_.store(std::max(at, published), std::memory_order_relaxed);
}

}  // namespace futured::channel
