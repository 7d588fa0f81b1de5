#include "daemon/store/store_thread.h"

#include <gtest/gtest.h>

#include <future>

namespace futured {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);

// A memory store whose commits and reads fail on demand, and which counts what it was asked.
class TestStore : public Store {
 public:
  struct Orders {
    std::optional<CommitError> next_commit;
    std::optional<Error> next_claim;
    bool short_of_space = false;
    bool writes_files = false;
    int claims = 0;
    int loads = 0;
    std::promise<void>* tended = nullptr;
  };
  explicit TestStore(std::shared_ptr<Orders> orders) : orders_(std::move(orders)) {}

  Result<Snapshot> snapshot() override { return under_->snapshot(); }
  Status begin_epoch(Epoch epoch, const std::string& spawner) override { return under_->begin_epoch(epoch, spawner); }
  std::optional<CommitError> commit(const Batch& batch) override {
    if (orders_->next_commit) return *std::exchange(orders_->next_commit, std::nullopt);
    return under_->commit(batch);
  }
  Result<ClaimAnswer> claim(const Claim& claim) override {
    ++orders_->claims;
    if (orders_->next_claim) return *std::exchange(orders_->next_claim, std::nullopt);
    return under_->claim(claim);
  }
  Result<LoadAnswer> load(const std::vector<JobId>& ids) override {
    ++orders_->loads;
    return under_->load(ids);
  }
  Result<KeyAnswer> find_keys(const std::vector<KeyQuery>& keys) override { return under_->find_keys(keys); }
  Result<DelayedAnswer> claim(const DelayedClaim& claim) override { return under_->claim(claim); }
  Result<DeliveryClaimAnswer> claim(const DeliveryClaim& claim) override { return under_->claim(claim); }
  Result<BatchAnswer> read_batch(const BatchQuery& query) override { return under_->read_batch(query); }
  Result<CacheAnswer> read_cache(const std::vector<JobId>& entries) override { return under_->read_cache(entries); }
  Result<TrimAnswer> trim(const TrimQuestion&) override { return TrimAnswer{.trimmed_until = 7}; }
  void tend() override {
    if (orders_->tended != nullptr) std::exchange(orders_->tended, nullptr)->set_value();
  }
  bool short_of_space() const override { return orders_->short_of_space; }
  bool writes_files(const Batch&) const override { return orders_->writes_files; }
  std::unique_ptr<StoreReader> reader() override { return under_->reader(); }

 private:
  std::shared_ptr<Orders> orders_;
  std::unique_ptr<Store> under_ = make_memory_store();
};

std::unique_ptr<Batch> job_in_backlog(std::uint64_t id) {
  auto batch = std::make_unique<Batch>();
  if (id == 1) batch->specs.push_back({SpecId{1}, {}});
  JobRow row;
  row.id = JobId{id};
  row.spec = SpecId{1};
  batch->jobs.push_back(std::move(row));
  batch->backlog_added.push_back({QueueId{1}, PoolId{1}, order_key(Discipline::kFifo, 0, JobId{id})});
  return batch;
}

const Claim kEverything{QueueId{1}, PoolId{1}, {}, 100, 1'000'000};

class StoreThreadTest : public testing::Test {
 protected:
  StoreAnswer commit(std::unique_ptr<Batch> batch, StoreQuestions questions = {}) {
    std::promise<StoreAnswer> promise;
    auto answer = promise.get_future();
    thread_->commit(std::move(batch), std::move(questions),
                    [&](StoreAnswer given) { promise.set_value(std::move(given)); });
    EXPECT_EQ(answer.wait_for(kPatience), std::future_status::ready);
    return answer.get();
  }

  std::shared_ptr<TestStore::Orders> orders_ = std::make_shared<TestStore::Orders>();
  std::unique_ptr<StoreThread> thread_ = std::make_unique<StoreThread>(std::make_unique<TestStore>(orders_));
};

