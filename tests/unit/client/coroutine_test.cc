// What coroutines are promised, against a daemon that lives in this process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "futured/async.h"
#include "tests/unit/client/client_fixture.h"

namespace futured::client {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

class Coroutines : public test::ClientTest {
 protected:
  Future submit(const char* task, const std::string& payload = {}) { return executor_.submit(task, payload); }

  Executor executor_ = client_.executor();
  RunLoop loop_;
};

using Gather = Coroutines;
using Race = Coroutines;
using Within = Coroutines;
using Sessions = Coroutines;

Coroutine<std::string> awaited_result(Future future) { co_return co_await future; }
Coroutine<Outcome> outcome(Future future) { co_return co_await outcome_of(future); }

// Says in `end` how its wait ended.
Coroutine<std::string> watched(Future future, std::string& end) {
  try {
    const std::string result = co_await future;
    end = "result";
    co_return result;
  } catch (const Stopped&) {
    end = "stopped";
    throw;
  }
}

TEST_F(Coroutines, AFutureIsItsResult) {
  EXPECT_EQ(loop_.run(awaited_result(submit("echo", "hello"))), "hello");
  const Future ended = submit("echo", "again");
  static_cast<void>(ended.result());
  EXPECT_EQ(loop_.run(awaited_result(ended)), "again");
}

TEST_F(Coroutines, AFailureIsThrown) {
  EXPECT_THROW(static_cast<void>(loop_.run(awaited_result(submit("fail")))), JobFailed);
  EXPECT_EQ(loop_.run(outcome(submit("fail"))).state, JobState::kFailed);
  EXPECT_THROW(static_cast<void>(loop_.run(awaited_result(submit("unknown")))), Error);
  EXPECT_THROW(static_cast<void>(loop_.run(awaited_result(Future()))), Error);
}

TEST_F(Coroutines, ALargeResultIsFetched) {
  const std::string large(300'000, 'x');
  EXPECT_EQ(loop_.run(awaited_result(submit("big", large))), large);
  const Future ended = submit("big", large);
  EXPECT_EQ(ended.outcome().result.size(), 0u);
  EXPECT_EQ(loop_.run(awaited_result(ended)), large);
  EXPECT_EQ(loop_.run(outcome(ended)).result.front().bytes, large);
}

Coroutine<void> on_one_thread(Executor executor, std::thread::id thread) {
  for (int i = 0; i < 100; ++i) {
    static_cast<void>(co_await executor.submit("echo", ""));
    EXPECT_EQ(std::this_thread::get_id(), thread);
  }
}

TEST_F(Coroutines, GoOnOnTheirOwnLoop) { loop_.run(on_one_thread(executor_, std::this_thread::get_id())); }

Coroutine<std::size_t> many(Future ended) {
  std::size_t bytes = 0;
  for (int i = 0; i < 20'000; ++i) bytes += (co_await awaited_result(ended)).size();
  co_return bytes;
}

TEST_F(Coroutines, WhatNeedsNoWaitNeedsNoStack) {
  const Future ended = submit("echo", "x");
  static_cast<void>(ended.result());
  EXPECT_EQ(loop_.run(many(ended)), 20'000u);
}

TEST_F(Coroutines, AStopFromAnyThreadEndsTheWaitAndLeavesTheJob) {
  const Future future = submit("hold", "later");
  std::stop_source stop;
  std::thread other([&] {
    daemon_.wait_for_jobs(1);
    stop.request_stop();
  });
  EXPECT_THROW(static_cast<void>(loop_.run(awaited_result(future), stop.get_token())), Stopped);
  other.join();
  EXPECT_FALSE(future.done());
  EXPECT_THROW(static_cast<void>(loop_.run(awaited_result(future), stop.get_token())), Stopped) << "stopped before";
  daemon_.end(future.id(), true);
  EXPECT_EQ(loop_.run(awaited_result(future)), "later");
}

Coroutine<std::string> in_order_of_ends(test::FakeDaemon& daemon, std::vector<Future> futures) {
  Completions completions(futures);
  std::string order;
  for (const std::size_t next : {2, 0, 1}) {
    daemon.end(futures[next].id(), true);
    order += (co_await completions.next())->result();
  }
  EXPECT_FALSE((co_await completions.next()).has_value());
  completions.add(futures[1]);
  order += (co_await completions.next())->result();
  co_return order;
}

TEST_F(Coroutines, CompletionsComeInTheOrderOfTheEnds) {
  const std::vector<Future> futures = {submit("hold", "0"), submit("hold", "1"), submit("hold", "2")};
  EXPECT_EQ(loop_.run(in_order_of_ends(daemon_, futures)), "2011");
}

Coroutine<std::size_t> count(Completions completions) {
  std::size_t ends = 0;
  while (co_await completions.next()) ++ends;
  co_return ends;
}

TEST_F(Coroutines, CompletionsOfThousandsComeOnceEach) {
  std::vector<Future> futures;
  for (int i = 0; i < 20'000; ++i) futures.push_back(submit("echo"));
  EXPECT_EQ(loop_.run(count(Completions(futures))), 20'000u);
}

Coroutine<bool> is_over(Completions completions) { co_return !(co_await completions.next()).has_value(); }

TEST_F(Coroutines, CompletionsThatRefusedAFutureDoNotWaitForIt) {
  Completions completions;
  EXPECT_THROW(completions.add(Future()), Error);
  Future orphan;
  {
    const Client other = connect();
    orphan = other.future(submit("hold").id());
  }
  EXPECT_THROW(completions.add(orphan), Unavailable);
  EXPECT_TRUE(loop_.run(within(10s, is_over(completions))));
}

Coroutine<void> nap() { co_await pause(1ms); }

TEST_F(Coroutines, APauseIsATimerOfTheLoop) {
  loop_.run(nap());
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(loop_.run(nap(), stop.get_token()), Stopped);
}

TEST_F(Gather, GivesResultsInTheOrderGiven) {
  EXPECT_THAT(loop_.run(gather(std::vector{submit("echo", "a"), submit("echo", "b")})), ElementsAre("a", "b"));
  std::vector<Coroutine<std::string>> coroutines;
  for (const char* text : {"c", "d"}) coroutines.push_back(awaited_result(submit("echo", text)));
  EXPECT_THAT(loop_.run(gather(std::move(coroutines))), ElementsAre("c", "d"));
  EXPECT_TRUE(loop_.run(gather(std::vector<Future>())).empty());
}

TEST_F(Gather, TakesSeveralKinds) {
  const auto [future, coroutine, nothing] =
      loop_.run(gather(submit("echo", "a"), awaited_result(submit("echo", "b")), nap()));
  EXPECT_EQ(future + coroutine, "ab");
  static_cast<void>(nothing);
}

TEST_F(Gather, AFailureOfAFutureIsThrownAtOnce) {
  EXPECT_THROW(static_cast<void>(loop_.run(gather(std::vector{submit("hold"), submit("fail")}))), JobFailed);
}

TEST_F(Gather, AFailingCoroutineStopsTheOthersFirst) {
  std::string end;
  std::vector<Coroutine<std::string>> coroutines;
  coroutines.push_back(watched(submit("hold"), end));
  coroutines.push_back(awaited_result(submit("fail")));
  EXPECT_THROW(static_cast<void>(loop_.run(gather(std::move(coroutines)))), JobFailed);
  EXPECT_EQ(end, "stopped");
}

TEST_F(Race, TheFirstEndWinsAndTheOthersAreStopped) {
  std::string end;
  std::vector<Coroutine<std::string>> coroutines;
  coroutines.push_back(watched(submit("hold"), end));
  coroutines.push_back(awaited_result(submit("echo", "fast")));
  const Raced<std::string> raced = loop_.run(race(std::move(coroutines)));
  EXPECT_EQ(raced.index, 1u);
  EXPECT_EQ(raced.value, "fast");
  EXPECT_EQ(end, "stopped");
}

TEST_F(Race, OfFuturesTellsWhich) {
  EXPECT_EQ(loop_.run(race(std::vector{submit("hold"), submit("fail")})), 1u);
  EXPECT_THROW(static_cast<void>(loop_.run(race(std::vector<Future>()))), Error);
}

TEST_F(Within, ADeadlineEndsTheWaitAndLeavesTheJob) {
  const Future future = submit("hold", "x");
  EXPECT_THROW(static_cast<void>(loop_.run(within(10ms, future))), WaitTimeout);
  std::string end;
  EXPECT_THROW(static_cast<void>(loop_.run(within(10ms, watched(future, end)))), WaitTimeout);
  EXPECT_EQ(end, "stopped");
  EXPECT_FALSE(future.done());
  daemon_.end(future.id(), true);
  EXPECT_EQ(loop_.run(within(kForever, future)), "x");
  EXPECT_THROW(static_cast<void>(loop_.run(within(1h, submit("fail")))), JobFailed);
}

TEST_F(Sessions, WaitForWhatTheyLeaveOpen) {
  Future left;
  const auto body = [&](Session& session) -> Coroutine<int> {
    left = session.submit("hold", "");
    daemon_.wait_for_jobs(1);
    daemon_.end_all_held();
    co_return 7;
  };
  EXPECT_EQ(loop_.run(with_session(executor_, body)), 7);
  EXPECT_TRUE(left.outcome(0ms).succeeded());
}

TEST_F(Sessions, CancelWhatIsOpenWhenTheirBodyThrows) {
  Future left;
  const auto body = [&](Session& session) -> Coroutine<void> {
    left = session.submit("hold", "");
    co_await session.submit("fail", "");
  };
  EXPECT_THROW(loop_.run(with_session(executor_, body)), JobFailed);
  EXPECT_EQ(left.outcome(0ms).state, JobState::kCancelled);
}

TEST_F(Sessions, CancelWhatIsOpenWhenAskedTo) {
  std::string end;
  Future left;
  const auto watch = [&](Future future) -> Coroutine<void> { static_cast<void>(co_await watched(future, end)); };
  const auto body = [&](Session& session) -> Coroutine<std::string> {
    left = session.submit("hold", "");
    session.start(watch(left));
    co_return co_await session.submit("echo", "done");
  };
  EXPECT_EQ(loop_.run(with_session(executor_, body, OnClose::kCancel)), "done");
  EXPECT_EQ(end, "stopped");
  EXPECT_EQ(left.outcome(0ms).state, JobState::kCancelled);
}

TEST_F(Sessions, AFailingCoroutineOfTheirsStopsTheBody) {
  std::string end;
  const auto fail = [&]() -> Coroutine<void> { static_cast<void>(co_await submit("fail")); };
  const auto body = [&](Session& session) -> Coroutine<void> {
    session.start(fail());
    static_cast<void>(co_await watched(session.submit("hold", ""), end));
  };
  EXPECT_THROW(loop_.run(with_session(executor_, body)), JobFailed);
  EXPECT_EQ(end, "stopped");
  EXPECT_EQ(daemon_.cancelled().size(), 1u);
}

TEST_F(Sessions, AStopWhileTheyCloseCancelsAndIsTold) {
  std::stop_source stop;
  Future left;
  const auto body = [&](Session& session) -> Coroutine<void> {
    left = session.submit("hold", "");
    co_return;
  };
  std::thread other([&] {
    daemon_.wait_for_jobs(1);
    stop.request_stop();
  });
  EXPECT_THROW(loop_.run(with_session(executor_, body), stop.get_token()), Stopped);
  other.join();
  EXPECT_EQ(left.outcome(0ms).state, JobState::kCancelled);
}

}  // namespace
}  // namespace futured::client
