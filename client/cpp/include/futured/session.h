// Session: jobs and coroutines that belong to one scope, which waits for them, or cancels them, before it is left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "futured/executor.h"
#include "futured/gather.h"

namespace futured::client {

enum class OnClose : std::uint8_t {
  kWait,    // for all that is open
  kCancel,  // all that is open, and wait until it has ended
};

class Session;

// Runs body(session), which gives a Coroutine<T>, then closes the session: as `on_close` says after a return; when the
// body threw, when a coroutine of the session failed, or when a stop was requested, what is open is cancelled. Only
// then does this end, with the body's result or what was thrown.
template <typename Body>
std::invoke_result_t<Body&, Session&> with_session(Executor executor, Body body, OnClose on_close = OnClose::kWait);

// What with_session() hands to its body. For the body's loop only.
class Session {
 public:
  Session(Executor executor, const Surroundings& parent);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  // As Executor's; the job belongs to this session.
  Future submit(std::string_view task, std::string_view payload);
  Future submit(std::string_view task, const std::vector<Part>& payload);
  Future submit(const CommandLine& command);
  // Runs it at once, to its first wait. When it fails, the whole session is stopped and throws what it threw.
  void start(Coroutine<void> coroutine);

 private:
  template <typename Body>
  friend std::invoke_result_t<Body&, Session&> with_session(Executor, Body, OnClose);
  Future own(Future future);
  void cancel_open();
  Coroutine<void> close();

  Executor executor_;
  detail::Children children_;
  bool cancels_ = false;        // what is open, when it closes
  std::exception_ptr failure_;  // of a coroutine
  std::vector<Future> futures_;
  std::size_t prune_at_ = 1024;  // then futures that have ended are let go of
};

template <typename Body>
std::invoke_result_t<Body&, Session&> with_session(Executor executor, Body body, OnClose on_close) {
  using T = typename std::invoke_result_t<Body&, Session&>::Result;
  const Surroundings here = co_await surroundings();
  Session session(std::move(executor), here);
  Ended<T> how;
  session.children_.start(body(session), [&](Ended<T> ended) {
    how = std::move(ended);
    session.cancels_ = session.cancels_ || how.error || on_close == OnClose::kCancel;
    if (session.cancels_) session.children_.request_stop();
  });
  co_await session.close();
  co_return how.take();
}

}  // namespace futured::client
