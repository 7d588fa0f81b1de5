// What the client promises, against a daemon that lives in this process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "base/limits.h"
#include "client/cpp/bounds.h"
#include "tests/unit/client/client_fixture.h"

namespace futured::client {
namespace {

using namespace std::chrono_literals;
using test::ClientTest;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

using Futures = ClientTest;
using Batching = ClientTest;
using Refusals = ClientTest;
using Reattach = ClientTest;
using Callbacks = ClientTest;

// The kind and the message of what a call throws.
template <typename Call>
std::pair<ErrorKind, std::string> refusal_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.kind(), error.what()};
  }
  return {ErrorKind::kInternal, "no refusal"};
}

TEST_F(Futures, ResultIsWhatTheTaskReturned) {
  const Future future = client_.executor().submit("echo", "hello");
  EXPECT_EQ(future.result(5s), "hello");
  EXPECT_TRUE(future.done());
  EXPECT_FALSE(future.cancelled());
  EXPECT_FALSE(future.running());
  EXPECT_EQ(future.exception(5s), nullptr);
  EXPECT_EQ(future.id(), 1u);
  EXPECT_EQ(future.outcome().state, JobState::kSucceeded);
}

TEST_F(Futures, FailureIsThrownAndKept) {
  const Future future = client_.executor().submit("fail", "");
  try {
    static_cast<void>(future.result(5s));
    FAIL() << "result() of a failed job returned";
  } catch (const JobFailed& error) {
    EXPECT_EQ(error.outcome().cause.error_class, "std::runtime_error");
    EXPECT_THAT(error.what(), HasSubstr("as asked"));
  }
  EXPECT_NE(future.exception(), nullptr);
  EXPECT_EQ(future.outcome().state, JobState::kFailed);
}

TEST_F(Futures, AWaitThatRunsOutLeavesTheJobAlone) {
  const Future future = client_.executor().submit("hold", "x");
  EXPECT_THROW(static_cast<void>(future.result(10ms)), WaitTimeout);
  EXPECT_FALSE(future.done());
  EXPECT_TRUE(future.running());
  daemon_.end(future.id(), true);
  EXPECT_EQ(future.result(5s), "x");
}

TEST_F(Futures, CancelEndsItAsCancelled) {
  const Future future = client_.executor().submit("hold", "");
  EXPECT_TRUE(future.cancel());
  EXPECT_THROW(static_cast<void>(future.result(5s)), JobCancelled);
  EXPECT_TRUE(future.cancelled());
  EXPECT_TRUE(future.cancel()) << "still cancelled";
  const Future ended = client_.executor().submit("echo", "");
  static_cast<void>(ended.result(5s));
  EXPECT_FALSE(ended.cancel());
}

