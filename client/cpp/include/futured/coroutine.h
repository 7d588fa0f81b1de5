// Coroutines that wait for jobs: co_await a Future, resumed on the caller's own loop. Include async.h; it brings all.
//
//   Coroutine<std::string> twice(Executor executor, std::string text) {
//     const std::string once = co_await executor.submit("echo", text);
//     co_return once + co_await executor.submit("echo", text);
//   }
//   RunLoop().run(twice(client.executor(), "ha"));
#pragma once

#include <chrono>
#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "futured/future.h"
#include "futured/loop.h"

namespace futured::client {

// Thrown where a coroutine waits, when it has been asked to stop. No Error, so that handlers of those let it pass.
class Stopped : public std::exception {
 public:
  [[nodiscard]] const char* what() const noexcept override { return "the coroutine was asked to stop"; }
};

// Where a coroutine runs, and what asks it to stop. Handed on to every coroutine that it waits for.
struct Surroundings {
  Loop* loop = nullptr;
  std::stop_token stop;
};

// co_await surroundings(): those of this coroutine.
struct AskSurroundings {
  struct Awaiter {
    Surroundings answer;
    [[nodiscard]] bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<> /*never*/) const noexcept {}
    [[nodiscard]] Surroundings await_resume() noexcept { return std::move(answer); }
  };
  [[nodiscard]] Awaiter in(const Surroundings& here) const { return {here}; }
};
[[nodiscard]] inline AskSurroundings surroundings() { return {}; }

namespace detail {

// What can be waited for in given surroundings: `in` makes the awaiter.
template <typename A>
concept Awaitable = requires(A awaitable, const Surroundings& here) {
  std::forward<A>(awaitable).in(here);
};

// Far away rather than past the end of the clock.
[[nodiscard]] inline std::chrono::steady_clock::time_point point_after(Milliseconds time) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point now = Clock::now();
  return time > std::chrono::duration_cast<Milliseconds>(Clock::time_point::max() - now) ? Clock::time_point::max()
                                                                                         : now + time;
}

// Waits for futures, as wait() does.
class FuturesAwaiter {
 public:
  FuturesAwaiter(std::vector<Future> futures, WaitFor what, const Surroundings& here);
  FuturesAwaiter(FuturesAwaiter&&) noexcept;
  FuturesAwaiter& operator=(FuturesAwaiter&&) noexcept;
  ~FuturesAwaiter();
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  // False: nothing to wait for.
  bool await_suspend(std::coroutine_handle<> handle);

 protected:
  struct State;
  // Throws Stopped, or why it could not wait.
  State& finish();

  std::shared_ptr<State> state_;
};

// Waits for one, and fetches a result that was too large to come by itself.
class OutcomeAwaiter : public FuturesAwaiter {
 public:
  OutcomeAwaiter(Future future, const Surroundings& here);
  [[nodiscard]] Outcome await_resume();
};
class ResultAwaiter : public OutcomeAwaiter {
 public:
  using OutcomeAwaiter::OutcomeAwaiter;
  [[nodiscard]] std::string await_resume();
};
class WaitAwaiter : public FuturesAwaiter {
 public:
  using FuturesAwaiter::FuturesAwaiter;
  [[nodiscard]] WaitResult await_resume();
};

class PauseAwaiter {
 public:
  PauseAwaiter(Milliseconds time, const Surroundings& here);
  PauseAwaiter(PauseAwaiter&&) noexcept;
  PauseAwaiter& operator=(PauseAwaiter&&) noexcept;
  ~PauseAwaiter();
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle);
  void await_resume();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class Promise {
 public:
  struct Final {
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <typename P>
    [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<P> ended) const noexcept {
      return ended.promise().end();
    }
    void await_resume() const noexcept {}
  };
  [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
  [[nodiscard]] Final final_suspend() const noexcept { return {}; }
  void unhandled_exception() noexcept { error_ = std::current_exception(); }

  // Runs the coroutine to its first wait. False: it has ended already. So a loop over coroutines that need no wait
  // needs no stack, which a transfer from one to the other would where the compiler makes no tail call of it.
  [[nodiscard]] bool begin(const Surroundings& here, std::coroutine_handle<> self,
                           std::coroutine_handle<> continuation) {
    here_ = here;
    self.resume();
    continuation_ = continuation;
    return !has_ended_;
  }
  // Who goes on now.
  [[nodiscard]] std::coroutine_handle<> end() noexcept {
    has_ended_ = true;
    return continuation_ ? continuation_ : std::noop_coroutine();
  }

  [[nodiscard]] ResultAwaiter await_transform(Future future) { return {std::move(future), here_}; }
  template <Awaitable A>
  [[nodiscard]] auto await_transform(A&& awaitable) {
    return std::forward<A>(awaitable).in(here_);
  }

 protected:
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  Surroundings here_;
  std::coroutine_handle<> continuation_;  // set once begin() is over
  bool has_ended_ = false;
  std::exception_ptr error_;
};

template <typename T>
class PromiseOf : public Promise {
 public:
  template <typename V>
  void return_value(V&& value) {
    value_.emplace(std::forward<V>(value));
  }
  [[nodiscard]] T take() {
    rethrow();
    return std::move(*value_);
  }

 private:
  std::optional<T> value_;
};
template <>
class PromiseOf<void> : public Promise {
 public:
  void return_void() const noexcept {}
  void take() const { rethrow(); }
};

}  // namespace detail

