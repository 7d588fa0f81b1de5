// Callbacks and deliveries, in every store.
#include <gtest/gtest.h>

#include <functional>

#include "daemon/store/sqlite_store.h"
#include "tests/store/rows_for_tests.h"
#include "tests/store/scratch.h"

namespace futured {
namespace {

struct Kind {
  const char* name;
  std::function<Result<std::unique_ptr<Store>>(const std::string& path)> open;
};

const Kind kKinds[] = {
    {"Memory", [](const std::string&) -> Result<std::unique_ptr<Store>> { return make_memory_store(); }},
    {"Sqlite", [](const std::string& path) { return open_sqlite_store(path); }},
};

class CallbackStore : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    store_ = *GetParam().open(scratch_.database());
    Batch batch;
    batch.specs.push_back(spec_row(1));  // two callbacks
    for (std::uint64_t id = 1; id <= 3; ++id) batch.jobs.push_back(job_row(id));
    commit(batch);
  }

  void commit(const Batch& batch) {
    const auto error = store_->commit(batch);
    ASSERT_FALSE(error.has_value()) << error->error.message;
  }
  static DeliveryRow row(CallbackId id, std::uint64_t job, DeliveryState state, std::int64_t at = 0,
                         std::uint32_t lane = 7) {
    return {id, JobId{job}, lane, state, 2, WallTime{at}, {CallbackId{6}, CallbackId{900}}, "refused"};
  }
  std::vector<std::uint64_t> listed(const CallbackQuery& query) {
    const auto page = store_->reader()->callbacks(query);
    EXPECT_TRUE(page.ok());
    std::vector<std::uint64_t> ids;
    for (const CallbackRecord& record : page->callbacks) ids.push_back(record.id.value);
    return ids;
  }

  Scratch scratch_;
  std::unique_ptr<Store> store_;
};

using Ids = std::vector<std::uint64_t>;

TEST_P(CallbackStore, WhatIsDueComesByLaneInOrderOfTime) {
  Batch batch;
  batch.deliveries.push_back(row(callback_of(JobId{1}, 0), 1, DeliveryState::kDelivering, 30));
  batch.deliveries.push_back(row(callback_of(JobId{1}, 1), 1, DeliveryState::kBehind));
  batch.deliveries.push_back(row(callback_of(JobId{2}, 0), 2, DeliveryState::kDelivering, 10));
  batch.deliveries.push_back(row(callback_of(JobId{3}, 0), 3, DeliveryState::kDelivering, 20, 8));
  batch.deliveries.push_back(row(callback_of(JobId{3}, 1), 3, DeliveryState::kDelivered, 5));
  commit(batch);
  const auto answer = store_->claim(DeliveryClaim{7, 10});
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(text(*answer),
            "deliveries:\n  64 of 2 lane 7 state 2 attempts 2 at 10 behind 6 900 ''\n"
            "  32 of 1 lane 7 state 2 attempts 2 at 30 behind 6 900 ''\n");
  EXPECT_EQ(store_->claim(DeliveryClaim{7, 1})->rows.size(), 1u);
  const auto lanes = store_->snapshot()->deliveries;
  ASSERT_EQ(lanes.size(), 2u);
  EXPECT_EQ(text(lanes[0]), "7 at 10");
  EXPECT_EQ(text(lanes[1]), "8 at 20");
}

TEST_P(CallbackStore, OfOneJobAllThatWereRegisteredLaterAreListed) {
  Batch batch;
  for (std::uint64_t number = 1; number <= 9; ++number) {
    const CallbackId id = later_callback(number);
    batch.callbacks.push_back({id, JobId{1}, 77, encode_callbacks({CallbackSpec{.address = "later"}})});
    batch.deliveries.push_back(row(id, 1, number == 9 ? DeliveryState::kFailed : DeliveryState::kWaiting));
  }
  commit(batch);
  CallbackQuery query{.job = JobId{1}, .callbacks_max = 2, .states = {DeliveryState::kFailed}};
  std::vector<std::uint64_t> found;
  int pages = 0;
  for (;; ++pages) {
    const auto page = store_->reader()->callbacks(query);
    ASSERT_TRUE(page.ok() && pages < 20);
    for (const CallbackRecord& record : page->callbacks) found.push_back(record.id.value);
    if (page->next_after == 0) break;
    ASSERT_GT(page->next_after, query.after);
    query.after = page->next_after;
  }
  EXPECT_EQ(found, Ids{later_callback(9).value});
}

