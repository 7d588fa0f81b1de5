#include "futured/coroutine.h"

#include <algorithm>
#include <utility>

#include "client/cpp/client_state.h"
#include "client/cpp/resumption.h"
#include "client/cpp/waiting.h"
#include "futured/errors.h"
#include "futured/gather.h"

namespace futured::client {

namespace detail {

// Shared with the thread that fetches: a coroutine that is stopped does not wait for that.
struct FuturesAwaiter::State {
  State(std::vector<Future> which, WaitFor how_long, const Surroundings& surroundings)
      : futures(std::move(which)), what(how_long), here(surroundings) {}
  void let_go() {
    if (!resumption || std::exchange(is_over, true)) return;
    waiter->forget_call();
    stop_listening(futures, waiter.get());
  }

  const std::vector<Future> futures;
  const WaitFor what;
  const Surroundings here;
  const std::shared_ptr<Waiter> waiter = std::make_shared<Waiter>();
  std::shared_ptr<Resumption> resumption;
  std::exception_ptr problem;
  bool is_over = false;

  bool fetches = false;            // the one future's outcome with all of its result
  std::optional<Outcome> fetched;  // these two are written before the resumption
  std::exception_ptr fetch_problem;
};

namespace {

bool must_be_fetched(const Future& future) {
  const Slot& slot = FutureAccess::block(future)->slot(FutureAccess::index(future));
  if (slot.phase.load(std::memory_order_acquire) != Phase::kFull || slot.ending->refusal) return false;
  return slot.ending->outcome.succeeded() && slot.ending->outcome.result_elided;
}

std::shared_ptr<CallbackQueue> fetcher_of(const Future& future) {
  const auto client = FutureAccess::block(future)->client();
  if (!client) throw Unavailable("the client of this future is closed");
  client->check_process();
  return client->fetcher.start();
}

}  // namespace

FuturesAwaiter::FuturesAwaiter(std::vector<Future> futures, WaitFor what, const Surroundings& here)
    : state_(std::make_shared<State>(std::move(futures), what, here)) {}
FuturesAwaiter::FuturesAwaiter(FuturesAwaiter&&) noexcept = default;
FuturesAwaiter& FuturesAwaiter::operator=(FuturesAwaiter&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
FuturesAwaiter::~FuturesAwaiter() {
  if (state_) state_->let_go();
}

bool FuturesAwaiter::await_suspend(std::coroutine_handle<> handle) {
  State& state = *state_;
  try {
    if (state.here.stop.stop_requested()) throw Stopped();
    const auto resumption = std::make_shared<Resumption>(state.here, handle);
    state.resumption = resumption;
    const std::size_t enough = listen_to(state.futures, state.what, state.waiter);
    std::function<void()> then = [resumption] { resumption->wake(); };
    if (state.fetches) {
      const Future& future = state.futures.front();
      if (enough == 0 && !must_be_fetched(future)) return false;
      const auto fetch = [shared = state_](const Future& ended) {
        try {
          shared->fetched = ended.outcome();
          shared->fetched->result = ended.parts();
        } catch (...) {
          shared->fetch_problem = std::current_exception();
        }
        shared->resumption->wake();
      };
      then = [resumption, fetch, future, queue = fetcher_of(future)] {
        if (must_be_fetched(future)) {
          queue->post(fetch, future);
        } else {
          resumption->wake();
        }
      };
      if (enough == 0) then();
    }
    if (enough == 0 && !state.fetches) return false;
    if (enough > 0 && !state.waiter->call_when(enough, state.what == WaitFor::kFirstException, then)) then();
    resumption->watch_stop();
    return true;
  } catch (...) {
    state.problem = std::current_exception();
    return false;
  }
}

FuturesAwaiter::State& FuturesAwaiter::finish() {
  State& state = *state_;
  state.let_go();
  if (state.problem) std::rethrow_exception(state.problem);
  if (state.resumption) state.resumption->end();
  if (state.fetch_problem) std::rethrow_exception(state.fetch_problem);
  return state;
}

OutcomeAwaiter::OutcomeAwaiter(Future future, const Surroundings& here)
    : FuturesAwaiter({std::move(future)}, WaitFor::kAllCompleted, here) {
  state_->fetches = true;
}

Outcome OutcomeAwaiter::await_resume() {
  State& state = finish();
  return state.fetched ? std::move(*state.fetched) : state.futures.front().outcome();
}

std::string ResultAwaiter::await_resume() {
  State& state = finish();
  if (!state.fetched) return state.futures.front().result();
  return state.fetched->result.empty() ? std::string() : std::move(state.fetched->result.front().bytes);
}

WaitResult WaitAwaiter::await_resume() { return sorted_by_end(finish().futures); }

struct PauseAwaiter::State {
  Milliseconds time;
  Surroundings here;
  std::shared_ptr<Resumption> resumption;
  std::shared_ptr<void> timer;
};

PauseAwaiter::PauseAwaiter(Milliseconds time, const Surroundings& here)
    : state_(std::make_unique<State>(State{time, here, nullptr, nullptr})) {}
PauseAwaiter::PauseAwaiter(PauseAwaiter&&) noexcept = default;
PauseAwaiter& PauseAwaiter::operator=(PauseAwaiter&&) noexcept = default;
PauseAwaiter::~PauseAwaiter() = default;

void PauseAwaiter::await_suspend(std::coroutine_handle<> handle) {
  state_->resumption = std::make_shared<Resumption>(state_->here, handle);
  state_->timer =
      state_->here.loop->post_at(point_after(state_->time), [resumption = state_->resumption] { resumption->wake(); });
  state_->resumption->watch_stop();
}

void PauseAwaiter::await_resume() {
  state_->timer.reset();
  state_->resumption->end();
}

}  // namespace detail

Coroutine<std::vector<std::string>> gather(std::vector<Future> futures) {
  const WaitResult result = co_await ended(futures, WaitFor::kFirstException);
  for (const Future& done : result.done) {
    if (const std::exception_ptr failure = done.exception()) std::rethrow_exception(failure);
  }
  std::vector<std::string> results;
  results.reserve(futures.size());
  for (const Future& future : futures) results.push_back(co_await future);
  co_return results;
}

Coroutine<std::size_t> race(std::vector<Future> futures) {
  if (futures.empty()) throw Error(ErrorKind::kInvalidArgument, "race: of nothing, nothing can be the first");
  const WaitResult result = co_await ended(futures, WaitFor::kFirstCompleted);
  const auto first = std::find(futures.begin(), futures.end(), result.done.front());
  co_return static_cast<std::size_t>(first - futures.begin());
}

}  // namespace futured::client
