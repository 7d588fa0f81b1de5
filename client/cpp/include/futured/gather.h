// gather, race, within: several coroutines at once, and one under a deadline. What they start has ended when they end.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "futured/coroutine.h"
#include "futured/errors.h"

namespace futured::client {

namespace detail {

// Coroutines that another one has started, on its own loop. It waits for all_ended() before it ends itself.
class Children {
 public:
  explicit Children(const Surroundings& parent) : loop_(parent.loop), with_parent_(parent.stop, Stop{stop_}) {}
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  // Runs it at once, to its first wait.
  template <typename T, typename AtEnd>
  void start(Coroutine<T> child, AtEnd at_end) {
    ++open_;
    drive(std::move(child), surroundings(), [this, at_end = std::move(at_end)](Ended<T> how) mutable {
      at_end(std::move(how));
      if (--open_ == 0 && parent_) loop_->post(std::exchange(parent_, nullptr));
    });
  }
  void request_stop() { stop_.request_stop(); }
  [[nodiscard]] Surroundings surroundings() const { return {loop_, stop_.get_token()}; }

  // A stop does not cut this wait short: it ends the children.
  struct AllEnded {
    Children& children;
    [[nodiscard]] bool await_ready() const noexcept { return children.open_ == 0; }
    void await_suspend(std::coroutine_handle<> parent) const noexcept { children.parent_ = parent; }
    void await_resume() const noexcept {}
    [[nodiscard]] AllEnded in(const Surroundings& /*here*/) const { return *this; }
  };
  [[nodiscard]] AllEnded all_ended() { return {*this}; }

 private:
  struct Stop {
    std::stop_source source;
    void operator()() { source.request_stop(); }
  };

  Loop* const loop_;
  std::stop_source stop_;
  std::stop_callback<Stop> with_parent_;
  std::size_t open_ = 0;
  std::coroutine_handle<> parent_;
};

// All of them at once; the first that fails stops the others, and is thrown when they have ended.
template <typename T>
Coroutine<std::vector<Ended<T>>> run_all(std::vector<Coroutine<T>> all) {
  Children children(co_await surroundings());
  std::vector<Ended<T>> results(all.size());
  std::exception_ptr first;
  for (std::size_t i = 0; i < all.size(); ++i) {
    children.start(std::move(all[i]), [&, i](Ended<T> how) {
      if (how.error && !first) {
        first = how.error;
        children.request_stop();
      }
      results[i] = std::move(how);
    });
  }
  co_await children.all_ended();
  if (first) std::rethrow_exception(first);
  co_return results;
}

template <typename... T>
Coroutine<std::tuple<typename Ended<T>::Value...>> run_tuple(std::tuple<Coroutine<T>...> all) {
  Children children(co_await surroundings());
  std::tuple<Ended<T>...> results;
  std::exception_ptr first;
  const auto start_one = [&]<typename U>(Coroutine<U>& coroutine, Ended<U>& result) {
    children.start(std::move(coroutine), [&, &result = result](Ended<U> how) {
      if (how.error && !first) {
        first = how.error;
        children.request_stop();
      }
      result = std::move(how);
    });
  };
  [&]<std::size_t... I>(std::index_sequence<I...>) { (start_one(std::get<I>(all), std::get<I>(results)), ...); }
  (std::index_sequence_for<T...>());
  co_await children.all_ended();
  if (first) std::rethrow_exception(first);
  co_return std::apply(
      [](Ended<T>&... each) { return std::tuple<typename Ended<T>::Value...>(std::move(*each.value)...); }, results);
}

inline Coroutine<std::string> as_coroutine(Future future) { co_return co_await std::move(future); }
template <typename T>
Coroutine<T> as_coroutine(Coroutine<T> coroutine) {
  return coroutine;
}

template <typename A>
struct IsJoinable : std::is_same<A, Future> {};
template <typename T>
struct IsJoinable<Coroutine<T>> : std::true_type {};
template <typename A>
concept Joinable = IsJoinable<A>::value;

}  // namespace detail

// All of them at once. Their results, in the order given; the first failure is thrown instead, at once of futures
// (whose jobs go on), and of coroutines when the others have been stopped and have ended.
[[nodiscard]] Coroutine<std::vector<std::string>> gather(std::vector<Future> futures);

template <typename T>
requires(!std::is_void_v<T>) [[nodiscard]] Coroutine<std::vector<T>> gather(std::vector<Coroutine<T>> coroutines) {
  std::vector<Ended<T>> ended = co_await detail::run_all(std::move(coroutines));
  std::vector<T> values;
  values.reserve(ended.size());
  for (Ended<T>& each : ended) values.push_back(std::move(*each.value));
  co_return values;
}
[[nodiscard]] inline Coroutine<void> gather(std::vector<Coroutine<void>> coroutines) {
  static_cast<void>(co_await detail::run_all(std::move(coroutines)));
}
// Of several kinds: a tuple; std::monostate stands for nothing.
template <detail::Joinable... A>
[[nodiscard]] auto gather(A... each) {
  return detail::run_tuple(std::tuple(detail::as_coroutine(std::move(each))...));
}

// The index of the first that ends, however it does. The jobs of the others go on: a Session cancels what it leaves.
[[nodiscard]] Coroutine<std::size_t> race(std::vector<Future> futures);

template <typename T>
struct Raced {
  std::size_t index = 0;
  typename Ended<T>::Value value;
};
// The first that ends, well or not; the others are stopped, and have ended when this does.
template <typename T>
[[nodiscard]] Coroutine<Raced<T>> race(std::vector<Coroutine<T>> coroutines) {
  if (coroutines.empty()) throw Error(ErrorKind::kInvalidArgument, "race: of nothing, nothing can be the first");
  detail::Children children(co_await surroundings());
  std::optional<std::size_t> winner;
  Ended<T> result;
  for (std::size_t i = 0; i < coroutines.size(); ++i) {
    children.start(std::move(coroutines[i]), [&, i](Ended<T> how) {
      if (winner) return;
      winner = i;
      result = std::move(how);
      children.request_stop();
    });
  }
  co_await children.all_ended();
  if (result.error) std::rethrow_exception(result.error);
  co_return Raced<T>{*winner, std::move(*result.value)};
}

// The result, or WaitTimeout when the time ran out first: then the coroutine was stopped, and has ended. A job goes on.
template <typename T>
[[nodiscard]] Coroutine<T> within(Milliseconds time, Coroutine<T> coroutine) {
  const Surroundings here = co_await surroundings();
  detail::Children children(here);
  bool is_over = false;
  const auto timer = here.loop->post_at(detail::point_after(time), [&] {
    is_over = true;
    children.request_stop();
  });
  Ended<T> result;
  children.start(std::move(coroutine), [&](Ended<T> how) { result = std::move(how); });
  co_await children.all_ended();
  try {
    co_return result.take();
  } catch (const Stopped&) {
    if (!is_over || here.stop.stop_requested()) throw;
  }
  throw WaitTimeout("not ended within " + std::to_string(time.count()) + " ms");
}
[[nodiscard]] inline Coroutine<std::string> within(Milliseconds time, Future future) {
  return within(time, detail::as_coroutine(std::move(future)));
}

}  // namespace futured::client
