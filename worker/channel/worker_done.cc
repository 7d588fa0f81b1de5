// The part of WorkerEnd that writes a DONE, and sends what goes beside it.
//
// While no daemon takes what the socket holds, results wait here: their bytes as bytes, so that a worker of thousands
// of runs does not keep a descriptor for each, and arrays in the descriptors that their run had them in. No new run is
// taken meanwhile, so what waits is bounded by the runs under way.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

#include "worker/channel/packet.h"
#include "worker/channel/worker_state.h"

namespace futured::channel {

namespace {

constexpr std::uint64_t kSocketRoom = 2;  // epoll tag of the descriptor socket in the intake's epoll

[[nodiscard]] DoneRecord record_of(const Run& run, const Outcome& outcome) {
  DoneRecord record{};
  record.fence = to_wire(run.fence);
  record.started_at_ns = outcome.started_at.ns != 0 ? outcome.started_at.ns : run.taken_at.ns;
  record.finished_at_ns =
      std::max(record.started_at_ns, outcome.finished_at.ns != 0 ? outcome.finished_at.ns : monotonic_now().ns);
  record.cpu_ns = outcome.cpu_ns;
  record.peak_rss_bytes = outcome.peak_rss_bytes;
  record.exit_code = outcome.exit_code;
  record.signal = outcome.signal;
  record.retry_after_ms = outcome.retry_after_ms;
  return record;
}

}  // namespace

// What a DONE says, and how its result travels.
struct WorkerEnd::State::Report {
  DoneStatus status;
  std::string_view error_class;
  std::string_view message;
  std::string_view result;
  std::span<const int> segments;
  std::string lost;      // why the result could not be kept
  bool beside = false;   // the result goes in a memfd
  Fd memfd;              // that; closed: it is made once the socket has room
  bool is_loss = false;  // the run has failed for `lost`