TEST_F(Futures, LargeResultsAreFetched) {
  const std::string large(300'000, 'x');
  EXPECT_EQ(client_.executor().submit("big", large).result(5s), large);
}

TEST_F(Futures, WaitStopsAtTheFirstFailure) {
  const Executor executor = client_.executor();
  const std::vector<Future> futures = {executor.submit("hold", ""), executor.submit("hold", "")};
  daemon_.end(futures[1].id(), false);
  const WaitResult result = wait(futures, WaitFor::kFirstException, 5s);
  EXPECT_THAT(result.done, ElementsAre(futures[1]));
  EXPECT_THAT(result.not_done, ElementsAre(futures[0]));
}

TEST_F(Futures, WaitCountsWhatHadEndedBefore) {
  const Executor executor = client_.executor();
  std::vector<Future> futures = {executor.submit("echo", ""), executor.submit("hold", "")};
  static_cast<void>(futures[0].result(5s));
  EXPECT_EQ(wait(futures, WaitFor::kFirstCompleted, 5s).done.size(), 1u);
  EXPECT_EQ(wait(futures, WaitFor::kAllCompleted, 5ms).not_done.size(), 1u);
  daemon_.end_all_held();
  EXPECT_EQ(wait(futures, WaitFor::kAllCompleted, 5s).done.size(), 2u);
}

TEST_F(Futures, AsCompletedGivesEachOnceInOrderOfEnding) {
  const Executor executor = client_.executor();
  std::vector<Future> futures;
  for (int i = 0; i < 3; ++i) futures.push_back(executor.submit("hold", std::to_string(i)));
  AsCompleted completed = as_completed(futures, 5s);
  std::string order;
  for (const int next : {2, 0, 1}) {
    daemon_.end(futures[static_cast<std::size_t>(next)].id(), true);
    order += completed.next()->result();
  }
  EXPECT_EQ(order, "201");
  EXPECT_FALSE(completed.next().has_value());
}

TEST_F(Futures, AsCompletedThrowsWhenItsTimeRunsOut) {
  const std::vector<Future> futures = {client_.executor().submit("hold", "")};
  AsCompleted completed = as_completed(futures, 10ms);
  EXPECT_THROW(static_cast<void>(completed.next()), WaitTimeout);
}

TEST_F(Futures, AnEmptyOneIsRefusedByName) {
  const std::vector<Future> futures = {client_.executor().submit("echo", ""), Future()};
  const auto refused = Pair(ErrorKind::kInvalidArgument, HasSubstr("empty"));
  EXPECT_THAT(refusal_of([&] { static_cast<void>(as_completed(futures)); }), refused);
  EXPECT_THAT(refusal_of([&] { static_cast<void>(wait(futures)); }), refused);
  EXPECT_THAT(refusal_of([&] { static_cast<void>(Future().result()); }), refused);
}

TEST_F(Futures, AreSafeFromManyThreads) {
  const Executor executor = client_.executor();
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<Future> futures;
      for (int i = 0; i < 5'000; ++i) futures.push_back(executor.submit("echo", std::to_string(t * 10'000 + i)));
      for (int i = 0; i < 5'000; ++i) {
        if (futures[static_cast<std::size_t>(i)].result(20s) == std::to_string(t * 10'000 + i)) ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 20'000);
}

TEST_F(Futures, ShutdownCancelsAndWaits) {
  const Executor executor = client_.executor();
  const Future future = executor.submit("hold", "");
  executor.shutdown(true, true);
  EXPECT_TRUE(future.cancelled());
  EXPECT_THROW(executor.submit("echo", ""), Error);
}

TEST_F(Futures, ShutdownDoesNotPretendToCancelWhatItDoesNotFollow) {
  const Executor executor = client_.executor({.follow = false});
  EXPECT_THROW(executor.shutdown(true, true), Error);
  executor.shutdown();
  EXPECT_THROW(executor.submit("echo", ""), Error);
}

TEST_F(Batching, ALoneJobLeavesAtOnceAndAFloodGathers) {
  daemon_.hold_receipts(true);
  const Executor executor = client_.executor();
  for (int i = 0; i < 1'000; ++i) executor.submit("echo", "x");
  daemon_.hold_receipts(false);
  client_.flush();
  const std::vector<std::size_t> sizes = daemon_.batch_sizes();
  EXPECT_EQ(sizes.front(), 1u);
  EXPECT_LE(sizes.size(), 8u);
}

TEST_F(Batching, SubmitAllIsOneBatchThatNothingJoins) {
  daemon_.hold_receipts(true);
  const Executor executor = client_.executor();
  for (std::size_t i = 1; i <= 4; ++i) {
    executor.submit("echo", "first");
    daemon_.wait_for_batches(i);  // so each is a batch of its own, and what follows gathers
  }
  const Future before = executor.submit("echo", "before");
  const std::vector<std::string> payloads = {"a", "", "c"};
  const std::vector<Future> all = executor.submit_all("echo", payloads);
  const std::vector<Future> more = executor.submit_all("echo", payloads);
  const Future after = executor.submit("echo", "after");
  daemon_.hold_receipts(false);
  client_.flush();
  EXPECT_THAT(daemon_.batch_sizes(), ElementsAre(1, 1, 1, 1, 1, 3, 3, 1));
  ASSERT_EQ(all.size(), 3u);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].result(5s), payloads[i]);
    EXPECT_EQ(all[i].id(), all[0].id() + i);
    EXPECT_EQ(more[i].result(5s), payloads[i]);
  }
  EXPECT_EQ(before.result(5s), "before");
  EXPECT_EQ(after.result(5s), "after");
}

TEST_F(Batching, SubmitAllTakesTheLargestBatch) {
  const std::vector<std::string> payloads(limits::kBatchItemsMax, "x");
  const std::vector<Future> all = client_.executor().submit_all("echo", payloads);
  EXPECT_EQ(wait(all, WaitFor::kAllCompleted, 20s).done.size(), payloads.size());
  EXPECT_THAT(daemon_.batch_sizes(), ElementsAre(limits::kBatchItemsMax));
}