TEST_F(StoreThreadTest, ClaimsAndLoadsSeeTheirBatch) {
  const StoreAnswer answer = commit(job_in_backlog(1), {{kEverything, kEverything}, {{JobId{1}}, {}}, {{0, "k"}}});
  EXPECT_FALSE(answer.error.has_value());
  ASSERT_EQ(answer.claimed.size(), 2u);
  EXPECT_EQ(answer.claimed[0].jobs.size(), 1u);
  ASSERT_EQ(answer.loaded.size(), 2u);
  EXPECT_EQ(answer.loaded[0].jobs.size(), 1u);
  EXPECT_TRUE(answer.loaded[1].jobs.empty());
  EXPECT_EQ(answer.batch->jobs.size(), 1u);
  EXPECT_EQ(answer.questions.claims.size(), 2u);
  EXPECT_EQ(answer.keys, KeyAnswer{std::nullopt});
}

TEST_F(StoreThreadTest, RolledBackBatchComesBackWithItsQuestionsUnasked) {
  orders_->next_commit = CommitError{CommitFault::kRolledBack, {ErrorCode::kResourceExhausted, "full"}};
  StoreAnswer answer = commit(job_in_backlog(1), {{kEverything}, {{JobId{1}}}, {{0, "k"}}});
  ASSERT_TRUE(answer.error.has_value());
  EXPECT_EQ(answer.error->fault, CommitFault::kRolledBack);
  EXPECT_EQ(orders_->claims + orders_->loads, 0);
  EXPECT_TRUE(answer.claimed.empty() && answer.loaded.empty() && answer.keys.empty());

  answer = commit(std::move(answer.batch), std::move(answer.questions));
  EXPECT_FALSE(answer.error.has_value());
  EXPECT_EQ(answer.claimed.at(0).jobs.size(), 1u);
  EXPECT_EQ(answer.loaded.at(0).jobs.size(), 1u);
}

TEST_F(StoreThreadTest, AnswersToABatchDoNotWaitForRetention) {
  StoreQuestions trim;
  trim.trim = TrimQuestion{};
  EXPECT_FALSE(trim.empty());
  EXPECT_FALSE(commit(job_in_backlog(1), trim).trimmed.has_value());
  const StoreAnswer next = commit(job_in_backlog(2));
  ASSERT_TRUE(next.trimmed.has_value() && next.trimmed->ok());
  EXPECT_EQ((*next.trimmed)->trimmed_until, 7U);
  EXPECT_TRUE(commit(std::make_unique<Batch>(), trim).trimmed.has_value()) << "nobody waits for an empty batch";
  EXPECT_FALSE(commit(job_in_backlog(3)).trimmed.has_value()) << "each step is told once";
}

TEST_F(StoreThreadTest, FailedReadIsAnUnknownState) {
  orders_->next_claim = Error{ErrorCode::kDataLoss, "damaged"};
  const StoreAnswer answer = commit(job_in_backlog(1), {{kEverything}, {}, {}});
  ASSERT_TRUE(answer.error.has_value());
  EXPECT_EQ(answer.error->fault, CommitFault::kUnknown);
  EXPECT_EQ(answer.error->error.code, ErrorCode::kDataLoss);
}

TEST_F(StoreThreadTest, TellsThatSpaceIsShort) {
  EXPECT_FALSE(commit(job_in_backlog(1)).short_of_space);
  orders_->short_of_space = true;
  EXPECT_TRUE(commit(job_in_backlog(2)).short_of_space);
}

TEST_F(StoreThreadTest, TendsTheStoreOnceTheAnswerLeft) {
  std::promise<void> tended;
  auto done = tended.get_future();
  orders_->tended = &tended;
  std::promise<bool> early;
  thread_->commit(job_in_backlog(1), {}, [&](StoreAnswer) {
    early.set_value(done.wait_for(std::chrono::seconds(0)) == std::future_status::ready);
  });
  EXPECT_FALSE(early.get_future().get());
  EXPECT_EQ(done.wait_for(kPatience), std::future_status::ready);
}

TEST_F(StoreThreadTest, NextCommitMayBeGivenFromTheCallback) {
  std::promise<int> finished;
  int done = 0;
  std::function<void(StoreAnswer)> again = [&](StoreAnswer answer) {
    EXPECT_FALSE(answer.error.has_value());
    if (++done == 100) return finished.set_value(done);
    thread_->commit(job_in_backlog(static_cast<std::uint64_t>(done) + 1), {}, again);
  };
  thread_->commit(job_in_backlog(1), {}, again);
  auto all = finished.get_future();
  ASSERT_EQ(all.wait_for(kPatience), std::future_status::ready);
}

