// Coroutine tasks: in a pool of mode async thousands of them run at once, on one thread. Public; standard library only.
//
//   #include <futured/task.h>
//
//   FUTURED_TASK("wait_for_line", [](futured::AsyncContext& context, int descriptor) -> futured::Async<std::string> {
//     co_await context.readable(descriptor);
//     co_return read_line(descriptor);
//   });
//
// In the other modes such a task runs too, alone on its worker or thread. What a coroutine does between two waits holds
// up all others of its worker, their stops included; more than 100 ms of it are told in the job's log. Code that blocks
// or computes for long belongs into a pool of another mode.
#pragma once

#include <chrono>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "futured/context.h"
#include "futured/convert.h"

namespace futured {

template <typename T = void>
class Async;

namespace sdk {

// What a suspended coroutine waits for. Lies in its frame; the worker knows it from begin() to its end or forget().
struct Waiter {
  enum class For : std::uint32_t { kTime, kReadable, kWritable, kStop, kReply, kNudge };
  Waiter(For wanted, int of_descriptor, std::chrono::nanoseconds for_time)
      : what(wanted), descriptor(of_descriptor), time(for_time) {}

  For what;
  int descriptor;                 // kReadable, kWritable
  std::chrono::nanoseconds time;  // kTime
  std::coroutine_handle<> coroutine;
  bool is_stopped = false;
  int error = 0;              // an errno
  void* operation = nullptr;  // the worker's
};

// For the daemon's word that what a run waits for may be there.
struct NudgeWaiter : Waiter {
  NudgeWaiter(std::uint32_t counted, std::chrono::nanoseconds at_most)
      : Waiter(For::kNudge, -1, at_most), seen(counted) {}

  std::uint32_t seen;  // nudges before this one
};

// For the answer to a submit, or to what is asked about a wait.
struct ReplyWaiter : Waiter {
  explicit ReplyWaiter(std::string encoded) : Waiter(For::kReply, -1, {}), request(std::move(encoded)) {}

  std::string request;
  bool is_answered = false;
  std::uint64_t job = 0;  // 0: refused
  std::string error_class;
  std::string error_message;
};

template <typename T>
struct AsyncPromiseBase {
  struct Last {
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <typename Promise>
    [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) const noexcept {
      const std::coroutine_handle<> next = ended.promise().continuation;
      return next ? next : std::noop_coroutine();
    }
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() noexcept { return {}; }
  Last final_suspend() noexcept { return {}; }
  void unhandled_exception() { error = std::current_exception(); }