TEST_P(CallbackStore, OfABatchThatWasNamedLaterAllIsTold) {
  Batch batch;
  batch.callbacks.push_back(
      {later_callback(1), JobId{1}, 77, encode_callbacks({CallbackSpec{.whole_batch = true}}), 3});
  batch.deliveries.push_back(row(later_callback(1), 3, DeliveryState::kWaiting));
  batch.outcomes.push_back(outcome_row(2));
  commit(batch);
  EXPECT_EQ(store_->snapshot()->waiting_callbacks.at(0).batch_jobs, 3u);
  const auto read = store_->read_batch({9, JobId{2}, 5});
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->query.number, 9u);
  ASSERT_EQ(read->jobs.size(), 2u);
  EXPECT_EQ(read->jobs[0].id, JobId{2});
  EXPECT_EQ(read->jobs[0].owner, 4'000'000'000u);
  EXPECT_EQ(read->jobs[0].state, JobState::kSucceeded);
  EXPECT_FALSE(is_terminal(read->jobs[1].state));
  const auto told = store_->reader()->delivery(later_callback(1));
  ASSERT_TRUE(told.ok() && told->has_value());
  EXPECT_EQ((*told)->callback.batch_jobs, 3u);
  ASSERT_TRUE((*told)->batch.has_value());
  EXPECT_EQ((*told)->batch->count, 3u);
  EXPECT_EQ((*told)->batch->failed, 2u) << "as long as they have not succeeded";
}

TEST_P(CallbackStore, ALaterRowOfADeliveryReplacesTheEarlier) {
  Batch batch;
  batch.deliveries.push_back(row(callback_of(JobId{1}, 0), 1, DeliveryState::kDelivering, 30));
  batch.deliveries.push_back(row(callback_of(JobId{1}, 0), 1, DeliveryState::kFailed, 40));
  commit(batch);
  EXPECT_TRUE(store_->claim(DeliveryClaim{7, 10})->rows.empty());
  EXPECT_EQ(listed({.states = {DeliveryState::kFailed}}), Ids{32});
  Batch again;
  again.deliveries.push_back(row(callback_of(JobId{1}, 0), 1, DeliveryState::kDelivered, 50));
  commit(again);
  EXPECT_TRUE(listed({.states = {DeliveryState::kFailed}}).empty());
  EXPECT_EQ(listed({.states = {DeliveryState::kDelivered}}), Ids{32});
}

