#include "worker/runtime/async_loop.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <set>
#include <utility>

#include "base/limits.h"

namespace futured::runtime {

namespace {

constexpr int kStepsMax = 64;  // between two looks at the channel
constexpr Duration kBeat = std::chrono::milliseconds(100);
constexpr Duration kSleepMax = std::chrono::milliseconds(limits::kTimeoutMsMax);

}  // namespace

struct AsyncLoop::Inside {
  asio::io_context io{1};
  asio::posix::stream_descriptor wake{io};  // what sleep() watches
  bool is_watched = false;
  channel::LoopFigures* figures = nullptr;
  std::uint32_t timers = 0;
  std::uint32_t descriptors = 0;

  void count_timers(int more) {
    timers += static_cast<std::uint32_t>(more);
    if (figures != nullptr) figures->timers.store(timers, std::memory_order_relaxed);
  }
  void count_descriptors(int more) {
    descriptors += static_cast<std::uint32_t>(more);
    if (figures != nullptr) figures->descriptors.store(descriptors, std::memory_order_relaxed);
  }
  // Nothing for one that was ended before its time.
  void note_lag(std::chrono::steady_clock::time_point due) const {
    const std::int64_t lag = std::chrono::nanoseconds(std::chrono::steady_clock::now() - due).count();
    if (figures == nullptr || lag < 0) return;
    figures->lag_ns.store(lag, std::memory_order_relaxed);
    if (lag > figures->lag_max_ns.load(std::memory_order_relaxed)) {
      figures->lag_max_ns.store(lag, std::memory_order_relaxed);
    }
  }

  void watch(int channel) {
    if (is_watched) return;
    if (!wake.is_open()) wake.assign(channel);
    is_watched = true;
    wake.async_wait(asio::posix::descriptor_base::wait_read, [this](const asio::error_code&) { is_watched = false; });
  }
};

// One wait. Lives until it is over or forgotten and its handler has run.
struct AsyncLoop::Operation {
  Operation(Inside& of, TaskContext& whose, sdk::Waiter& what) : loop(of), context(&whose), waiter(&what) {
    waiter->operation = this;
  }

  void over() {
    if (waiter == nullptr) return;
    if (timer) loop.note_lag(timer->expiry());
    sdk::Waiter& ended = let_go();
    context->end_wait(ended);
  }
  sdk::Waiter& let_go() {
    if (timer) loop.count_timers(-1);
    if (descriptor) loop.count_descriptors(-1);
    sdk::Waiter& gone = *std::exchange(waiter, nullptr);
    gone.operation = nullptr;
    self.reset();
    return gone;
  }

