// What idempotency keys promise, against a daemon that lives in this process.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/client/client_fixture.h"

namespace futured::client {
namespace {

using namespace std::chrono_literals;
using Keys = test::ClientTest;

SubmitOptions key(const std::string& name) { return {.idempotency_key = name}; }

TEST_F(Keys, TheSameKeyGivesTheFirstJob) {
  const Future first = client_.executor().submit("echo", "payload", key("k"));
  EXPECT_EQ(first.result(5s), "payload");
  const client::Client other = connect();
  const Future second = other.executor().submit("echo", "payload", key("k"));
  EXPECT_EQ(second.result(5s), "payload");
  EXPECT_EQ(second.id(), first.id());
  EXPECT_NE(other.executor().submit("echo", "payload", key("other")).id(), first.id());
}

TEST_F(Keys, OldAndNewJobsOfOneBatchEachGetTheirOwnNumber) {
  const Executor executor = client_.executor();
  const std::uint64_t old = executor.submit(CommandLine{.argv = {"old"}}, key("1")).id();
  daemon_.hold_receipts(true);
  for (int i = 0; i < 4; ++i) executor.submit("echo", "");  // now what follows shares a batch
  std::vector<Future> futures;
  for (const std::string name : {"0", "1", "2"}) {
    futures.push_back(executor.submit(CommandLine{.argv = {name == "1" ? "old" : "new" + name}}, key(name)));
  }
  daemon_.hold_receipts(false);
  EXPECT_EQ(futures[0].result(5s), "new0");
  EXPECT_EQ(futures[1].result(5s), "old");
  EXPECT_EQ(futures[1].id(), old);
  EXPECT_EQ(futures[2].result(5s), "new2");
}

TEST_F(Keys, ABrokenStreamIsReplayedWithoutDoubles) {
  daemon_.hold_receipts(true);
  const Executor executor = client_.executor();
  std::vector<Future> futures;
  for (int i = 0; i < 500; ++i) {
    futures.push_back(executor.submit("echo", std::to_string(i), key("key " + std::to_string(i))));
  }
  daemon_.wait_for_jobs(1);  // accepted, and the receipt will not come
  daemon_.stop();
  daemon_.hold_receipts(false);
  daemon_.start();
  for (std::size_t i = 0; i < futures.size(); ++i) EXPECT_EQ(futures[i].result(10s), std::to_string(i));
  EXPECT_EQ(daemon_.jobs(), 500u);
}

TEST_F(Keys, OfAWholeBatchGivesTheFirstJobs) {
  const std::vector<std::string> payloads = {"a", "b", "c"};
  const std::vector<Future> first = client_.executor().submit_all("echo", payloads, key("batch"));
  const client::Client other = connect();
  const std::vector<Future> again = other.executor().submit_all("echo", payloads, key("batch"));
  for (std::size_t i = 0; i < payloads.size(); ++i) {
    EXPECT_EQ(again[i].result(5s), payloads[i]);
    EXPECT_EQ(again[i].id(), first[i].id());
  }
  EXPECT_EQ(daemon_.jobs(), 3u);
}

TEST_F(Keys, AWholeBatchOfABrokenStreamIsSentAgain) {
  daemon_.hold_receipts(true);
  const std::vector<std::string> payloads(200, "x");
  const std::vector<Future> all = client_.executor().submit_all("echo", payloads, key("batch"));
  daemon_.wait_for_jobs(200);  // accepted, and the receipt will not come
  daemon_.stop();
  daemon_.hold_receipts(false);
  daemon_.start();
  for (const Future& future : all) EXPECT_EQ(future.result(10s), "x");
  EXPECT_EQ(daemon_.jobs(), 200u);
}

TEST_F(Keys, ShutdownCancelsOldJobsToo) {
  const Executor executor = client_.executor();
  static_cast<void>(executor.submit("hold", "", key("k")).id());
  const Executor again = client_.executor();
  const Future same = again.submit("hold", "", key("k"));
  again.shutdown(true, true);
  EXPECT_TRUE(same.cancelled());
}

TEST_F(Keys, ADaemonThatHasNoneSaysSoForEach) {
  daemon_.refuse_keys();
  daemon_.hold_receipts(true);
  const Executor executor = client_.executor();
  std::vector<Future> futures;
  for (int i = 0; i < 50; ++i) futures.push_back(executor.submit("echo", "", key(std::to_string(i))));
  const Future plain = executor.submit("echo", "plain");
  daemon_.hold_receipts(false);
  for (const Future& future : futures) {
    try {
      static_cast<void>(future.result(5s));
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kUnimplemented);
    }
  }
  EXPECT_EQ(plain.result(5s), "plain");
}

}  // namespace
}  // namespace futured::client
