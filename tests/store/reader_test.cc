// What people read of every store: pages of jobs, and how they ended.
#include "base/limits.h"
#include "tests/store/store_fixture.h"

namespace futured {
namespace {

class ReaderTest : public StoreTest {};

TEST_P(ReaderTest, JobsAreListedByTheCauseOfTheirEnd) {
  Batch batch;
  const CauseKind kinds[] = {CauseKind::kQuarantined, CauseKind::kTaskError, CauseKind::kRunTimeout,
                             CauseKind::kQuarantined};
  for (std::uint64_t id = 1; id <= 4; ++id) {
    batch.jobs.push_back(job_row(id));
    batch.jobs.back().ending = ending_of(JobState::kFailed);
    batch.jobs.back().ending.cause->kind = kinds[id - 1];
  }
  batch.jobs.push_back(job_row(5));
  batch.jobs.push_back(job_row(6));
  batch.jobs.back().ending = ending_of(JobState::kSucceeded);
  batch.jobs.back().ending.cause.reset();
  ASSERT_FALSE(store_->commit(batch).has_value());
  const auto listed = [&](std::vector<CauseKind> causes) {
    JobQuery query;
    query.causes = std::move(causes);
    return ids_of(*store_->reader()->list(query));
  };
  EXPECT_EQ(listed({CauseKind::kQuarantined}), (std::vector<std::uint64_t>{4, 1}));
  EXPECT_EQ(listed({CauseKind::kTaskError, CauseKind::kRunTimeout}), (std::vector<std::uint64_t>{3, 2}));
  EXPECT_EQ(listed({CauseKind::kCancelled}), std::vector<std::uint64_t>{});
  EXPECT_EQ(listed({}).size(), 6u);
}

TEST_P(ReaderTest, ListPagesFromTheNewest) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 7; ++id) batch.jobs.push_back(job_row(id));
  commit(batch);
  const auto reader = store_->reader();
  JobQuery query;
  query.jobs_max = 3;
  auto page = reader->list(query);
  ASSERT_TRUE(page.ok()) << page.error().message;
  EXPECT_EQ(ids_of(*page), (Ids{7, 6, 5}));
  EXPECT_EQ(page->jobs[0].job.payload.view(), "");
  EXPECT_EQ(page->jobs[0].spec, spec_row(1).spec);
  query.before = page->next_before;
  page = reader->list(query);
  EXPECT_EQ(ids_of(*page), (Ids{4, 3, 2}));
  query.before = page->next_before;
  page = reader->list(query);
  EXPECT_EQ(ids_of(*page), (Ids{1}));
  EXPECT_EQ(page->next_before, 0u);
}

TEST_P(ReaderTest, ListPagesFromTheOldest) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 7; ++id) batch.jobs.push_back(job_row(id));
  commit(batch);
  const auto reader = store_->reader();
  JobQuery query;
  query.oldest_first = true;
  query.jobs_max = 3;
  auto page = reader->list(query);
  ASSERT_TRUE(page.ok()) << page.error().message;
  EXPECT_EQ(ids_of(*page), (Ids{1, 2, 3}));
  query.after = page->next_before;
  page = reader->list(query);
  EXPECT_EQ(ids_of(*page), (Ids{4, 5, 6}));
  query.after = page->next_before;
  page = reader->list(query);
  EXPECT_EQ(ids_of(*page), (Ids{7}));
  EXPECT_EQ(page->next_before, 0u);
  query.after = 2;
  query.before = 5;
  page = reader->list(query);
  EXPECT_EQ(ids_of(*page), (Ids{3, 4}));
  EXPECT_EQ(page->next_before, 0u);
}

TEST_P(ReaderTest, ListFiltersAndStopsAtItsScanBound) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 10; ++id) {
    batch.jobs.push_back(job_row(id, id % 2 + 1));  // odd ids: queue "other"
    if (id % 3 == 0) batch.jobs.back().ending = ending_of(JobState::kFailed);
  }
  commit(batch);
  Batch later;
  later.outcomes.push_back(outcome_row(1, JobState::kSucceeded));
  commit(later);
  const auto reader = store_->reader();
  const auto ids = [&](JobQuery query) {
    auto page = reader->list(query);
    EXPECT_TRUE(page.ok());
    return ids_of(*page);
  };
  EXPECT_EQ(ids({.states = {JobState::kFailed}, .queue = {}, .name = {}, .task = {}}), (Ids{9, 6, 3}));
  EXPECT_EQ(ids({.states = {JobState::kFailed, JobState::kSucceeded}, .queue = {}, .name = {}, .task = {}}),
            (Ids{9, 6, 3, 1}));
  EXPECT_EQ(ids({.states = {JobState::kQueued}, .queue = "other", .name = {}, .task = {}}), (Ids{7, 5}));
  EXPECT_EQ(ids({.states = {}, .queue = {}, .name = "nobody", .task = {}}), (Ids{}));
  EXPECT_EQ(ids({.states = {}, .queue = {}, .name = "näme", .task = "task"}).size(), 10u);
  EXPECT_EQ(ids({.states = {}, .queue = {}, .name = {}, .task = "other"}), (Ids{}));

  JobQuery narrow;
  narrow.scan_max = 4;
  narrow.states = {JobState::kSucceeded};
  auto page = reader->list(narrow);
  EXPECT_TRUE(page->jobs.empty());
  EXPECT_EQ(page->next_before, 7u) << "it says where to go on";
}