  std::coroutine_handle<> continuation;  // who awaits it
  std::exception_ptr error;
};

template <typename T>
struct AsyncPromise : AsyncPromiseBase<T> {
  Async<T> get_return_object();
  template <typename Value>
  void return_value(Value&& given) {
    value.emplace(std::forward<Value>(given));
  }
  T take() {
    if (this->error) std::rethrow_exception(this->error);
    return *std::move(value);
  }
  std::optional<T> value;
};

template <>
struct AsyncPromise<void> : AsyncPromiseBase<void> {
  inline Async<void> get_return_object();
  void return_void() {}
  void take() const {
    if (error) std::rethrow_exception(error);
  }
};

}  // namespace sdk

// A coroutine that begins when it is awaited, once, and gives its value or exception to who awaits it. Destroyed before
// its end it stops where it waits.
template <typename T>
class [[nodiscard]] Async {
 public:
  using promise_type = sdk::AsyncPromise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  explicit Async(Handle handle) : handle_(handle) {}
  Async(Async&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Async& operator=(Async&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Async() {
    if (handle_) handle_.destroy();
  }

  auto operator co_await() && noexcept {
    struct Awaiter {
      Handle handle;
      [[nodiscard]] bool await_ready() const noexcept { return false; }
      [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiting) const noexcept {
        handle.promise().continuation = waiting;
        return handle;
      }
      T await_resume() const { return handle.promise().take(); }
    };
    return Awaiter{handle_};
  }

  // For who runs it to its end without awaiting it.
  [[nodiscard]] Handle handle() const { return handle_; }

 private:
  Handle handle_;
};

namespace sdk {

template <typename T>
Async<T> AsyncPromise<T>::get_return_object() {
  return Async<T>(std::coroutine_handle<AsyncPromise<T>>::from_promise(*this));
}
inline Async<void> AsyncPromise<void>::get_return_object() {
  return Async<void>(std::coroutine_handle<AsyncPromise<void>>::from_promise(*this));
}

}  // namespace sdk

// What a coroutine task is handed. Belongs to the thread that the task runs on.
class AsyncContext : public Context {
 public:
  // Awaited, it gives the thread to others until what it waits for has come. Throws Stopped when the job is asked to
  // stop meanwhile, or was since its last wait: once, so that what catches it may wait again while it cleans up, as
  // long as the job's grace lasts.
  class [[nodiscard]] Wait {
   public:
    Wait(AsyncContext& context, const sdk::Waiter& waiter) : context_(context), waiter_(waiter) {}
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    ~Wait() {
      if (is_waiting_) context_.forget(waiter_);
    }

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> coroutine) {
      waiter_.coroutine = coroutine;
      is_waiting_ = context_.begin(waiter_);
      return is_waiting_;
    }
    void await_resume() {
      is_waiting_ = false;
      if (waiter_.is_stopped) throw Stopped();
      if (waiter_.error != 0) throw std::system_error(waiter_.error, std::generic_category(), "wait for a descriptor");
    }

   private:
    AsyncContext& context_;
    sdk::Waiter waiter_;
    bool is_waiting_ = false;
  };

  // 0, or less: lets the others have a turn.
  Wait sleep(std::chrono::nanoseconds time) { return {*this, {sdk::Waiter::For::kTime, -1, time}}; }
  // Until a read or a write of the descriptor would not block; it is made non-blocking (O_NONBLOCK). Throws
  // std::system_error for one that nobody can wait for: EBADF, or EOPNOTSUPP of an ordinary file.
  Wait readable(int descriptor) { return {*this, {sdk::Waiter::For::kReadable, descriptor, {}}}; }
  Wait writable(int descriptor) { return {*this, {sdk::Waiter::For::kWritable, descriptor, {}}}; }
  // Until the job is asked to stop, which it then knows: this does not throw.
  Wait stop() { return {*this, {sdk::Waiter::For::kStop, -1, {}}}; }

  class [[nodiscard]] Submit {
   public:
    Submit(AsyncContext& context, std::string request) : context_(context), waiter_(std::move(request)) {}
    Submit(const Submit&) = delete;
    Submit& operator=(const Submit&) = delete;
    ~Submit() {
      if (is_waiting_) context_.forget(waiter_);
    }

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> coroutine) {
      waiter_.coroutine = coroutine;
      is_waiting_ = context_.begin(waiter_);
      return is_waiting_;
    }
    std::uint64_t await_resume() {
      is_waiting_ = false;
      if (waiter_.is_stopped) throw Stopped();
      if (waiter_.job == 0) throw SubmitError(waiter_.error_class, waiter_.error_message);
      return waiter_.job;
    }

   private:
    AsyncContext& context_;
    sdk::ReplyWaiter waiter_;
    bool is_waiting_ = false;
  };

  // Context::submit, awaited: the others have the thread until the answer is there, however long no daemon is. Submits
  // of one run are sent one after another, in the order in which they are awaited. Once the job was asked to stop, it
  // throws Stopped, each time. Have the options in a variable: within a co_await GCC 12 compiles no initializer list,
  // and destroys what a default argument made wrongly.
  template <typename Arguments>
  Submit submit(std::string_view task, const Arguments& arguments, const SubmitOptions& options);
  template <typename Arguments>
  Submit submit(std::string_view task, const Arguments& arguments) {
    return submit(task, arguments, SubmitOptions());
  }
  Submit submit(std::string_view task) {
    return {*this, encode_submit(task, [](ResultWriter&) {}, {})};
  }

