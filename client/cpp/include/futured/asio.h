// Asio: our coroutines on an Asio executor, and our futures in Asio's own style. The one header that needs standalone
// Asio (Debian: libasio-dev); nothing of it is compiled into the client.
//
//   asio::co_spawn(io, [&]() -> asio::awaitable<void> {
//     const std::string hash = co_await async_get(executor.submit("sha256", "abc"), asio::use_awaitable);
//     co_await async_run(io.get_executor(), fetch_all(executor), asio::use_awaitable);
//   }, asio::detached);
//
// The io_context must outlive the client: a thread of it may let go of an executor after the last handler has run.
#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/execution/outstanding_work.hpp>
#include <asio/post.hpp>
#include <asio/prefer.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/system_executor.hpp>
#include <exception>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

#include "futured/coroutine.h"
#include "futured/gather.h"

namespace futured::client {

// A strand of the executor, which may have many threads. Keeps it from running out of work.
class AsioLoop final : public Loop {
 public:
  explicit AsioLoop(const asio::any_io_executor& executor)
      : strand_(asio::make_strand(executor)),
        work_(asio::prefer(executor, asio::execution::outstanding_work.tracked)) {}

  void post(Work work) override { asio::post(strand_, std::move(work)); }
  [[nodiscard]] std::shared_ptr<void> post_at(std::chrono::steady_clock::time_point when, Work work) override {
    const auto timer = std::make_shared<asio::steady_timer>(strand_, when);
    timer->async_wait([kept = std::weak_ptr(timer), work = std::move(work)](const asio::error_code& error) {
      if (!error && !kept.expired()) work();
    });
    return timer;
  }
  [[nodiscard]] asio::any_io_executor executor() const { return strand_; }

 private:
  asio::strand<asio::any_io_executor> strand_;
  asio::any_io_executor work_;
};

namespace detail {

// The handler of one operation, called once, on its own executor.
template <typename Handler>
class AsioCompletion {
 public:
  AsioCompletion(Handler handler, const asio::any_io_executor& fallback)
      : handler_(std::move(handler)),
        executor_(asio::get_associated_executor(handler_, fallback)),
        work_(tracked(executor_)) {}

  template <typename F>
  void on_cancel(F request) {
    auto slot = asio::get_associated_cancellation_slot(handler_);
    if (slot.is_connected()) slot.assign([request](asio::cancellation_type /*any*/) mutable { request(); });
  }
  template <typename... Values>
  void complete(Values... values) {
    asio::post(executor_, [handler = std::move(handler_), ... values = std::move(values)]() mutable {
      std::move(handler)(std::move(values)...);
    });
    work_.reset();
  }

 private:
  using Executor = asio::associated_executor_t<Handler, asio::any_io_executor>;
  static auto tracked(const Executor& executor) {
    return asio::prefer(executor, asio::execution::outstanding_work.tracked);
  }

  Handler handler_;
  Executor executor_;
  std::optional<decltype(tracked(std::declval<Executor>()))> work_;  // keeps it from running out of work until then
};

template <typename T>
using AsioSignature = std::conditional_t<std::is_void_v<T>, std::type_identity<void(std::exception_ptr)>,
                                         std::type_identity<void(std::exception_ptr, typename Ended<T>::Value)>>;

// Runs a coroutine on an Asio executor, and tells the handler how it ended.
template <typename T, typename Handler>
void run_for(Handler handler, const asio::any_io_executor& where, Coroutine<T> what) {
  const auto loop = std::make_shared<AsioLoop>(where);
  const auto completion = std::make_shared<AsioCompletion<Handler>>(std::move(handler), loop->executor());
  std::stop_source stop;
  completion->on_cancel([stop]() mutable { stop.request_stop(); });
  start<T>(
      *loop, std::move(what),
      [loop, completion](Ended<T> how) {
        if constexpr (std::is_void_v<T>) {
          completion->complete(how.error);
        } else {
          completion->complete(how.error, how.value ? std::move(*how.value) : T());
        }
      },
      stop.get_token());
}

}  // namespace detail

// Runs a coroutine on an Asio executor, as asio::co_spawn does: void(std::exception_ptr, T), or without the T of void;
// T must have a default. Cancelling the operation asks the coroutine to stop.
template <typename T, typename Token>
auto async_run(const asio::any_io_executor& executor, Coroutine<T> coroutine, Token&& token) {
  using Signature = typename detail::AsioSignature<T>::type;
  return asio::async_initiate<Token, Signature>(
      [](auto handler, const asio::any_io_executor& where, Coroutine<T> what) {
        detail::run_for(std::move(handler), where, std::move(what));
      },
      token, executor, std::move(coroutine));
}

// The result of a future: void(std::exception_ptr, std::string). Waits as a coroutine does, on the handler's own
// executor, which a large result that must be fetched does not hold up. Cancelling the operation ends the wait with
// Stopped, and leaves the job alone.
template <typename Token>
auto async_get(Future future, Token&& token) {
  return asio::async_initiate<Token, void(std::exception_ptr, std::string)>(
      [](auto handler, Future what) {
        const asio::any_io_executor where = asio::get_associated_executor(handler, asio::system_executor());
        detail::run_for(std::move(handler), where, detail::as_coroutine(std::move(what)));
      },
      token, std::move(future));
}

}  // namespace futured::client