TEST_F(Batching, SubmitBlocksWhenTheDaemonHasNoRoom) {
  daemon_.hold_receipts(true);
  const Executor executor = client_.executor();
  std::atomic<int> submitted{0};
  const std::string payload(1024 * 1024, 'x');
  std::thread submitter([&] {
    for (int i = 0; i < 60; ++i) {
      executor.submit("echo", payload);
      ++submitted;
    }
  });
  daemon_.wait_for_jobs(4);  // four batches of one are out; 32 MiB may gather
  for (int i = 0; i < 100 && submitted < 36; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_LE(submitted, 37);
  daemon_.hold_receipts(false);
  submitter.join();
  client_.flush();
}

TEST_F(Refusals, AnUnknownTaskIsRefusedByName) {
  const Future future = client_.executor().submit("unknown.task", "");
  EXPECT_THROW(static_cast<void>(future.id()), Error);
  try {
    static_cast<void>(future.result(5s));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
    EXPECT_THAT(error.what(), HasSubstr("unknown.task"));
  }
}

TEST_F(Refusals, OneBadItemDoesNotTakeItsNeighboursAlong) {
  daemon_.hold_receipts(true);
  const Executor executor = client_.executor();
  for (int i = 0; i < 4; ++i) executor.submit(CommandLine{.argv = {"first"}});
  daemon_.wait_for_jobs(4);  // now the next ones share a batch
  std::vector<Future> futures;
  for (int i = 0; i < 9; ++i) {
    CommandLine command;
    if (i != 3 && i != 7) command.argv = {"word" + std::to_string(i)};
    futures.push_back(executor.submit(command));
  }
  daemon_.hold_receipts(false);
  for (std::size_t i = 0; i < futures.size(); ++i) {
    if (i == 3 || i == 7) {
      EXPECT_THROW(static_cast<void>(futures[i].result(5s)), Error) << i;
    } else {
      EXPECT_EQ(futures[i].result(5s), "word" + std::to_string(i));
      EXPECT_NE(futures[i].id(), 0u);
    }
  }
}

// What goes again without its bad item is numbered in the order of its items; a job that joined it would take the
// number of its first one, and each future the result of its neighbour.
TEST_F(Refusals, AJobThatComesWhileABatchWaitsToGoAgainGetsItsOwnResult) {
  daemon_.hold_receipts(true);
  daemon_.read_only(6);
  const Executor executor = client_.executor();
  std::vector<Future> first;
  for (std::size_t i = 1; i <= 4; ++i) {
    first.push_back(executor.submit(CommandLine{.argv = {"first"}}));
    daemon_.wait_for_batches(i);  // so each is a batch of its own
  }
  std::vector<Future> futures;
  for (const std::string word : {"one", "", "two"}) {
    CommandLine command;
    if (!word.empty()) command.argv = {word};
    futures.push_back(executor.submit(command));
  }
  const Future marker = executor.submit("echo", "marker");
  daemon_.acknowledge(1);
  daemon_.wait_for_batches(5);  // the three
  daemon_.acknowledge(1);
  daemon_.wait_for_batches(6);                    // the marker
  const std::string large(3 * 1024 * 1024, 'x');  // more than fits between two ends that do not read
  const Future stalled = executor.submit("echo", large);
  daemon_.acknowledge(1);
  EXPECT_NE(first[2].id(), 0u);  // now the large one is being written, and nobody reads it
  daemon_.acknowledge(3);        // the last of the first four, the refusal of the three, the marker
  EXPECT_NE(marker.id(), 0u);
  EXPECT_THROW(static_cast<void>(futures[1].result(5s)), Error);
  const Future late = executor.submit(CommandLine{.argv = {"late"}});  // the two others wait for the large one

  daemon_.read_only(SIZE_MAX);
  daemon_.hold_receipts(false);
  EXPECT_EQ(late.result(5s), "late");
  EXPECT_EQ(futures[0].result(5s), "one");
  EXPECT_EQ(futures[2].result(5s), "two");
  EXPECT_EQ(marker.result(5s), "marker");
  EXPECT_EQ(stalled.result(5s), large);
}

TEST_F(Refusals, TooLargePayloadsSayTheWayOut) {
  EXPECT_THROW(client_.executor().submit("echo", std::string(5 * 1024 * 1024, 'x')), Error);
}

TEST_F(Refusals, ABatchThatIsNoneOrTooLargeSaysSo) {
  const Executor executor = client_.executor();
  const auto refusal = [&](const std::vector<std::string>& payloads) {
    return refusal_of([&] { static_cast<void>(executor.submit_all("echo", payloads)); });
  };
  EXPECT_EQ(refusal({}).first, ErrorKind::kInvalidArgument);
  EXPECT_THAT(refusal(std::vector<std::string>(10'001)),
              Pair(ErrorKind::kResourceExhausted, AllOf(HasSubstr("10001"), HasSubstr("10000"))));
  EXPECT_THAT(refusal({"x", std::string(5 * 1024 * 1024, 'x')}),
              Pair(ErrorKind::kResourceExhausted, AllOf(HasSubstr("payloads[1]"), HasSubstr("4194304"))));
  EXPECT_THAT(refusal(std::vector<std::string>(5, std::string(4 * 1024 * 1024, 'x'))),
              Pair(ErrorKind::kResourceExhausted, HasSubstr("16777216")));
  EXPECT_EQ(daemon_.jobs(), 0u);
}

TEST_F(Refusals, ABatchIsRefusedAsAWhole) {
  for (const Future& future : client_.executor().submit_all("unknown.task", std::vector<std::string>(3))) {
    EXPECT_EQ(refusal_of([&] { static_cast<void>(future.result(5s)); }).first, ErrorKind::kNotFound);
  }
}

TEST_F(Refusals, OnlySubmitAllMakesABatchThatACallbackCanMean) {
  JobOptions options;
  options.callbacks = {CompletionCallback::webhook("http://localhost/"),
                       CompletionCallback::webhook("http://localhost/")};
  options.callbacks[1].whole_batch = true;
  const Executor executor = client_.executor(options);
  const auto refused = Pair(ErrorKind::kInvalidArgument, "callbacks[1].whole_batch: only submit_all() makes a batch");
  EXPECT_THAT(refusal_of([&] { executor.submit("echo", "x"); }), refused);
  EXPECT_THAT(refusal_of([&] { executor.submit("echo", "x", {.idempotency_key = "k"}); }), refused);
  EXPECT_THAT(refusal_of([&] { executor.submit(CommandLine{.argv = {"x"}}); }), refused);
  EXPECT_THAT(refusal_of([&] { static_cast<void>(executor.map("echo", {"x"})); }), refused);
  EXPECT_THAT(refusal_of([&] { static_cast<void>(executor.map("echo", {"x"}, {.chunk_size = 2})); }), refused);
  EXPECT_EQ(executor.submit_all("echo", std::vector<std::string>{"x"}).front().result(5s), "x");
}

TEST_F(Refusals, NobodyListeningIsUnavailable) {
  EXPECT_THROW(Client::connect("unix:" + socket_path(), {.connect_timeout = 50ms}), Unavailable);
}

TEST_F(Refusals, AForkedChildMustConnectAnew) {
  EXPECT_EXIT(
      {
        // This statement runs in a forked child.
        try {
          static_cast<void>(client_.executor().submit("echo", ""));
        } catch (const Error& error) {
          ::_exit(error.kind() == ErrorKind::kFailedPrecondition ? 0 : 1);
        }
        ::_exit(2);
      },
      testing::ExitedWithCode(0), "");
}

TEST_F(Reattach, AnyJobCanBeTakenUpById) {
  const std::uint64_t id = client_.executor().submit("hold", "later").id();
  const Client other = connect();
  const Future future = other.future(id);
  EXPECT_FALSE(future.done());
  daemon_.end(id, true);
  EXPECT_EQ(future.result(5s), "later");
}

TEST_F(Reattach, AnUnknownIdSaysSo) {
  try {
    static_cast<void>(client_.future(4711).result(5s));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
    EXPECT_THAT(error.what(), HasSubstr("4711"));
  }
}

std::vector<std::uint64_t> held_jobs(const Client& client, int count) {
  const Executor executor = client.executor();
  std::vector<Future> submitted;
  for (int i = 0; i < count; ++i) submitted.push_back(executor.submit("hold", std::to_string(i)));
  std::vector<std::uint64_t> ids;
  for (const Future& future : submitted) ids.push_back(future.id());
  return ids;
}

TEST_F(Reattach, ThousandsOfIdsShareOneWait) {
  const std::vector<std::uint64_t> ids = held_jobs(connect(), 5'000);
  daemon_.stop();  // so that nobody is asked before all are waited for
  const std::vector<Future> futures = client_.futures(ids);
  EXPECT_TRUE(wait(futures, WaitFor::kAllCompleted, 0ms).done.empty());
  daemon_.start();
  daemon_.wait_for_waits(5'000);
  daemon_.end_all_held();
  EXPECT_EQ(wait(futures, WaitFor::kAllCompleted, 20s).done.size(), 5'000u);
  EXPECT_EQ(futures[4'321].result(), "4321");
  // One, as a rule; what was asked for over the connection that was breaking goes again by itself.
  EXPECT_LE(daemon_.wait_calls(), kWaitCallsMax);
  EXPECT_LE(daemon_.wait_calls_open_max(), kWaitCallsMax);
}

TEST_F(Reattach, ThousandsOfIdsThatAreAskedForOneByOneAllEnd) {
  const std::vector<std::uint64_t> ids = held_jobs(client_, 5'000);
  const Client other = connect();
  const std::vector<Future> futures = other.futures(ids);
  daemon_.end_all_held();
  EXPECT_EQ(wait(futures, WaitFor::kAllCompleted, 20s).done.size(), 5'000u);
  EXPECT_EQ(futures[4'321].result(), "4321");
}

TEST_F(Reattach, JobsThatAreNotFollowedAreAskedFor) {
  const Executor executor = client_.executor({.follow = false});
  const Future future = executor.submit("echo", "quiet");
  EXPECT_NE(future.id(), 0u);
  EXPECT_TRUE(future.done());
  EXPECT_EQ(future.result(5s), "quiet");
}

TEST_F(Reattach, AWaitForAJobThatIsNotFollowedNeedsNoNumberYet) {
  daemon_.hold_receipts(true);
  const Executor executor = client_.executor({.follow = false});
  std::vector<Future> futures;
  for (int i = 0; i < 10; ++i) futures.push_back(executor.submit("echo", std::to_string(i)));
  EXPECT_EQ(wait(futures, WaitFor::kAllCompleted, 0ms).done.size(), 0u);
  EXPECT_THROW(static_cast<void>(futures[7].result(0ms)), WaitTimeout);
  daemon_.hold_receipts(false);
  EXPECT_EQ(futures[7].result(5s), "7");
  EXPECT_EQ(wait(futures, WaitFor::kAllCompleted, 5s).done.size(), 10u);
}

TEST_F(Reattach, FuturesSurviveADaemonThatComesBack) {
  const Executor executor = client_.executor();
  std::vector<Future> futures;
  for (int i = 0; i < 100; ++i) futures.push_back(executor.submit("hold", std::to_string(i)));
  client_.flush();
  daemon_.stop();
  daemon_.start();
  daemon_.wait_for_waits(100);
  daemon_.end_all_held();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(futures[static_cast<std::size_t>(i)].result(10s), std::to_string(i));
  EXPECT_EQ(executor.submit("echo", "again").result(10s), "again");
}

TEST_F(Reattach, SubmitsWhileTheDaemonIsAwayWaitForIt) {
  const Executor executor = client_.executor();
  static_cast<void>(executor.submit("echo", "").result(5s));
  daemon_.stop();
  std::vector<Future> futures;
  std::this_thread::sleep_for(50ms);  // the break is seen
  for (int i = 0; i < 100; ++i) futures.push_back(executor.submit("echo", std::to_string(i)));
  daemon_.start();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(futures[static_cast<std::size_t>(i)].result(10s), std::to_string(i));
}

TEST_F(Reattach, WhatWasNotAcknowledgedIsInDoubt) {
  daemon_.hold_receipts(true);
  const Future future = client_.executor().submit("echo", "");
  daemon_.wait_for_jobs(1);
  daemon_.stop();
  try {
    static_cast<void>(future.result(10s));
    FAIL();
  } catch (const Unavailable& error) {
    EXPECT_THAT(error.what(), HasSubstr("may or may not"));
  }
}

TEST_F(Reattach, GivesUpAfterItsTime) {
  const Client hasty = Client::connect(daemon_.address(), {.reconnect_timeout = 100ms});
  const Executor executor = hasty.executor();
  const Future open = executor.submit("hold", "");
  static_cast<void>(open.id());
  daemon_.stop();
  EXPECT_THROW(static_cast<void>(open.result(10s)), Unavailable);
  EXPECT_THROW(static_cast<void>(executor.submit("echo", "").result(10s)), Unavailable);
}

TEST_F(Reattach, ACallThatIsMadeOnceWaitsForTheDaemonToComeBack) {
  const std::uint64_t id = client_.executor().submit("fail", "").id();
  const std::thread::id here = std::this_thread::get_id();
  std::atomic<bool> is_away{false};
  bool is_back = false;  // of this thread
  const auto when_unreachable = [&] {
    is_away = true;
    is_away.notify_all();
    if (std::this_thread::get_id() == here && !std::exchange(is_back, true)) daemon_.start();
  };
  const Client other = Client::connect(daemon_.address(), {.when_unreachable = when_unreachable});
  daemon_.stop();
  std::thread reader([&] { EXPECT_NO_THROW(static_cast<void>(other.job(id))); });
  is_away.wait(false);  // the connection is seen to be gone
  EXPECT_NO_THROW(EXPECT_NE(other.retry(std::vector{id}).front().new_id, 0u));
  if (!is_back) daemon_.start();
  reader.join();
}

TEST_F(Reattach, AWatchTellsAGapThoughNothingHappensAfterIt) {
  std::vector<Event> told;
  client_.watch(
      {},
      [&](const Event& event) {
        told.push_back(event);
        return false;
      },
      [&] {
        daemon_.stop();
        daemon_.start();
      });
  ASSERT_EQ(told.size(), 1u);
  EXPECT_TRUE(told[0].gap);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(told[0].what));
  EXPECT_EQ(told[0].epoch, 2u);
  EXPECT_EQ(told[0].sequence, 1u);
}

TEST_F(Reattach, ClosingTheClientEndsItsOpenFutures) {
  Future future;
  {
    const Client other = connect();
    future = other.executor().submit("hold", "");
  }
  EXPECT_THROW(static_cast<void>(future.result(5s)), Unavailable);
  EXPECT_NE(future.id(), 0u) << "what was submitted had been acknowledged first";
}

TEST_F(Callbacks, RunOnceEachInOrderOffTheNetworkThread) {
  const Future future = client_.executor().submit("hold", "v");
  const Future other = client_.executor().submit("hold", "");
  const std::uint64_t other_id = other.id();
  std::string seen;
  std::thread::id thread;
  std::size_t arrived = 0;
  std::atomic<int> calls{0};
  future.add_done_callback([&](const Future&) {
    // While this callback lasts, the network's thread goes on: else the other outcome could not come.
    daemon_.end(other_id, true);
    arrived = wait(std::vector{other}, WaitFor::kAllCompleted, 20s).done.size();
  });
  for (int i = 0; i < 3; ++i) {
    future.add_done_callback([&, i](const Future& done) {
      thread = std::this_thread::get_id();
      seen += done.result() + std::to_string(i);
      ++calls;
      calls.notify_all();
    });
  }
  daemon_.end(future.id(), true);
  for (int n = calls; n < 3; n = calls) calls.wait(n);
  EXPECT_EQ(seen, "v0v1v2");
  EXPECT_EQ(arrived, 1u);
  EXPECT_NE(thread, std::this_thread::get_id());
}

TEST_F(Callbacks, RunAtOnceWhenDone) {
  const Future future = client_.executor().submit("echo", "");
  static_cast<void>(future.result(5s));
  bool called = false;
  future.add_done_callback([&](const Future&) { called = true; });
  EXPECT_TRUE(called);
}

TEST_F(Callbacks, OneThatThrowsDoesNotStopTheOthers) {
  std::atomic<int> errors{0};
  const Client client = Client::connect(
      daemon_.address(), {.on_callback_error = [&](const Future&, const std::exception_ptr&) { ++errors; }});
  const Future future = client.executor().submit("hold", "");
  std::atomic<bool> second{false};
  future.add_done_callback([](const Future&) { throw std::runtime_error("on purpose"); });
  future.add_done_callback([&](const Future&) {
    second = true;
    second.notify_all();
  });
  daemon_.end(future.id(), true);
  second.wait(false);
  EXPECT_EQ(errors, 1);
}

}  // namespace
}  // namespace futured::client