// A coroutine that gives a T. Begins when it is waited for, or started (start(), gather(), Session::start), and runs on
// the loop of whoever did so. Waited for once.
template <typename T>
class [[nodiscard]] Coroutine {
 public:
  using Result = T;
  struct promise_type final : detail::PromiseOf<T> {
    [[nodiscard]] Coroutine get_return_object() {
      return Coroutine(std::coroutine_handle<promise_type>::from_promise(*this));
    }
  };

  Coroutine(Coroutine&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Coroutine& operator=(Coroutine other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Coroutine() {
    if (handle_) handle_.destroy();
  }

  // For co_await.
  class Awaiter {
   public:
    Awaiter(Coroutine coroutine, const Surroundings& here) : coroutine_(std::move(coroutine)), here_(here) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> who) {
      return coroutine_.handle_.promise().begin(here_, coroutine_.handle_, who);
    }
    T await_resume() { return coroutine_.handle_.promise().take(); }

   private:
    Coroutine coroutine_;
    Surroundings here_;
  };
  [[nodiscard]] Awaiter in(const Surroundings& here) && { return Awaiter(std::move(*this), here); }

 private:
  explicit Coroutine(std::coroutine_handle<promise_type> handle) : handle_(handle) {}

  std::coroutine_handle<promise_type> handle_;
};

// ---- What a coroutine can wait for, beside other coroutines. All of it ends with Stopped when a stop is requested.

// co_await future: as Future::result(). The job goes on when the wait is stopped.

// co_await outcome_of(future): as Future::outcome(), with all bytes of the result.
struct OutcomeOf {
  Future future;
  [[nodiscard]] detail::OutcomeAwaiter in(const Surroundings& here) const { return {future, here}; }
};
[[nodiscard]] inline OutcomeOf outcome_of(Future future) { return {std::move(future)}; }

// co_await ended(futures): as wait(). One registration for all of them.
struct EndOf {
  std::vector<Future> futures;
  WaitFor what;
  [[nodiscard]] detail::WaitAwaiter in(const Surroundings& here) const { return {futures, what, here}; }
};
[[nodiscard]] inline EndOf ended(std::vector<Future> futures, WaitFor what = WaitFor::kAllCompleted) {
  return {std::move(futures), what};
}

// co_await pause(time): a timer of the loop.
struct Pause {
  Milliseconds time;
  [[nodiscard]] detail::PauseAwaiter in(const Surroundings& here) const { return {time, here}; }
};
[[nodiscard]] inline Pause pause(Milliseconds time) { return {time}; }

// ---- Starting

// How a coroutine ended: one of both is set.
template <typename T>
struct Ended {
  using Value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;
  std::exception_ptr error;
  std::optional<Value> value;

  T take() {
    if (error) std::rethrow_exception(error);
    if constexpr (!std::is_void_v<T>) return std::move(*value);
  }
};

namespace detail {

// A coroutine that nobody waits for: it owns itself.
struct Detached {
  struct promise_type {
    [[nodiscard]] Detached get_return_object() const noexcept { return {}; }
    [[nodiscard]] std::suspend_never initial_suspend() const noexcept { return {}; }
    [[nodiscard]] std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }  // `at_end` does not throw
  };
};

// On the loop: runs the coroutine from now on.
template <typename T, typename AtEnd>
Detached drive(Coroutine<T> coroutine, Surroundings here, AtEnd at_end) {
  Ended<T> how;
  try {
    if constexpr (std::is_void_v<T>) {
      co_await std::move(coroutine).in(here);
      how.value.emplace();
    } else {
      how.value.emplace(co_await std::move(coroutine).in(here));
    }
  } catch (...) {
    how.error = std::current_exception();
  }
  at_end(std::move(how));
}

}  // namespace detail

// From any thread: runs a coroutine on a loop. `at_end` is called there, and must not throw.
template <typename T>
void start(Loop& loop, Coroutine<T> coroutine, std::function<void(Ended<T>)> at_end, std::stop_token stop = {}) {
  const auto kept = std::make_shared<Coroutine<T>>(std::move(coroutine));  // work is copyable, a coroutine is not
  loop.post([kept, here = Surroundings{&loop, std::move(stop)}, at_end = std::move(at_end)]() mutable {
    detail::drive(std::move(*kept), std::move(here), std::move(at_end));
  });
}

}  // namespace futured::client