TEST_P(ReaderTest, PageShowsEndingsWithoutResults) {
  Batch batch;
  batch.jobs.push_back(job_row(1));
  batch.jobs[0].ending = ending_of(JobState::kFailed);
  batch.attempts.push_back(attempt_row(1, 1, CauseKind::kTaskError));
  commit(batch);
  const auto page = store_->reader()->list({});
  Ending expected = ending_of(JobState::kFailed);
  expected.result.clear();
  EXPECT_EQ(text(page->jobs.at(0).ending), text(expected));
  EXPECT_TRUE(page->jobs.at(0).attempts.empty());
}

TEST_P(ReaderTest, ReaderSeesEachCommit) {
  const auto reader = store_->reader();
  EXPECT_FALSE(reader->get(JobId{1}, true)->has_value());
  Batch batch;
  batch.jobs.push_back(job_row(1));
  commit(batch);
  ASSERT_TRUE(reader->get(JobId{1}, true)->has_value());
  EXPECT_EQ((*reader->get(JobId{1}, true))->job.payload.view(), "payload");
  EXPECT_EQ((*reader->get(JobId{1}, false))->job.payload.view(), "");
  EXPECT_EQ((*reader->endings({JobId{1}}))[0].ending.state, JobState::kQueued);
  Batch later;
  later.outcomes.push_back(outcome_row(1));
  commit(later);
  EXPECT_EQ((*reader->endings({JobId{1}}))[0].ending.state, JobState::kSucceeded);
}

TEST_P(ReaderTest, EndingsComeInTheOrderAsked) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 4; ++id) {
    batch.jobs.push_back(job_row(id));
    if (id != 2) batch.jobs.back().ending = ending_of(JobState::kSucceeded, static_cast<std::uint32_t>(id));
  }
  commit(batch);
  const auto endings = store_->reader()->endings({JobId{4}, JobId{2}, JobId{99}, JobId{1}});
  ASSERT_TRUE(endings.ok());
  ASSERT_EQ(endings->size(), 3u) << "an id that does not exist is left out";
  EXPECT_EQ((*endings)[0].id, JobId{4});
  EXPECT_EQ((*endings)[1].id, JobId{2});
  EXPECT_EQ((*endings)[1].ending.state, JobState::kQueued);
  EXPECT_EQ((*endings)[2].id, JobId{1});
  EXPECT_EQ((*endings)[2].ending.result, ending_of(JobState::kSucceeded).result);
  const auto refused = store_->reader()->endings(std::vector<JobId>(limits::kListPageMax + 1, JobId{1}));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
}

TEST_P(ReaderTest, EndingsStopAtTheirBytes) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 5; ++id) {
    batch.jobs.push_back(job_row(id));
    batch.jobs.back().ending = ending_of(JobState::kSucceeded);
  }
  commit(batch);
  const auto reader = store_->reader();
  const std::size_t bytes = ending_of(JobState::kSucceeded).result.size();
  ASSERT_GT(bytes, 1u);
  const std::vector<JobId> ids = {JobId{1}, JobId{99}, JobId{2}, JobId{3}, JobId{4}};
  const auto looked_at = [&](std::size_t bytes_max) {
    const auto page = reader->endings(ids, bytes_max);
    EXPECT_TRUE(page.ok());
    return std::pair(page->ids, page->rows.size());
  };
  EXPECT_EQ(looked_at(0), std::pair(std::size_t{1}, std::size_t{1})) << "there is always some progress";
  EXPECT_EQ(looked_at(bytes), std::pair(std::size_t{1}, std::size_t{1}));
  EXPECT_EQ(looked_at(bytes + 1), std::pair(std::size_t{3}, std::size_t{2})) << "the one that does not exist counts";
  EXPECT_EQ(looked_at(100 * bytes), std::pair(std::size_t{5}, std::size_t{4}));
}

TEST_P(ReaderTest, ChildrenAreListedByTheirParent) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 12; ++id) {
    batch.jobs.push_back(job_row(id));
    batch.jobs.back().lineage = {};
    if (id > 2) batch.jobs.back().lineage = {JobId{id % 2 + 1}, 1};  // even ones of job 1
    if (id == 8) batch.jobs.back().ending = ending_of(JobState::kSucceeded);
  }
  commit(batch);
  const auto reader = store_->reader();
  const auto ids = [&](const JobQuery& query, std::uint64_t next_before = 0) {
    std::vector<std::uint64_t> found;
    const auto page = reader->list(query);
    EXPECT_TRUE(page.ok());
    for (const JobRecord& record : page->jobs) {
      EXPECT_EQ(record.job.lineage.parent, query.parent);
      found.push_back(record.job.id.value);
    }
    EXPECT_EQ(page->next_before, next_before);
    return found;
  };
  EXPECT_EQ(ids({.parent = JobId{1}}), (Ids{12, 10, 8, 6, 4}));
  EXPECT_EQ(ids({.parent = JobId{2}}), (Ids{11, 9, 7, 5, 3}));
  EXPECT_EQ(ids({.parent = JobId{3}}), Ids{});
  EXPECT_EQ(ids({.jobs_max = 2, .parent = JobId{1}}, 10), (Ids{12, 10}));
  EXPECT_EQ(ids({.before = 10, .jobs_max = 2, .parent = JobId{1}}, 6), (Ids{8, 6}));
  EXPECT_EQ(ids({.scan_max = 1, .states = {JobState::kSucceeded}, .parent = JobId{1}}, 12), Ids{});
  EXPECT_EQ(ids({.states = {JobState::kSucceeded}, .parent = JobId{1}}), Ids{8});
}

INSTANTIATE_TEST_SUITE_P(Stores, ReaderTest, testing::ValuesIn(kKinds),
                         [](const testing::TestParamInfo<Kind>& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace futured