  // Context::wait and the others, awaited: other runs have the thread meanwhile. One run may wait for several things at
  // once, 64 at most. Destroyed before its end a wait is over.
  [[nodiscard]] Async<bool> wait(std::vector<std::uint64_t> jobs, WaitJobs options);
  [[nodiscard]] Async<bool> wait(std::vector<std::uint64_t> jobs) { return wait(std::move(jobs), WaitJobs()); }
  [[nodiscard]] Async<ChildOutcome> outcome(std::uint64_t job);
  [[nodiscard]] Async<ChildOutcome> result(std::uint64_t job);

 protected:
  // An awaited call: its answer lies in the waiter.
  class [[nodiscard]] Call {
   public:
    Call(AsyncContext& context, std::string request) : context_(context), waiter_(std::move(request)) {}
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() {
      if (is_waiting_) context_.forget(waiter_);
    }

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> coroutine) {
      waiter_.coroutine = coroutine;
      is_waiting_ = context_.begin(waiter_);
      return is_waiting_;
    }
    // The answer's text; throws WaitError for a refusal.
    std::string await_resume() {
      is_waiting_ = false;
      if (waiter_.is_stopped) throw Stopped();
      if (waiter_.job == 0) throw WaitError(waiter_.error_class, waiter_.error_message);
      return std::move(waiter_.error_message);
    }

   private:
    AsyncContext& context_;
    sdk::ReplyWaiter waiter_;
    bool is_waiting_ = false;
  };
  class [[nodiscard]] Nudge {
   public:
    Nudge(AsyncContext& context, std::uint32_t seen, std::chrono::nanoseconds at_most)
        : context_(context), waiter_(seen, at_most) {}
    Nudge(const Nudge&) = delete;
    Nudge& operator=(const Nudge&) = delete;
    ~Nudge() {
      if (is_waiting_) context_.forget(waiter_);
    }

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> coroutine) {
      waiter_.coroutine = coroutine;
      is_waiting_ = context_.begin(waiter_);
      return is_waiting_;
    }
    void await_resume() {
      is_waiting_ = false;
      if (waiter_.is_stopped) throw Stopped();
    }

   private:
    AsyncContext& context_;
    sdk::NudgeWaiter waiter_;
    bool is_waiting_ = false;
  };
  // A wait of this run, from when it is asked for; gives it up when it goes before its end.
  class OpenWait;

  // Throws SubmitError for what cannot be sent.
  [[nodiscard]] virtual std::string encode_submit(std::string_view task, const AddArguments& add_arguments,
                                                  const SubmitOptions& options) const = 0;
  // True: the coroutine is resumed later. False: the wait is over already.
  [[nodiscard]] virtual bool begin(sdk::Waiter& waiter) = 0;
  virtual void forget(sdk::Waiter& waiter) noexcept = 0;
  // Of waits: the next number, what is asked about one, how often it was nudged; and what ends one that nobody awaits.
  [[nodiscard]] virtual std::uint32_t next_wait() = 0;
  [[nodiscard]] virtual std::string encode_wait(std::uint32_t number, const std::vector<std::uint64_t>& jobs,
                                                const WaitJobs& options) const = 0;
  [[nodiscard]] virtual std::string encode_give_up(std::uint32_t number) const = 0;
  [[nodiscard]] virtual std::string encode_read(std::uint64_t job, std::uint64_t offset) const = 0;
  [[nodiscard]] virtual std::uint32_t nudges() = 0;
  [[nodiscard]] virtual bool is_over(std::string_view answer) const = 0;
  // Appends a page; true: `outcome` has all of it now.
  [[nodiscard]] virtual bool add_page(std::string_view answer, std::string& outcome) const = 0;
  [[nodiscard]] virtual ChildOutcome decode_outcome(std::uint64_t job, std::string_view outcome) const = 0;
  virtual void give_up_wait(std::uint32_t number) noexcept = 0;
  ~AsyncContext() = default;
};

template <typename Arguments>
AsyncContext::Submit AsyncContext::submit(std::string_view task, const Arguments& arguments,
                                          const SubmitOptions& options) {
  return {*this, encode_submit(
                     task, [&](ResultWriter& out) { sdk::add_result(out, arguments); }, options)};
}

}  // namespace futured
