// Coroutines and futures on Asio, against a daemon that lives in this process.
#include "futured/asio.h"

#include <gtest/gtest.h>

#include <asio.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "futured/async.h"
#include "tests/unit/client/client_fixture.h"

namespace futured::client {
namespace {

using namespace std::chrono_literals;
using Asio = test::ClientTest;

Coroutine<std::string> echo_all(Executor executor) {
  std::string all;
  for (const char* text : {"a", "b", "c"}) all += co_await executor.submit("echo", text);
  co_await pause(1ms);
  co_return all;
}

TEST_F(Asio, RunsCoroutinesWithACallback) {
  asio::io_context io;
  std::string result;
  async_run(io.get_executor(), echo_all(client_.executor()),
            [&](std::exception_ptr error, std::string all) { result = error ? "error" : all; });
  io.run();
  EXPECT_EQ(result, "abc");
}

TEST_F(Asio, OneCoroutineIsNeverOnTwoThreadsAtOnce) {
  asio::thread_pool pool(4);
  std::atomic<int> inside{0};
  std::atomic<int> ends{0};
  const auto piece = [&](Executor executor) -> Coroutine<void> {
    for (int i = 0; i < 50; ++i) {
      static_cast<void>(co_await executor.submit("echo", ""));
      EXPECT_EQ(++inside, 1);
      --inside;
      ++ends;
    }
  };
  const auto all = [&](Executor executor) -> Coroutine<void> {
    std::vector<Coroutine<void>> pieces;
    for (int i = 0; i < 8; ++i) pieces.push_back(piece(executor));
    co_await gather(std::move(pieces));
  };
  async_run(pool.get_executor(), all(client_.executor()), asio::use_future).get();
  pool.join();
  EXPECT_EQ(ends, 400);
}

TEST_F(Asio, AFutureIsAnAwaitableOfItsOwnCoroutines) {
  asio::io_context io;
  std::string result;
  const auto main = [&]() -> asio::awaitable<void> {
    const Executor executor = client_.executor();
    result = co_await async_get(executor.submit("echo", "one"), asio::use_awaitable);
    result += co_await async_run(io.get_executor(), echo_all(executor), asio::use_awaitable);
    try {
      static_cast<void>(co_await async_get(executor.submit("fail", ""), asio::use_awaitable));
    } catch (const JobFailed&) {
      result += " and a failure";
    }
  };
  asio::co_spawn(io, main, asio::detached);
  io.run();
  EXPECT_EQ(result, "oneabc and a failure");
}

TEST_F(Asio, ALargeResultIsFetchedWhileTheLoopGoesOn) {
  const std::string large(300'000, 'x');
  const Future ended = client_.executor().submit("big", large);
  static_cast<void>(ended.outcome(5s));
  daemon_.hold_results(true);
  asio::io_context io;
  std::string result;
  async_get(ended, asio::bind_executor(io.get_executor(), [&](std::exception_ptr error, std::string bytes) {
              result = error ? "error" : bytes;
            }));
  asio::post(io, [&] { daemon_.hold_results(false); });
  io.run();
  EXPECT_EQ(result, large);
}

TEST_F(Asio, CancellingTheOperationEndsTheWait) {
  using namespace asio::experimental::awaitable_operators;
  asio::io_context io;
  const Future held = client_.executor().submit("hold", "");
  int timeouts = 0;
  const auto forever = [&]() -> Coroutine<std::string> { co_return co_await held; };
  const auto main = [&]() -> asio::awaitable<void> {
    asio::steady_timer timer(io, 5ms);
    const auto first = co_await (async_get(held, asio::use_awaitable) || timer.async_wait(asio::use_awaitable));
    timeouts += static_cast<int>(first.index());
    timer.expires_after(5ms);
    const auto second = co_await (async_run(io.get_executor(), forever(), asio::use_awaitable) ||
                                  timer.async_wait(asio::use_awaitable));
    timeouts += static_cast<int>(second.index());
  };
  asio::co_spawn(io, main, asio::detached);
  io.run();
  EXPECT_EQ(timeouts, 2);
  EXPECT_FALSE(held.done());
}

}  // namespace
}  // namespace futured::client