TEST_P(CallbackStore, ADeliveryComesWithWhatItsReceiverIsTold) {
  Batch batch;
  batch.outcomes.push_back(outcome_row(2));
  batch.deliveries.push_back(row(callback_of(JobId{2}, 1), 2, DeliveryState::kDelivering));
  batch.callbacks.push_back({later_callback(1), JobId{2}, 77, encode_callbacks({CallbackSpec{.address = "later"}})});
  batch.deliveries.push_back(row(later_callback(1), 2, DeliveryState::kDelivering));
  commit(batch);
  const auto reader = store_->reader();
  const auto first = reader->delivery(callback_of(JobId{2}, 1));
  ASSERT_TRUE(first.ok() && first->has_value());
  EXPECT_EQ((*first)->callback.spec.address, "https://example.org/done");
  EXPECT_EQ((*first)->callback.spec.headers.size(), 1u);
  EXPECT_EQ((*first)->callback.owner, 4'000'000'000u);
  EXPECT_EQ(text((*first)->job.ending), text(ending_of(JobState::kSucceeded)));
  EXPECT_EQ((*first)->job.spec.task, "task");
  const auto later = reader->delivery(later_callback(1));
  ASSERT_TRUE(later.ok() && later->has_value());
  EXPECT_EQ((*later)->callback.spec.address, "later");
  EXPECT_EQ((*later)->callback.owner, 77u);
  EXPECT_EQ((*later)->job.job.id, JobId{2});
  EXPECT_FALSE(reader->delivery(callback_of(JobId{3}, 0))->has_value());
}

TEST_P(CallbackStore, CallbacksOfAJobAreListedBeforeTheyAreDue) {
  EXPECT_EQ(listed({.job = JobId{3}}), (Ids{96, 98}));
  EXPECT_EQ(listed({.job = JobId{3}, .states = {DeliveryState::kWaiting}}), (Ids{96, 98}));
  Batch batch;
  batch.outcomes.push_back(outcome_row(3));
  batch.deliveries.push_back(row(callback_of(JobId{3}, 1), 3, DeliveryState::kFailed));
  batch.callbacks.push_back({later_callback(1), JobId{3}, 1, encode_callbacks({CallbackSpec{}})});
  batch.deliveries.push_back(row(later_callback(1), 3, DeliveryState::kWaiting));
  commit(batch);
  EXPECT_EQ(listed({.job = JobId{3}}), (Ids{3, 98})) << "the first asked for another end";
  EXPECT_EQ(listed({.job = JobId{3}, .callbacks_max = 1}), Ids{3});
  EXPECT_EQ(listed({.job = JobId{3}, .after = 3}), Ids{98});
  EXPECT_TRUE(listed({.job = JobId{9}}).empty());
}

TEST_P(CallbackStore, WhatWaitsIsFoundAgainByAStart) {
  Batch batch;
  batch.callbacks.push_back({later_callback(1), JobId{1}, 1, encode_callbacks({CallbackSpec{}})});
  batch.callbacks.push_back({later_callback(5), JobId{2}, 1, encode_callbacks({CallbackSpec{}})});
  batch.deliveries.push_back(row(later_callback(1), 1, DeliveryState::kWaiting));
  batch.deliveries.push_back(row(later_callback(5), 2, DeliveryState::kDelivered));
  batch.whole_batches.push_back({JobId{1}, 2, 0, 0});
  batch.whole_batches.push_back({JobId{3}, 1, 0, 0});
  batch.whole_batches.push_back({JobId{3}, 1, 1, 1});
  commit(batch);
  const Snapshot snapshot = *store_->snapshot();
  EXPECT_EQ(snapshot.callbacks_until, 6u);
  ASSERT_EQ(snapshot.waiting_callbacks.size(), 1u);
  EXPECT_EQ(snapshot.waiting_callbacks[0].id, later_callback(1));
  ASSERT_EQ(snapshot.whole_batches.size(), 1u);
  EXPECT_EQ(text(snapshot.whole_batches[0]), "1 x2: 0 ended, 0 failed");
}

TEST_P(CallbackStore, PagesGoOnWhereTheyStopped) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 3; ++id) {
    batch.deliveries.push_back(row(callback_of(JobId{id}, 0), id, DeliveryState::kFailed));
  }
  commit(batch);
  const auto page = store_->reader()->callbacks({.callbacks_max = 2});
  EXPECT_EQ(page->callbacks.size(), 2u);
  EXPECT_EQ(listed({.after = page->next_after}), Ids{96});
  const auto scanned = store_->reader()->callbacks({.scan_max = 1, .states = {DeliveryState::kWaiting}});
  EXPECT_TRUE(scanned->callbacks.empty());
  EXPECT_EQ(scanned->next_after, 32u);
}

INSTANTIATE_TEST_SUITE_P(Every, CallbackStore, testing::ValuesIn(kKinds),
                         [](const auto& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace futured
