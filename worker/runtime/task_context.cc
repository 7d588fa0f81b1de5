#include "worker/runtime/task_context.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cmath>
#include <new>
#include <thread>
#include <utility>

#include "base/payload.h"
#include "base/time.h"
#include "segment/array_type.h"
#include "worker/runtime/async_loop.h"

namespace futured::runtime {

namespace {

constexpr Duration kStopLook = std::chrono::milliseconds(10);
constexpr double kProgressStep = 0.001;
constexpr Duration kProgressAgain = std::chrono::milliseconds(100);
constexpr std::size_t kBesideBytes =
    64 * 1024;  // of the result's bound: heads of parts, and what was emitted and logged

}  // namespace

bool TaskContext::wait_for(std::chrono::nanoseconds time) {
  const Instant until = monotonic_now() + time;
  while (shares_thread_) {  // the channel's wake-ups are for all of its runs
    if (stop_requested()) return false;
    const Duration left = until - monotonic_now();
    if (left.count() <= 0) return true;
    std::this_thread::sleep_for(std::min<Duration>(left, kStopLook));
  }
  for (;;) {
    if (stop_requested()) return false;
    const Duration left = until - monotonic_now();
    if (left.count() <= 0) return true;
    if (!end_.arm_for_stop()) continue;
    const timespec patience{left.count() / 1'000'000'000, left.count() % 1'000'000'000};
    std::array<pollfd, 2> sources{{{end_.wake_fd(), POLLIN, 0}, {end_.lifeline_fd(), 0, 0}}};
    (void)ppoll(sources.data(), sources.size(), &patience, nullptr);
    end_.disarm();
    if ((sources[1].revents & (POLLHUP | POLLERR)) != 0) return false;
  }
}

StopReason TaskContext::stop_reason() {
  auto reason = told_stop_;
  if (!reason || *reason == channel::StopReason::kSoftTimeout) {  // what came behind that may lie there already
    if (const auto later = end_.stop_reason(fence_)) reason = later;
  }
  if (!reason) return StopReason::kNone;
  switch (*reason) {
    case channel::StopReason::kCancel:
      return StopReason::kCancelled;
    case channel::StopReason::kTimeout:
      return StopReason::kTimedOut;
    case channel::StopReason::kSoftTimeout:
      return StopReason::kSoftTimeout;
    case channel::StopReason::kShutdown:
      return StopReason::kShutdown;
  }
  return StopReason::kCancelled;
}

bool TaskContext::begin(sdk::Waiter& waiter) {
  FUTURED_CHECK(loop_ != nullptr, "only a coroutine task waits so");
  const bool is_for_stop = waiter.what == sdk::Waiter::For::kStop;
  if (is_for_stop && stop_requested()) {
    if (!told_stop_) told_stop_ = end_.stop_reason(fence_);
    owes_stop_ = false;
    return false;
  }
  const bool is_submit = waiter.what == sdk::Waiter::For::kReply;
  if (!is_for_stop && (std::exchange(owes_stop_, false) || (is_submit && stop_requested()))) {
    waiter.is_stopped = true;
    return false;
  }
  return begin_in_loop(waiter);
}

// Whatever there is no memory for, the waiter is then known to nobody: it goes with its coroutine's frame.
bool TaskContext::begin_in_loop(sdk::Waiter& waiter) {
  waiting_.push_back(&waiter);
  try {
    if (waiter.what == sdk::Waiter::For::kReply) open_call(static_cast<sdk::ReplyWaiter&>(waiter));
    if (waiter.what == sdk::Waiter::For::kNudge && !await_nudge(static_cast<sdk::NudgeWaiter&>(waiter))) {
      std::erase(waiting_, &waiter);
      return false;
    }
    if (loop_->begin(*this, waiter)) return true;
  } catch (...) {
    give_up_call(waiter);
    forget_nudge(waiter);
    std::erase(waiting_, &waiter);
    throw;
  }
  std::erase(waiting_, &waiter);
  return false;
}

void TaskContext::forget(sdk::Waiter& waiter) noexcept {
  give_up_call(waiter);
  forget_nudge(waiter);
  loop_->forget(waiter);
  std::erase(waiting_, &waiter);
}

void TaskContext::end_wait(sdk::Waiter& waiter) {
  forget_nudge(waiter);
  std::erase(waiting_, &waiter);
  resumer_->resume(waiter.coroutine);
}

// A job that went on after its soft timeout is told of a cancel as well.
void TaskContext::stop(channel::StopReason reason) {
  const bool was_told = told_stop_ && *told_stop_ != channel::StopReason::kSoftTimeout;
  if (was_told || told_stop_ == reason) return;
  told_stop_ = reason;
  (void)look_for_reply();  // before the stop: a job that was made is told
  owes_stop_ = true;
  for (sdk::Waiter* const waiter : waiting_) {
    const bool is_submit = waiter->what == sdk::Waiter::For::kReply;
    if (is_submit && static_cast<sdk::ReplyWaiter*>(waiter)->is_answered) continue;
    owes_stop_ = false;
    waiter->is_stopped = waiter->what != sdk::Waiter::For::kStop;
    give_up_call(*waiter);
    forget_nudge(*waiter);
    loop_->end(*waiter);
  }
}

// A task may call this in its innermost loop: what nobody could see a difference in is not sent.
void TaskContext::progress(std::uint64_t done, std::uint64_t total, std::string_view message) {
  end_.beat(run_);
  const double fraction = total == 0 ? 0 : static_cast<double>(std::min(done, total)) / static_cast<double>(total);
  const std::lock_guard lock(mutex_);
  const Instant now = monotonic_now();
  const bool is_news = progress_.sent_at.ns == 0 || now - progress_.sent_at >= kProgressAgain ||
                       std::abs(fraction - progress_.fraction) >= kProgressStep || done == total ||
                       message != progress_.message;
  if (!is_news || !end_.try_progress(fence_, done, total, message)) return;
  progress_.sent_at = now;
  progress_.fraction = fraction;
  progress_.message = message;
}

Context::Shared TaskContext::make_shared_memory(std::size_t bytes) {
  if (bytes <= limits::kInlineBytesMax / 2) {  // it will travel in the report
    const std::shared_ptr<std::byte[]> memory(new std::byte[bytes]());
    return {{memory.get(), bytes}, std::shared_ptr<const void>(memory, memory.get())};
  }
  auto writer = SegmentWriter::create("futured-array", bytes);
  if (!writer) throw std::bad_alloc();
  auto shared = std::make_shared<SharedMemory>(SharedMemory{std::move(*writer), std::nullopt, false});
  const std::span<std::byte> memory = shared->writer.bytes();
  const std::lock_guard lock(mutex_);
  shared_.push_back(shared);
  return {memory, shared};
}

SharedMemory* TaskContext::find_shared(std::span<const std::byte> bytes) {
  const std::lock_guard lock(mutex_);
  for (const auto& shared : shared_) {
    const std::span<const std::byte> all = shared->writer.bytes();
    if (!std::less<>()(bytes.data(), all.data()) &&
        !std::less<>()(all.data() + all.size(), bytes.data() + bytes.size())) {
      return shared.get();
    }
  }
  return nullptr;
}

Status TaskContext::seal_result() {
  for (const auto& shared : shared_) {
    if (!shared->is_in_result) continue;
    auto sealed = std::move(shared->writer).seal();
    if (!sealed) return sealed.error();
    shared->sealed = std::move(*sealed);
  }
  return {};
}

void TaskContext::forget_shared_memory() {
  const std::lock_guard lock(mutex_);
  shared_.clear();
}

void ResultEncoder::begin(TaskContext& context) {
  discard();
  context_ = &context;
}

void ResultEncoder::finish() {
  if (descriptors_.empty()) return;
  if (const Status sealed = context_->seal_result(); !sealed) throw TaskError("ResultLost", sealed.error().message);
}

void ResultEncoder::discard() {
  encoded_.clear();
  parts_ = 0;
  copied_.clear();
  descriptors_.clear();
  context_ = nullptr;
}

// Before the part is copied: a result that is refused costs no memory.
void ResultEncoder::count_part(std::size_t bytes) {
  if (++parts_ > limits::kPayloadPartsMax) {
    throw ResultTooLarge("the result has more than " + std::to_string(limits::kPayloadPartsMax) + " parts");
  }
  if (encoded_.size() + bytes > limits::kResultBytesMax - kBesideBytes) {
    throw ResultTooLarge("the result has more than " + std::to_string(limits::kResultBytesMax) +
                         " bytes; return an array, or leave them in a file");
  }
}

void ResultEncoder::add(std::string_view content_type, std::string_view bytes) {
  count_part(content_type.size() + bytes.size());
  append_part(encoded_, {.content_type = content_type, .bytes = bytes});
}

void ResultEncoder::add_array(std::string_view dtype, const std::vector<std::uint64_t>& shape,
                              std::span<const std::byte> bytes) {
  const std::string type = format_array_type({std::string(dtype), shape});
  if (bytes.size() <= limits::kInlineBytesMax / 2) {
    return add(type, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  count_part(type.size());
  Part part{.kind = PartKind::kSegment, .content_type = type, .end = bytes.size()};
  if (SharedMemory* shared = context_->find_shared(bytes); shared != nullptr) {
    part.begin = static_cast<std::uint64_t>(bytes.data() - shared->writer.bytes().data());
    part.end = part.begin + bytes.size();
    shared->is_in_result = true;
    descriptors_.push_back(shared->writer.descriptor());
  } else {
    auto copy = make_segment("futured-array", bytes);
    if (!copy) throw TaskError("ResultLost", copy.error().message);
    descriptors_.push_back(copy->descriptor.get());
    copied_.push_back(std::move(*copy));
  }
  append_part(encoded_, part);
}

}  // namespace futured::runtime