TEST_F(StoreThreadTest, EndsAfterWhatIsInFlight) {
  std::atomic<bool> called = false;
  thread_->commit(job_in_backlog(1), {}, [&](StoreAnswer) { called = true; });
  thread_.reset();
  EXPECT_TRUE(called);
}

using StoreThreadDeathTest = StoreThreadTest;

TEST_F(StoreThreadDeathTest, TwoAtATimeIsABug) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(
      {
        std::promise<void> never;
        StoreThread thread(std::make_unique<TestStore>(orders_));
        thread.commit(job_in_backlog(1), {}, [&](StoreAnswer) { never.get_future().wait(); });
        thread.commit(job_in_backlog(2), {}, [&](StoreAnswer) { never.get_future().wait(); });
        thread.commit(job_in_backlog(3), {}, [](StoreAnswer) {});
      },
      "one commit at a time");
}

TEST_F(StoreThreadTest, ABatchThatWritesFilesIsNotCommittedOnTheCallersThread) {
  auto batch = job_in_backlog(1);
  orders_->writes_files = true;
  EXPECT_FALSE(thread_->commit_here(batch));
  ASSERT_NE(batch, nullptr) << "it is still the caller's";
  orders_->writes_files = false;
  EXPECT_TRUE(thread_->commit_here(batch));
}

TEST(ReaderThread, AnswersInOrderAndRefusesWhenFull) {
  const auto store = make_memory_store();
  std::promise<void> open_gate;
  const std::shared_future<void> gate = open_gate.get_future().share();
  std::promise<void> entered;
  std::vector<int> order;
  {
    ReaderThread thread(store->reader(), 2);
    ASSERT_TRUE(thread.ask([&](StoreReader&) {
      entered.set_value();
      gate.wait();
    }));
    entered.get_future().wait();
    EXPECT_TRUE(thread.ask([&](StoreReader& reader) {
      EXPECT_TRUE(reader.list({}).ok());
      order.push_back(1);
    }));
    EXPECT_TRUE(thread.ask([&](StoreReader&) { order.push_back(2); }));
    EXPECT_FALSE(thread.ask([&](StoreReader&) { order.push_back(3); }));
    open_gate.set_value();
  }
  EXPECT_EQ(order, (std::vector<int>{1, 2})) << "the end waits for what was taken, and takes no more";
}

TEST(ReaderThread, AQuestionThatHoldsUpTheOthersIsToldOf) {
  const auto store = make_memory_store();
  std::promise<void> open_gate;
  std::promise<void> entered;
  ReaderThread thread(store->reader(), 2);
  const auto gauge = thread.gauge();
  ASSERT_TRUE(thread.ask([&](StoreReader&) {
    entered.set_value();
    open_gate.get_future().wait();
  }));
  entered.get_future().wait();
  const LoopReading held = gauge->read(monotonic_now() + std::chrono::seconds(3));
  EXPECT_EQ(held.turns, 1u);
  ASSERT_EQ(held.slow.size(), 1u);
  EXPECT_TRUE(held.slow[0].under_way);
  EXPECT_GE(held.slow[0].took, std::chrono::seconds(3));

  const Instant asked = monotonic_now();
  std::promise<void> answered;
  ASSERT_TRUE(thread.ask([&](StoreReader&) { answered.set_value(); }));
  open_gate.set_value();
  ASSERT_EQ(answered.get_future().wait_for(kPatience), std::future_status::ready);
  const LoopReading after = gauge->read(monotonic_now());
  EXPECT_EQ(after.turns, 2u);
  ASSERT_TRUE(after.lag);
  EXPECT_LE(*after.lag, monotonic_now() - asked);
}

TEST_F(StoreThreadTest, CommitsAreTurnsThatKnowTheirLag) {
  (void)commit(job_in_backlog(1));
  (void)commit(job_in_backlog(2));
  const LoopReading reading = thread_->gauge()->read(monotonic_now());
  EXPECT_EQ(reading.turns, 2u);
  ASSERT_TRUE(reading.lag && reading.lag_max);
  EXPECT_LE(*reading.lag, *reading.lag_max);
}

}  // namespace
}  // namespace futured