  Inside& loop;
  TaskContext* context;
  sdk::Waiter* waiter;              // null: over, or forgotten
  std::shared_ptr<Operation> self;  // while it has a waiter
  std::optional<asio::steady_timer> timer;
  std::optional<asio::posix::stream_descriptor> descriptor;
};

namespace {

[[nodiscard]] std::set<int> open_descriptors() {
  std::set<int> found;
  DIR* const folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return found;
  while (const dirent* const entry = ::readdir(folder)) {
    if (entry->d_name[0] != '.') found.insert(std::atoi(entry->d_name));
  }
  found.erase(::dirfd(folder));
  ::closedir(folder);
  return found;
}

}  // namespace

// Asio does not say which descriptors it has, and goes round for ever without them.
AsyncLoop::AsyncLoop(channel::LoopFigures* figures) {
  const std::set<int> before = figures != nullptr ? open_descriptors() : std::set<int>();
  inside_ = std::make_unique<Inside>();
  inside_->figures = figures;
  if (before.empty()) return;
  for (const int descriptor : open_descriptors()) {
    struct stat is {};
    if (before.contains(descriptor) || ::fstat(descriptor, &is) != 0) continue;
    own_.push_back({descriptor, is.st_dev, is.st_ino});
  }
}

// Another file may have the number by now.
bool AsyncLoop::is_sound() const {
  return std::ranges::all_of(own_, [](const Own& own) {
    struct stat is {};
    return ::fstat(own.descriptor, &is) == 0 && is.st_dev == own.device && is.st_ino == own.inode;
  });
}

AsyncLoop::~AsyncLoop() {
  for (TaskContext* const caller : callers_) caller->not_called();
  if (inside_->wake.is_open()) inside_->wake.release();  // the channel's
}

bool AsyncLoop::begin(TaskContext& context, sdk::Waiter& waiter) {
  asio::io_context& io = inside_->io;
  const auto made = std::make_shared<Operation>(*inside_, context, waiter);
  using For = sdk::Waiter::For;
  const bool has_time = waiter.what == For::kTime || waiter.what == For::kNudge;
  if (has_time && waiter.time.count() > 0) {
    made->timer.emplace(io, std::min<Duration>(waiter.time, kSleepMax));
    made->timer->async_wait([made](const asio::error_code&) { made->over(); });
  } else if (waiter.what == For::kTime) {
    asio::post(io, [made] { made->over(); });
  } else if (waiter.what == For::kReadable || waiter.what == For::kWritable) {
    // One of our own: several may wait for one descriptor, and each registration needs another.
    const int copy = ::fcntl(waiter.descriptor, F_DUPFD_CLOEXEC, 0);
    asio::error_code wrong;
    if (copy < 0) wrong = asio::error_code(errno, asio::error::get_system_category());
    if (!wrong) made->descriptor.emplace(io).assign(copy, wrong);
    if (wrong) {
      if (copy >= 0) ::close(copy);
      waiter.error = wrong.value();
      waiter.operation = nullptr;
      return false;
    }
    const auto direction = waiter.what == For::kReadable ? asio::posix::descriptor_base::wait_read
                                                         : asio::posix::descriptor_base::wait_write;
    made->descriptor->async_wait(direction, [made](const asio::error_code& error) {
      if (made->waiter != nullptr && error && error != asio::error::operation_aborted) {
        made->waiter->error = error.value();
      }
      made->over();
    });
  }
  if (made->timer) inside_->count_timers(1);
  if (made->descriptor) inside_->count_descriptors(1);
  made->self = made;
  return true;
}

void AsyncLoop::end(sdk::Waiter& waiter) {
  const auto operation = static_cast<Operation*>(waiter.operation)->self;
  if (operation->timer) {
    operation->timer->cancel();
  } else if (operation->descriptor) {
    operation->descriptor->cancel();
  } else {
    asio::post(inside_->io, [operation] { operation->over(); });
  }
}

void AsyncLoop::forget(sdk::Waiter& waiter) noexcept {
  if (waiter.operation == nullptr) return;
  const auto operation = static_cast<Operation*>(waiter.operation)->self;
  (void)operation->let_go();
  operation->timer.reset();  // its handler is called, and has nothing to tell
  operation->descriptor.reset();
}

bool AsyncLoop::run_some() {
  inside_->io.restart();
  int steps = 0;
  while (steps < kStepsMax && inside_->io.poll_one() > 0) ++steps;
  return steps > 0;
}

// One load each. They are few, or the daemon is away and there is nothing else to do.
bool AsyncLoop::look_for_replies() {
  if (callers_.empty()) return false;
  const Instant now = monotonic_now();
  const bool beats = now - beat_at_ >= kBeat;
  if (beats) beat_at_ = now;
  bool answered = false;
  std::erase_if(callers_, [&](TaskContext* caller) {
    if (beats) caller->beat();
    const TaskContext::Calls calls = caller->look_for_reply();
    answered = answered || calls.is_answered;
    if (!calls.are_open) caller->not_called();
    return !calls.are_open;
  });
  return answered;
}

void AsyncLoop::sleep(int descriptor) {
  if (!callers_.empty()) return sleep_for(descriptor, kBeat);
  inside_->watch(descriptor);
  inside_->io.restart();
  (void)inside_->io.run_one();
}

void AsyncLoop::sleep_for(int descriptor, Duration time) {
  inside_->watch(descriptor);
  inside_->io.restart();
  (void)inside_->io.run_one_for(time);
}

namespace {

// One coroutine on a thread of its own.
class Alone final : public Resumer {
 public:
  void resume(std::coroutine_handle<> coroutine) override { coroutine.resume(); }
};

}  // namespace

void run_alone(channel::WorkerEnd& end, TaskContext& context, const sdk::AsyncTaskFunction& task, Parts arguments,
               ResultWriter& out) {
  AsyncLoop loop;
  Alone alone;
  context.run_on(loop, alone);
  const Async<> body = task(context, arguments, out);
  body.handle().resume();
  const Fence fence{JobId{context.job_id()}, Epoch{context.epoch()}, context.attempt()};
  while (!body.handle().done()) {
    if (const auto reason = end.stop_reason(fence)) context.stop(*reason);
    (void)loop.look_for_replies();
    if (loop.run_some() || !end.arm_for_stop()) continue;
    // What came before the channel was armed wakes nobody.
    if (!loop.look_for_replies()) loop.sleep(end.wake_fd());
    end.disarm();
  }
  body.handle().promise().take();
}

}  // namespace futured::runtime