  [[nodiscard]] std::size_t size() const {
    return padded(sizeof(DoneRecord) + error_class.size() + message.size() + (beside ? 0 : result.size()));
  }
  [[nodiscard]] std::size_t beyond_reserve() const {
    return size() > kDoneReserveBytes ? size() - kDoneReserveBytes : 0;
  }
  [[nodiscard]] std::size_t descriptors() const { return segments.size() + (beside ? 1 : 0); }
  [[nodiscard]] bool seal() {
    auto made = sealed_copy("futured-result", result);
    if (!made) {
      lost = made.error().message;
      return false;
    }
    memfd = std::move(*made);
    return true;
  }
  void fail() {
    lost = "the result of " + std::to_string(result.size()) + " bytes could not be kept: " + lost;
    is_loss = true;
    status = DoneStatus::kWorkerError;
    error_class = {};
    message = lost;
    result = {};
    segments = {};
    beside = false;
    memfd = Fd();
  }
};

void WorkerEnd::State::append_done(std::unique_lock<std::mutex>& lock, Run& run, const Outcome& outcome) {
  FUTURED_CHECK(outcome.descriptors.size() <= limits::kPayloadPartsMax, "more segments than a result has parts");
  Report report{.status = outcome.status,
                .error_class = outcome.error_class.substr(0, limits::kErrorClassBytesMax),
                .message = outcome.error_message.substr(0, limits::kErrorMessageBytesMax),
                .result = outcome.result,
                .segments = outcome.descriptors};
  report.beside = report.result.size() > limits::kInlineBytesMax;
  // A worker of many runs has others to go on with.
  const Duration patience = map_.runs_at_once() > 1 ? Duration::zero() : kRoomWait;
  const std::size_t beyond = report.beyond_reserve();
  const bool has_room = beyond <= elastic_room() || wait_for_room(lock, beyond, patience);
  if (!has_room && !report.result.empty()) report.beside = true;
  if (report.descriptors() > 0 &&
      !send_beside({kTagMagic, static_cast<std::uint32_t>(report.descriptors()), response_at_, to_wire(run.fence)},
                   report)) {
    report.fail();
  }
  if (report.beyond_reserve() > elastic_room()) {
    report.message = report.message.substr(0, kDoneReserveBytes - sizeof(DoneRecord) - report.error_class.size());
  }
  write_done(record_of(run, outcome), outcome, report);
  // Finished before published: who finds a taken run that is not finished may still wait for all of its work.
  map_.place(run.place).state.store(static_cast<std::uint32_t>(RunState::kFinished), std::memory_order_release);
  publish(report.size(), report.beyond_reserve());
}

void WorkerEnd::State::write_done(DoneRecord record, const Outcome& outcome, const Report& report) {
  std::uint16_t flags = report.beside ? kDoneResultInDescriptor : 0;
  if (outcome.no_retry) flags |= kDoneNoRetry;
  if (outcome.stacks_kept) flags |= kDoneStacksKept;
  if (!report.is_loss && report.message.size() < outcome.error_message.size()) flags |= kDoneMessageCut;
  record.header = {static_cast<std::uint32_t>(report.size()), static_cast<std::uint16_t>(RecordType::kDone), flags};
  record.status = static_cast<std::uint32_t>(report.status);
  record.class_bytes = static_cast<std::uint32_t>(report.error_class.size());
  record.message_bytes = static_cast<std::uint32_t>(report.message.size());
  record.result_bytes = report.beside ? 0 : static_cast<std::uint32_t>(report.result.size());
  record.descriptor_count = static_cast<std::uint32_t>(report.descriptors());
  record.descriptor_result_bytes = report.beside ? report.result.size() : 0;
  char* at = map_.response(response_at_);
  std::memcpy(at, &record, sizeof record);
  at += sizeof record;
  for (const std::string_view text :
       {report.error_class, report.message, report.beside ? std::string_view() : report.result}) {
    copy_bytes(at, text);
    at += text.size();
  }
}

// With mutex_ held. What the socket has no room for is kept, in order, and sent before the next run is taken. False:
// this worker has no descriptor or memory for it, and the report says why.
bool WorkerEnd::State::send_beside(const DescriptorTag& tag, Report& report) {
  if (!unsent_.empty()) return keep_unsent(tag, report);
  if (report.beside && !report.seal()) return false;
  std::array<int, limits::kPayloadPartsMax + 1> all{};
  std::size_t count = 0;
  if (report.beside) all[count++] = report.memfd.get();
  for (const int segment : report.segments) all[count++] = segment;
  const Sent sent = send_packet(fds_.descriptors.get(), bytes_of(tag), std::span(all.data(), count));
  if (sent != Sent::kFull) return true;  // gone: so is the spawner, and the lifeline says so
  if (!keep_unsent(tag, report)) return false;
  epoll_event event{};
  event.events = EPOLLOUT;
  event.data.u64 = kSocketRoom;
  (void)::epoll_ctl(intake_epoll_.get(), EPOLL_CTL_ADD, fds_.descriptors.get(), &event);
  return true;
}

bool WorkerEnd::State::keep_unsent(const DescriptorTag& tag, Report& report) try {
  Unsent unsent{tag, report.beside, std::move(report.memfd), {}, {}};
  for (const int segment : report.segments) {
    unsent.segments.emplace_back(::fcntl(segment, F_DUPFD_CLOEXEC, 0));
    if (unsent.segments.back().is_open()) continue;
    report.lost = system_error("no daemon takes it, and its arrays need descriptors").message;
    return false;
  }
  if (report.beside && !unsent.result.is_open()) unsent.bytes.assign(report.result);
  unsent_.push_back(std::move(unsent));
  unsent_count_ = unsent_.size();
  return true;
} catch (const std::bad_alloc&) {
  report.lost = "no daemon takes it, and there is no memory for it meanwhile";
  return false;
}

// With mutex_ held. False: nothing more can be sent now.
bool WorkerEnd::State::send_first_unsent() {
  Unsent& first = unsent_.front();
  if (first.has_result && !first.result.is_open()) {
    auto made = sealed_copy("futured-result", first.bytes);
    if (!made) {
      (void)rest();  // no descriptor or memory now
      return false;
    }
    first.result = std::move(*made);
    first.bytes = std::string();
  }
  std::vector<int> descriptors;
  if (first.has_result) descriptors.push_back(first.result.get());
  for (const Fd& segment : first.segments) descriptors.push_back(segment.get());
  if (send_packet(fds_.descriptors.get(), bytes_of(first.tag), descriptors) == Sent::kFull) return false;
  unsent_.pop_front();
  unsent_count_ = unsent_.size();
  return true;
}

void WorkerEnd::State::flush_unsent() {
  const std::lock_guard lock(mutex_);
  if (unsent_.empty()) return;
  while (!unsent_.empty()) {
    if (!send_first_unsent()) return;
  }
  (void)::epoll_ctl(intake_epoll_.get(), EPOLL_CTL_DEL, fds_.descriptors.get(), nullptr);
  // The daemon may have met a DONE whose descriptors were not there yet. A socket takes no part in the order of the
  // flags, so it is woken whether it waits or not.
  (void)::eventfd_write(fds_.to_host.get(), 1);
}

}  // namespace futured::channel
