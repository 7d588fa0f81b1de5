// What every store promises. Each test runs against each store of store_fixture.h.
#include "base/limits.h"
#include "base/payload.h"
#include "tests/store/store_fixture.h"

namespace futured {
namespace {

TEST_P(StoreTest, NewStoreIsEmpty) {
  Scratch other;
  auto fresh = GetParam().open(other.database());
  ASSERT_TRUE(fresh.ok()) << fresh.error().message;
  EXPECT_EQ(text(*(*fresh)->snapshot()), text(Snapshot{}));
  EXPECT_EQ((*fresh)->snapshot()->ids_reserved_until, 1u);
}

TEST_P(StoreTest, WordsComeBack) {
  reopen();
  const Snapshot read = snapshot();
  ASSERT_EQ(read.queues.size(), 2u);
  EXPECT_EQ(read.queues[1].name, "other");
  EXPECT_EQ(read.queues[1].discipline, Discipline::kLifo);
  EXPECT_TRUE(read.queues[1].paused);
  EXPECT_FALSE(read.queues[0].paused);
  ASSERT_EQ(read.pools.size(), 2u);
  EXPECT_EQ(read.pools[1].name, "command");
  EXPECT_EQ(read.specs_until, 3u);
  EXPECT_TRUE(read.specs.empty()) << "no resident job names one";
}

TEST_P(StoreTest, QueueIsReplacedById) {
  Batch batch;
  batch.queues.push_back({QueueId{1}, "default", Discipline::kPriority, true});
  commit(batch);
  reopen();
  const Snapshot read = snapshot();
  ASSERT_EQ(read.queues.size(), 2u);
  EXPECT_EQ(read.queues[0].discipline, Discipline::kPriority);
  EXPECT_TRUE(read.queues[0].paused);
}

QueueRow busy_queue() {
  QueueRow row{QueueId{3}, "busy", Discipline::kPriority, true};
  row.options.concurrency_max = 7;
  row.options.rate = {2.5, std::chrono::seconds(10), 4};
  row.options.queued_bytes_max = std::uint64_t{1} << 45;
  row.options.pools = {"gpu", ""};
  row.options.defaults.max_attempts = 9;
  row.draining = true;
  row.created_at = WallTime{1'700'000'000'000'000};
  return row;
}

TEST_P(StoreTest, EverythingOfAQueueComesBack) {
  Batch batch;
  batch.queues.push_back(busy_queue());
  batch.queue_bytes.push_back({QueueId{3}, std::uint64_t{5} << 40});
  commit(batch);
  reopen();
  QueueRow expected = busy_queue();
  expected.bytes = std::uint64_t{5} << 40;
  const Snapshot read = snapshot();
  ASSERT_EQ(read.queues.size(), 3u);
  EXPECT_EQ(text(read.queues[2]), text(expected));
  EXPECT_EQ(read.queues[2].options, expected.options);
}

TEST_P(StoreTest, BytesOfAQueueOutliveItsReplacement) {
  Batch counted;
  counted.queue_bytes.push_back({QueueId{1}, 100});
  counted.queue_bytes.push_back({QueueId{1}, 120});
  counted.queue_bytes.push_back({QueueId{77}, 1});
  commit(counted);
  Batch replaced;
  replaced.queues.push_back({QueueId{1}, "default", Discipline::kFifo, true});
  commit(replaced);
  reopen();
  EXPECT_EQ(snapshot().queues.at(0).bytes, 120u);
  EXPECT_EQ(snapshot().queues.size(), 2u) << "bytes make no queue";
}

TEST_P(StoreTest, RemovedQueueIsGoneAndItsNameMayComeAgain) {
  Batch batch;
  batch.queues_removed.push_back(QueueId{2});
  batch.queues.push_back({QueueId{3}, "other"});
  commit(batch);
  reopen();
  const Snapshot read = snapshot();
  ASSERT_EQ(read.queues.size(), 2u);
  EXPECT_EQ(read.queues[1].id, QueueId{3});
  EXPECT_EQ(read.queues[1].bytes, 0u);
}

TEST_P(StoreTest, SemaphoresAreReplacedAndRemovedByName) {
  Batch batch;
  batch.semaphores = {{"gpu", 1}, {"license", 3}, {"gpu", 2}};
  commit(batch);
  reopen();
  EXPECT_EQ(snapshot().semaphores, (std::vector<SemaphoreRow>{{"gpu", 2}, {"license", 3}}));
  Batch removed;
  removed.semaphores = {{"license", 4}};
  removed.semaphores_removed = {"gpu", "never made"};
  commit(removed);
  reopen();
  EXPECT_EQ(snapshot().semaphores, (std::vector<SemaphoreRow>{{"license", 4}}));
}

TEST_P(StoreTest, WhatJobsWaitForIsKnownUntilItHolds) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 3; ++id) batch.jobs.push_back(job_row(id, 1, "x"));
  batch.jobs[2].start_at = WallTime{9};
  const DependencyRow first{JobId{2}, 0, {JobId{1}, "", DependencyCondition::kSucceeded}};
  const DependencyRow second{JobId{2}, 1, {{}, "go"}, DependencyState::kHolds};
  const DependencyRow third{JobId{3}, 0, {JobId{1}, "", DependencyCondition::kNotSucceeded}};
  batch.dependencies = {first, second, third};
  batch.events_set = {{"go", WallTime{5}}, {"other", WallTime{6}}};
  commit(batch);
  reopen();
  EXPECT_EQ(snapshot().dependencies, (std::vector<DependencyRow>{first, third}));
  EXPECT_EQ(snapshot().events, (std::vector<NamedEventRow>{{"go", WallTime{5}}, {"other", WallTime{6}}}));
  EXPECT_EQ(snapshot().resident.size(), 3u);

  Batch over;
  over.outcomes.push_back({JobId{1}, ending_of(JobState::kFailed, 1)});
  over.outcomes.push_back({JobId{2}, ending_of(JobState::kFailed, 0)});
  over.dependencies_closed = {{JobId{2}, 0, DependencyState::kVoid}, {JobId{3}, 0, DependencyState::kHolds}};
  over.delayed_added = {{WallTime{9}, JobId{3}, QueueId{1}, PoolId{1}}};
  over.events_cleared = {"go", "never set"};
  commit(over);
  reopen();
  EXPECT_TRUE(snapshot().dependencies.empty());
  EXPECT_TRUE(snapshot().resident.empty()) << "job 3 waits for its time";
  EXPECT_EQ(snapshot().events, (std::vector<NamedEventRow>{{"other", WallTime{6}}}));
  const auto record = store_->reader()->get(JobId{2}, false);
  ASSERT_TRUE(record.ok() && *record);
  ASSERT_EQ((*record)->dependencies.size(), 2u);
  EXPECT_EQ((*record)->dependencies[0].state, DependencyState::kVoid);
  EXPECT_EQ((*record)->dependencies[1], second);
}

TEST_P(StoreTest, AllOfADependencyComesBack) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 2; ++id) batch.jobs.push_back(job_row(id, 1, "x"));
  const Dependency on{JobId{1}, "", DependencyCondition::kSucceeded, 7, 3, true};
  batch.dependencies = {{JobId{2}, 0, on}};
  batch.whole_batches = {{JobId{1}, 2, 0, 1, 0}};
  commit(batch);
  reopen();
  EXPECT_EQ(snapshot().dependencies, batch.dependencies);
  ASSERT_EQ(snapshot().whole_batches.size(), 1u);
  EXPECT_EQ(snapshot().whole_batches[0].max_failures, std::optional<std::uint32_t>(0));
}

TEST_P(StoreTest, TheBatchOfAJobIsKnown) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 5; ++id) batch.jobs.push_back(job_row(id));
  batch.batches = {{JobId{2}, 3}};
  commit(batch);
  reopen();
  const auto reader = store_->reader();
  const auto of = [&](std::uint64_t job) { return *reader->batch_with(JobId{job}); };
  EXPECT_EQ(of(1), (BatchRow{JobId{1}, 1}));
  EXPECT_EQ(of(2), (BatchRow{JobId{2}, 3}));
  EXPECT_EQ(of(4), (BatchRow{JobId{2}, 3}));
  EXPECT_EQ(of(5), (BatchRow{JobId{5}, 1}));
  EXPECT_EQ(of(6).count, 0u);
  EXPECT_EQ((*reader->get(JobId{3}, false))->batch, JobId{2});
  EXPECT_EQ(reader->list({})->jobs.front().batch, JobId{5});
  const auto whole = store_->read_batch({9, JobId{2}, 0});
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(whole->batch, (BatchRow{JobId{2}, 3}));
  EXPECT_EQ(whole->jobs.size(), 3u);
  const auto part_of_one = store_->read_batch({9, JobId{3}, 0});
  ASSERT_TRUE(part_of_one.ok());
  EXPECT_EQ(part_of_one->batch, (BatchRow{JobId{2}, 3}));
  EXPECT_TRUE(part_of_one->jobs.empty()) << "a batch has the number of its first job";
  EXPECT_EQ(store_->read_batch({9, JobId{8}, 0})->batch.count, 0u);
}

std::string part(std::string_view bytes, std::string_view type = "") {
  std::string encoded;
  append_part(encoded, {.content_type = type, .bytes = bytes});
  return encoded;
}

std::string result_of(std::uint64_t job, bool only_first = false) {
  std::string encoded;
  append_part(encoded, {.kind = PartKind::kResult, .result_of = JobId{job}, .only_first = only_first});
  return encoded;
}

TEST_P(StoreTest, ResultsArePutIntoPayloadsThatNameThem) {
  Batch batch;
  const std::string large(limits::kStoredInlineBytesMax + 1, 'l');
  const std::string named = result_of(1) + part("own");
  batch.jobs.push_back(job_row(1));
  batch.jobs.push_back(job_row(2, 1, named));
  batch.jobs.push_back(job_row(3, 1, result_of(1, true)));
  batch.jobs.push_back(job_row(4, 1, result_of(9)));
  batch.backlog_added = {fifo_key(3)};
  commit(batch);
  reopen();
  const auto load = [&](std::uint64_t job) { return std::move(store_->load({JobId{job}})->jobs.front()); };
  EXPECT_EQ(load(2).payload.view(), named) << "it is not there yet";
  Batch over;
  Ending end = ending_of(JobState::kSucceeded);
  end.result = part(large, "a/b") + part("second") + part("log", "application/x-futured-log");
  over.outcomes.push_back({JobId{1}, std::move(end)});
  commit(over);
  reopen();
  const StoredJob taker = load(2);
  EXPECT_EQ(taker.payload.view(), part(large, "a/b") + part("second") + part("own"));
  EXPECT_EQ(taker.own_bytes, std::optional<std::uint32_t>(named.size()));
  for (const StoredJob& job : snapshot().resident) {
    if (job.id != JobId{2}) continue;
    EXPECT_EQ(job.payload.view(), named) << "a start has no room for them";
  }
  const auto claimed = store_->claim(Claim{QueueId{1}, PoolId{1}, {}, 10, 1 << 30});
  ASSERT_TRUE(claimed.ok() && claimed->jobs.size() == 1);
  EXPECT_EQ(claimed->jobs[0].job.payload.view(), part(large, "a/b"));
  const StoredJob orphan = load(4);
  const auto parts = decode_parts(orphan.payload.view());
  ASSERT_TRUE(parts.ok() && parts->size() == 1);
  EXPECT_EQ((*parts)[0].kind, PartKind::kLost);
  EXPECT_EQ((*store_->reader()->get(JobId{2}, true))->job.payload.view(), named) << "people see what was asked";
}

TEST_P(StoreTest, ResultsThatAreNoPayloadAreNotPutIn) {
  Batch batch;
  batch.jobs.push_back(job_row(1));
  batch.jobs.back().ending = ending_of(JobState::kSucceeded);
  batch.jobs.back().ending.result = part(std::string(limits::kPayloadBytesMax + 1, 'l'));
  batch.jobs.push_back(job_row(2));
  batch.jobs.back().ending = ending_of(JobState::kSucceeded);
  batch.jobs.back().ending.result = result_of(1);  // a worker may write anything
  batch.jobs.push_back(job_row(3));
  batch.jobs.back().ending = ending_of(JobState::kSucceeded);
  batch.jobs.back().ending.result = part("end", "application/x-futured-stdout; total=9; file=\"out\"");
  for (std::uint64_t id = 4; id <= 6; ++id) batch.jobs.push_back(job_row(id, 1, result_of(id - 3)));
  commit(batch);
  const auto unfit = [&](std::uint64_t job) { return store_->load({JobId{job}})->jobs.front().unfit; };
  EXPECT_NE(unfit(4).find("4194304 bytes"), std::string::npos) << unfit(4);
  EXPECT_NE(unfit(5).find("damaged"), std::string::npos) << unfit(5);
  EXPECT_NE(unfit(6).find("too large"), std::string::npos) << unfit(6);
}

TEST_P(StoreTest, WhichQueuesNeedWhichSemaphoresIsKnown) {
  Batch batch;
  SpecRow third = spec_row(3, "other");
  third.spec.needs = {{"a b", 3}, {"license=x", 1}};
  batch.specs = {third};
  commit(batch);
  reopen();
  const Snapshot read = snapshot();
  EXPECT_TRUE(std::ranges::is_sorted(read.needs));
  EXPECT_EQ(std::ranges::count(read.needs, std::pair<std::string, std::string>("other", "a b")), 1);
  EXPECT_EQ(std::ranges::count(read.needs, std::pair<std::string, std::string>("other", "license=x")), 1);
}

TEST_P(StoreTest, EpochAndSpawnerAreKept) {
  ASSERT_TRUE(store_->begin_epoch(Epoch{3}, "spawner-a").ok());
  ASSERT_TRUE(store_->begin_epoch(Epoch{4}, "spawner-b").ok());
  reopen();
  EXPECT_EQ(snapshot().epoch, Epoch{4});
  EXPECT_EQ(snapshot().spawner_instance, "spawner-b");
}

TEST_P(StoreTest, ReservedIdsAreKeptUntilChanged) {
  Batch batch;
  batch.ids_reserved_until = 5'000'000'000;
  commit(batch);
  Batch without;
  without.jobs.push_back(job_row(1));
  commit(without);
  reopen();
  EXPECT_EQ(snapshot().ids_reserved_until, 5'000'000'000u);
}

TEST_P(StoreTest, UnfinishedJobIsResidentWithEveryField) {
  Batch batch;
  batch.jobs.push_back(job_row(1, 1, std::string("a\0b", 3)));
  batch.jobs.push_back(job_row(2, 2, ""));
  commit(batch);
  reopen();
  const Snapshot read = snapshot();
  ASSERT_EQ(ids_of(read.resident), (Ids{1, 2}));
  const StoredJob& job = read.resident[0];
  EXPECT_EQ(job.spec, SpecId{1});
  EXPECT_EQ(job.owner, 4'000'000'000u);
  EXPECT_EQ(job.retry_of, JobId{0});
  EXPECT_EQ(job.submitted_at, job_row(1).submitted_at);
  EXPECT_EQ(job.payload.view(), std::string_view("a\0b", 3));
  EXPECT_EQ(job.state, JobState::kQueued);
  EXPECT_FALSE(job.in_backlog);
  EXPECT_FALSE(job.started);
  EXPECT_EQ(read.resident[1].retry_of, JobId{1});
  EXPECT_EQ(read.resident[1].payload.view(), "");
  ASSERT_EQ(read.specs.size(), 2u);
  EXPECT_EQ(read.specs[0].spec, spec_row(1).spec);
  EXPECT_EQ(read.specs[1].spec, spec_row(2, "other").spec);
}

TEST_P(StoreTest, EndingComesBackWholeFoldedOrNot) {
  Batch batch;
  batch.jobs.push_back(job_row(1));
  batch.jobs.push_back(job_row(2));
  batch.jobs[1].ending = ending_of(JobState::kFailed, 2);
  commit(batch);
  Batch later;
  later.outcomes.push_back({JobId{1}, ending_of(JobState::kFailed, 2)});
  commit(later);
  reopen();
  for (const std::uint64_t id : {1, 2}) {
    EXPECT_EQ(text(get(id).ending), text(ending_of(JobState::kFailed, 2))) << id;
    EXPECT_EQ(load(id).state, JobState::kFailed) << id;
  }
  EXPECT_TRUE(snapshot().resident.empty());
}

TEST_P(StoreTest, EmptyEndingFieldsStayEmpty) {
  for (const bool folded : {true, false}) {
    const std::uint64_t id = folded ? 1 : 2;
    Ending ending;
    ending.state = JobState::kCancelled;
    ending.finished_at = WallTime{77};
    Batch batch;
    batch.jobs.push_back(job_row(id));
    if (folded) batch.jobs[0].ending = copy_of(ending);
    commit(batch);
    Batch later;
    if (!folded) later.outcomes.push_back({JobId{id}, copy_of(ending)});
    commit(later);
    EXPECT_EQ(text(get(id).ending), text(ending));
  }
}

TEST_P(StoreTest, StartBeforeTheSubmitIsKept) {  // a wall clock may be set back
  Batch batch;
  batch.jobs.push_back(job_row(1));
  batch.jobs[0].submitted_at = WallTime{1'000'000};
  batch.jobs[0].ending = ending_of(JobState::kSucceeded);
  batch.jobs[0].ending.started_at = WallTime{900'000};
  batch.jobs[0].ending.finished_at = WallTime{800'000};
  commit(batch);
  EXPECT_EQ(get(1).ending.started_at, WallTime{900'000});
  EXPECT_EQ(get(1).ending.finished_at, WallTime{800'000});
}

TEST_P(StoreTest, AttemptsAreCountedAndListed) {
  Batch batch;
  batch.jobs.push_back(job_row(1));
  commit(batch);
  Batch attempts;
  attempts.attempts.push_back(attempt_row(1, 1, CauseKind::kWorkerCrashed));
  attempts.attempts.push_back(attempt_row(1, 2, CauseKind::kTaskError));
  attempts.attempts.push_back(attempt_row(1, 3, CauseKind::kBrokenWorker));
  attempts.attempts[1].started_at = {};
  attempts.attempts[2].retry_at = {};
  commit(attempts);
  reopen();
  const StoredJob job = snapshot().resident.at(0);
  EXPECT_EQ(job.attempts, 3u);
  EXPECT_EQ(job.crashes, 2u);
  EXPECT_EQ(job.retry_at, WallTime{0});
  EXPECT_EQ(text(load(1)), text(job));
  const JobRecord record = get(1);
  ASSERT_EQ(record.attempts.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(text(record.attempts[i]), text(attempts.attempts[i]));
}

TEST_P(StoreTest, AttemptsAreCountedByWhatTheyWereChargedTo) {
  Batch batch;
  batch.jobs.push_back(job_row(1));
  const Charge charges[] = {Charge::kCrash, Charge::kNothing, Charge::kRetry, Charge::kCrash, Charge::kNothing};
  for (std::uint32_t i = 0; i < 5; ++i) {
    batch.attempts.push_back(attempt_row(1, i + 1, CauseKind::kOutOfMemory));
    batch.attempts.back().charge = charges[i];
  }
  commit(batch);
  reopen();
  const StoredJob job = load(1);
  EXPECT_EQ(job.attempts, 5u);
  EXPECT_EQ(job.crashes, 2u);
  EXPECT_EQ(job.spared, 2u);
  EXPECT_EQ(text(snapshot().resident.at(0)), text(job));
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(get(1).attempts.at(i).charge, charges[i]);
}

TEST_P(StoreTest, TheLastAttemptIsKeptBesideTheEndingOfItsJob) {
  Batch batch;
  batch.jobs.push_back(job_row(1));
  batch.jobs[0].ending = ending_of(JobState::kFailed);
  batch.attempts.push_back(attempt_row(1, 1, CauseKind::kNone));
  batch.attempts[0].charge = Charge::kLast;
  batch.attempts[0].cause = {};
  commit(batch);
  reopen();
  EXPECT_EQ(text(get(1).attempts.at(0)), text(batch.attempts[0]));
  EXPECT_EQ(text(get(1).ending), text(batch.jobs[0].ending));
}

TEST_P(StoreTest, RetryTimeIsThatOfTheLastAttempt) {
  Batch batch;
  batch.jobs.push_back(job_row(1));
  batch.attempts.push_back(attempt_row(1, 1, CauseKind::kTaskError));
  batch.attempts.push_back(attempt_row(1, 2, CauseKind::kTaskError));
  commit(batch);
  EXPECT_EQ(load(1).retry_at, batch.attempts[1].retry_at);
  EXPECT_EQ(load(1).attempts, 2u);
  EXPECT_EQ(load(1).crashes, 0u);
}

TEST_P(StoreTest, StartIsRemembered) {
  Batch batch;
  batch.jobs.push_back(job_row(1));
  batch.jobs.push_back(job_row(2));
  batch.starts.push_back({{JobId{2}, Epoch{1}, 1}});
  commit(batch);
  Batch again;  // revoked and offered anew
  again.starts.push_back({{JobId{2}, Epoch{2}, 1}});
  commit(again);
  reopen();
  EXPECT_FALSE(load(1).started);
  EXPECT_TRUE(load(2).started);
  EXPECT_TRUE(snapshot().resident.at(1).started);
}

TEST_P(StoreTest, ACancelIsKeptUntilItsJobEnds) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 3; ++id) batch.jobs.push_back(job_row(id));
  batch.backlog_added = {fifo_key(3)};
  commit(batch);
  const CancelRow first{JobId{1}, Instant{5}, Instant{50}, ""};
  const CancelRow second{JobId{1}, Instant{5}, Instant{20}, "too slow"};
  const CancelRow away{JobId{3}, Instant{7}, Instant{70}, ""};
  Batch asked;
  asked.cancels_added = {first, away};
  commit(asked);
  Batch again;
  again.cancels_added = {second};
  commit(again);
  reopen();
  EXPECT_EQ(snapshot().cancels, (std::vector<CancelRow>{second, away}));

  Batch ended;
  ended.outcomes.push_back({JobId{1}, ending_of(JobState::kCancelled, 1)});
  ended.cancels_removed = {JobId{1}};
  commit(ended);
  reopen();
  EXPECT_EQ(snapshot().cancels, (std::vector<CancelRow>{away}));
}

TEST_P(StoreTest, ACancelOfAJobThatEndsInTheSameBatchLeavesNothing) {
  Batch batch;
  batch.jobs.push_back(job_row(1));
  batch.jobs.back().ending = ending_of(JobState::kCancelled, 1);
  batch.cancels_added.push_back({JobId{1}, Instant{5}, Instant{50}, ""});
  batch.cancels_removed = {JobId{1}};
  commit(batch);
  reopen();
  EXPECT_TRUE(snapshot().cancels.empty());
}

TEST_P(StoreTest, BacklogIsNotResident) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 6; ++id) batch.jobs.push_back(job_row(id));
  for (const std::uint64_t id : {2, 3, 5}) batch.backlog_added.push_back(fifo_key(id));
  batch.backlog_added.push_back(fifo_key(6, 1, 2));
  commit(batch);
  reopen();
  const Snapshot read = snapshot();
  EXPECT_EQ(ids_of(read.resident), (Ids{1, 4}));
  ASSERT_EQ(read.backlog.size(), 2u);
  EXPECT_EQ(read.backlog[0].pool, PoolId{1});
  EXPECT_EQ(read.backlog[0].jobs, 3u);
  EXPECT_EQ(read.backlog[1].pool, PoolId{2});
  EXPECT_EQ(read.backlog[1].jobs, 1u);
  EXPECT_TRUE(load(3).in_backlog);
  EXPECT_FALSE(load(4).in_backlog);
}

TEST_P(StoreTest, DeadlinesOfTheBacklogStayUntilTheyAreRemoved) {
  Batch batch;
  batch.deadlines_added = {{WallTime{2'000}, JobId{1}, 10}, {WallTime{1'000}, JobId{11}, 5}};
  commit(batch);
  Batch more;
  more.deadlines_added = {{WallTime{2'000}, JobId{1}, 20}};  // replaces
  more.deadlines_removed = {{WallTime{1'000}, JobId{11}, 5}, {WallTime{1'000}, JobId{999}, 1}};
  commit(more);
  reopen();
  const Snapshot read = snapshot();
  ASSERT_EQ(read.deadlines.size(), 1u);
  EXPECT_EQ(read.deadlines[0].at, WallTime{2'000});
  EXPECT_EQ(read.deadlines[0].first, JobId{1});
  EXPECT_EQ(read.deadlines[0].count, 20u);
}

TEST_P(StoreTest, KeysAreFoundByTheirOwnerAlone) {
  std::vector<KeyRow> rows;
  for (std::uint64_t i = 1; i <= 9; ++i) {  // over several buckets, where they are small
    Batch batch;
    rows.push_back({{1000, "key " + std::to_string(i)}, JobId{i * 10}, static_cast<std::uint32_t>(i), ~i});
    batch.keys_added = {rows.back()};
    if (i == 5) batch.keys_added.push_back({{1001, "key 1"}, JobId{77}, 1, 7});
    commit(batch);
  }
  for (int life = 0; life < 2; ++life) {
    std::vector<KeyQuery> asked{{1000, "no such key"}, {1001, "key 2"}};
    for (const KeyRow& row : rows) asked.push_back(row.key);
    const auto found = store_->find_keys(asked);
    ASSERT_TRUE(found.ok()) << found.error().message;
    ASSERT_EQ(found->size(), asked.size());
    EXPECT_FALSE((*found)[0] || (*found)[1]);
    const auto reader = store_->reader();
    for (std::size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ((*found)[i + 2], rows[i]);
      EXPECT_EQ(*reader->find_key(rows[i].key), rows[i]);
    }
    EXPECT_EQ((**reader->find_key({1001, "key 1"})).first, JobId{77});
    EXPECT_FALSE(reader->find_key({1002, "key 1"})->has_value());
    reopen();
  }
}

TEST_P(StoreTest, AKeyThatIsKnownIsNotTakenAgain) {
  Batch batch;
  batch.keys_added = {{{1, "k"}, JobId{1}, 1, 5}};
  commit(batch);
  const auto error = store_->commit(batch);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->fault, CommitFault::kUnknown);
}

TEST_P(StoreTest, ResidentThatIsSpilledLaterLeavesTheSnapshot) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 40; ++id) batch.jobs.push_back(job_row(id));
  commit(batch);
  Batch more;  // so far on that the first ones are stragglers where the bounds are small
  for (std::uint64_t id = 41; id <= 80; ++id) more.jobs.push_back(job_row(id));
  commit(more);
  Batch spill;
  for (std::uint64_t id = 1; id <= 79; ++id) spill.backlog_added.push_back(fifo_key(id));
  commit(spill);
  reopen();
  EXPECT_EQ(ids_of(snapshot().resident), (Ids{80}));
  EXPECT_TRUE(load(1).in_backlog);
}

TEST_P(StoreTest, JobOfTheBacklogEndsAndLeavesIt) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 3; ++id) {
    batch.jobs.push_back(job_row(id));
    batch.backlog_added.push_back(fifo_key(id));
  }
  commit(batch);
  EXPECT_EQ(claimed(1, 1), (Ids{1, 2, 3}));
  EXPECT_EQ(claimed(1, 1), (Ids{1, 2, 3})) << "a claim is a pure read";
  Batch ended;
  ended.outcomes.push_back(outcome_row(2));
  ended.backlog_removed.push_back(fifo_key(2));
  commit(ended);
  reopen();
  EXPECT_EQ(claimed(1, 1), (Ids{1, 3}));
  EXPECT_EQ(load(2).state, JobState::kSucceeded);
  EXPECT_FALSE(load(2).in_backlog);
  EXPECT_EQ(snapshot().backlog.at(0).jobs, 2u);
  EXPECT_TRUE(snapshot().resident.empty());
}

TEST_P(StoreTest, StragglersStayResidentHoweverManyJobsGoBy) {
  std::uint64_t next = 1;
  for (int round = 0; round < 30; ++round) {
    Batch batch;
    for (int i = 0; i < 10; ++i, ++next) {
      batch.jobs.push_back(job_row(next));
      if (next % 7 != 0) batch.jobs.back().ending = ending_of(JobState::kSucceeded);
    }
    commit(batch);
  }
  Batch ended;
  for (std::uint64_t id = 14; id < next; id += 14) ended.outcomes.push_back(outcome_row(id));
  commit(ended);
  Ids left;
  for (std::uint64_t id = 7; id < next; id += 14) left.push_back(id);
  reopen();
  EXPECT_EQ(ids_of(snapshot().resident), left);
  Batch rest;
  for (const std::uint64_t id : left) rest.outcomes.push_back(outcome_row(id));
  commit(rest);
  reopen();
  EXPECT_TRUE(snapshot().resident.empty());
}

TEST_P(StoreTest, ClaimFollowsEachDiscipline) {
  Batch batch;
  const std::int32_t priorities[] = {0, 5, -5, 5, 0};
  for (std::uint64_t id = 1; id <= 5; ++id) {
    batch.jobs.push_back(job_row(id));
    const auto key = [&](std::uint32_t queue, Discipline discipline) {
      return BacklogKey{QueueId{queue}, PoolId{1}, order_key(discipline, priorities[id - 1], JobId{id})};
    };
    batch.backlog_added.push_back(key(1, Discipline::kFifo));
    batch.backlog_added.push_back(key(2, Discipline::kLifo));
    batch.backlog_added.push_back(key(3, Discipline::kPriority));
  }
  commit(batch);
  reopen();
  EXPECT_EQ(claimed(1, 1), (Ids{1, 2, 3, 4, 5}));
  EXPECT_EQ(claimed(2, 1), (Ids{5, 4, 3, 2, 1}));
  EXPECT_EQ(claimed(3, 1), (Ids{2, 4, 1, 5, 3}));
  EXPECT_TRUE(claimed(3, 2).empty());
  EXPECT_TRUE(claimed(4, 1).empty());

  EXPECT_EQ(claimed(1, 1, OrderKey{0, 2}, 2), (Ids{3, 4}));
  EXPECT_EQ(claimed(2, 1, OrderKey{0, -4}, 2), (Ids{3, 2}));
  EXPECT_EQ(claimed(3, 1, OrderKey{-5, 2}, 2), (Ids{4, 1}));
  EXPECT_EQ(claimed(3, 1, OrderKey{0, 1}, 9), (Ids{5, 3}));
  EXPECT_TRUE(claimed(3, 1, OrderKey{5, 3}).empty());
}

TEST_P(StoreTest, JobsThatEndLeaveTheirNeighboursInTheBacklog) {
  constexpr std::uint64_t kJobs = 20;
  const auto key = [&](std::uint32_t queue, std::uint64_t id) {
    const Discipline discipline = queue == 1 ? Discipline::kFifo : Discipline::kLifo;
    return BacklogKey{QueueId{queue}, PoolId{1}, order_key(discipline, 0, JobId{id})};
  };
  Batch batch;
  for (std::uint64_t id = 1; id <= kJobs; ++id) {
    batch.jobs.push_back(job_row(id));
    batch.backlog_added.push_back(key(1, id));
    batch.backlog_added.push_back(key(2, id));
  }
  commit(batch);
  std::set<std::uint64_t> left;
  for (std::uint64_t id = 1; id <= kJobs; ++id) left.insert(id);
  // Both ends, the middle, over a hole, what is left of a run, and all.
  for (const Ids& ending :
       std::vector<Ids>{{1}, {20, 19}, {9, 10, 11}, {13}, {12, 14}, {8, 15}, {2, 6, 4}, {3, 5, 7, 16, 17, 18}}) {
    Batch ended;
    for (const std::uint64_t id : ending) {
      left.erase(id);
      ended.outcomes.push_back(outcome_row(id));
      ended.backlog_removed.push_back(key(1, id));
      ended.backlog_removed.push_back(key(2, id));
    }
    commit(ended);
    reopen();
    EXPECT_EQ(claimed(1, 1), Ids(left.begin(), left.end()));
    EXPECT_EQ(claimed(2, 1), Ids(left.rbegin(), left.rend()));
    for (std::uint64_t after = 1; after <= kJobs; ++after) {
      Ids behind(left.upper_bound(after), left.end());
      behind.resize(std::min<std::size_t>(behind.size(), 3));
      EXPECT_EQ(claimed(1, 1, OrderKey{0, static_cast<std::int64_t>(after)}, 3), behind) << "after " << after;
    }
    std::uint64_t counted = 0;
    for (const LaneBacklog& lane : snapshot().backlog) counted += lane.jobs;
    EXPECT_EQ(counted, 2 * left.size());
  }
}

TEST_P(StoreTest, AJobDoesNotEnterTheBacklogTwice) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 3; ++id) {
    batch.jobs.push_back(job_row(id));
    batch.backlog_added.push_back(fifo_key(id));
  }
  commit(batch);
  Batch again;
  again.backlog_added = {fifo_key(2)};
  const auto error = store_->commit(again);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->fault, CommitFault::kUnknown);
}

TEST_P(StoreTest, AMovedJobIsFoundInItsNewQueueAndNowhereElse) {
  Batch batch;
  batch.specs = {spec_row(11, "old"), spec_row(12, "new")};
  for (std::uint64_t id = 1; id <= 5; ++id) batch.jobs.push_back(job_row(id, 11));
  batch.jobs[3].start_at = WallTime{9};
  for (const std::uint64_t id : {1, 2, 3}) batch.backlog_added.push_back(fifo_key(id, 1));
  const DelayedKey delayed{WallTime{9}, JobId{4}, QueueId{1}, PoolId{1}};
  batch.delayed_added = {delayed};
  commit(batch);

  Batch moves;  // 1 becomes resident, 2 goes to the other backlog, 4 keeps its time, 5 was resident
  moves.backlog_removed = {fifo_key(1, 1), fifo_key(2, 1)};
  moves.backlog_added = {fifo_key(2, 2)};
  moves.delayed_removed = {delayed};
  moves.delayed_added = {{WallTime{9}, JobId{4}, QueueId{2}, PoolId{1}}};
  moves.moved = {
      {JobId{1}, SpecId{12}, true}, {JobId{2}, SpecId{12}, true}, {JobId{4}, SpecId{12}}, {JobId{5}, SpecId{12}}};
  commit(moves);
  reopen();
  EXPECT_EQ(claimed(1, 1), (Ids{3}));
  EXPECT_EQ(claimed(2, 1), (Ids{2}));
  const Snapshot found = snapshot();
  EXPECT_EQ(ids_of(found.resident), (Ids{1, 5}));
  for (const StoredJob& job : found.resident) EXPECT_EQ(job.spec, SpecId{12});
  ASSERT_EQ(found.delayed.size(), 1u);
  EXPECT_EQ(found.delayed[0].queue, QueueId{2});
  const auto record = store_->reader()->get(JobId{4}, false);
  ASSERT_TRUE(record.ok() && *record);
  EXPECT_EQ((*record)->spec.queue, "new");

  Batch back;  // and to where it came from, in one batch by way of another queue
  back.moved = {{JobId{2}, SpecId{11}, true}, {JobId{2}, SpecId{12}}, {JobId{2}, SpecId{11}}};
  back.backlog_removed = {fifo_key(2, 2)};
  back.backlog_added = {fifo_key(2, 1)};
  commit(back);
  reopen();
  EXPECT_EQ(claimed(1, 1), (Ids{2, 3}));
  EXPECT_TRUE(claimed(2, 1).empty());
}

TEST_P(StoreTest, ClaimStopsAtItsBytesButGivesOneJob) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 4; ++id) {
    batch.jobs.push_back(job_row(id, 1, std::string(id == 3 ? 1'000 : 100, 'x')));
    batch.backlog_added.push_back(fifo_key(id));
  }
  commit(batch);
  const auto with_bytes = [&](std::uint64_t bytes, std::uint64_t after) {
    return ids_of(claim({QueueId{1}, PoolId{1}, OrderKey{0, static_cast<std::int64_t>(after)}, 100, bytes}));
  };
  EXPECT_EQ(with_bytes(200, 0), (Ids{1, 2}));
  EXPECT_EQ(with_bytes(299, 0), (Ids{1, 2}));
  EXPECT_EQ(with_bytes(1'199, 0), (Ids{1, 2}));
  EXPECT_EQ(with_bytes(1'200, 0), (Ids{1, 2, 3}));
  EXPECT_EQ(with_bytes(1, 2), (Ids{3}));
}

TEST_P(StoreTest, ClaimBringsWhatTheCoreNeeds) {
  Batch batch;
  batch.jobs.push_back(job_row(1, 1));
  batch.jobs.push_back(job_row(2, 2, "other"));
  batch.attempts.push_back(attempt_row(2, 1, CauseKind::kWorkerCrashed));
  batch.starts.push_back({{JobId{1}, Epoch{1}, 1}});
  batch.backlog_added = {fifo_key(1), fifo_key(2)};
  commit(batch);
  const Claim asked{QueueId{1}, PoolId{1}, OrderKey{0, 0}, 10, 1'000};
  const ClaimAnswer answer = claim(asked);
  EXPECT_EQ(answer.claim.after, asked.after);
  EXPECT_EQ(answer.claim.jobs_max, 10u);
  ASSERT_EQ(answer.jobs.size(), 2u);
  EXPECT_TRUE(answer.jobs[0].job.in_backlog);
  EXPECT_TRUE(answer.jobs[0].job.started);
  EXPECT_EQ(answer.jobs[1].job.attempts, 1u);
  EXPECT_EQ(answer.jobs[1].job.crashes, 1u);
  EXPECT_EQ(answer.jobs[1].job.retry_at, batch.attempts[0].retry_at);
  EXPECT_EQ(answer.jobs[1].job.payload.view(), "other");
  ASSERT_EQ(answer.specs.size(), 2u);
  EXPECT_EQ(answer.specs[1].spec, spec_row(2, "other").spec);
}

TEST_P(StoreTest, LoadGivesWhatExistsInOrder) {
  Batch batch;
  for (std::uint64_t id = 1; id <= 3; ++id) batch.jobs.push_back(job_row(id, id == 3 ? 2 : 1));
  batch.jobs[1].ending = ending_of(JobState::kTimedOut);
  commit(batch);
  const auto answer = store_->load({JobId{3}, JobId{9}, JobId{2}, JobId{3}});
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(ids_of(answer->jobs), (Ids{2, 3}));
  EXPECT_EQ(answer->jobs[0].state, JobState::kTimedOut);
  EXPECT_EQ(answer->jobs[1].state, JobState::kQueued);
  EXPECT_EQ(answer->specs.size(), 2u);
  EXPECT_TRUE(store_->load({})->jobs.empty());
}

TEST_P(StoreTest, EmptyBatchIsNothing) {
  const std::string before = text(snapshot());
  commit({});
  EXPECT_EQ(text(snapshot()), before);
}

TEST_P(StoreTest, SecondEndingOfAJobIsRefusedWhole) {
  Batch batch;
  batch.jobs.push_back(job_row(1));
  batch.jobs.push_back(job_row(2));
  commit(batch);
  Batch first;
  first.outcomes.push_back(outcome_row(1));
  commit(first);
  Batch second;
  second.jobs.push_back(job_row(3));
  second.outcomes.push_back(outcome_row(1, JobState::kFailed));
  const auto error = store_->commit(second);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->fault, CommitFault::kUnknown);
  reopen();
  EXPECT_EQ(get(1).ending.state, JobState::kSucceeded);
  EXPECT_TRUE(store_->load({JobId{3}})->jobs.empty());
}

TEST_P(StoreTest, IdsMustAscend) {
  Batch batch;
  batch.jobs.push_back(job_row(5));
  commit(batch);
  Batch back;
  back.jobs.push_back(job_row(4));
  const auto error = store_->commit(back);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->fault, CommitFault::kUnknown);
}

TEST_P(StoreTest, LargePayloadAndResultComeBack) {
  const std::string large(limits::kPayloadBytesMax, 'p');
  Batch batch;
  batch.jobs.push_back(job_row(1, 1, large));
  batch.jobs[0].ending = ending_of(JobState::kSucceeded);
  batch.jobs[0].ending.result = large + "r";
  commit(batch);
  reopen();
  EXPECT_EQ(get(1).job.payload.view(), large);
  EXPECT_EQ(get(1).ending.result, large + "r");
  EXPECT_EQ(load(1).payload.view(), large);
}

TEST_P(StoreTest, LargePartsComeBackAmongSmallOnes) {
  std::string payload;
  append_part(payload, {.content_type = "text/plain", .bytes = "small"});
  append_part(payload, {.content_type = "a/b", .bytes = std::string(limits::kStoredInlineBytesMax + 1, 'p')});
  const std::string result = payload + payload;
  Batch batch;
  batch.jobs.push_back(job_row(1, 1, payload));
  batch.jobs.push_back(job_row(2, 1, payload));
  batch.jobs.push_back(job_row(3, 1, payload));
  batch.jobs[1].ending = ending_of(JobState::kSucceeded);
  batch.jobs[1].ending.result = result;
  batch.backlog_added.push_back(fifo_key(3));
  commit(batch);
  Batch later;
  later.outcomes.push_back(outcome_row(1));
  later.outcomes[0].ending.result = result;
  commit(later);
  reopen();
  for (const std::uint64_t id : {1, 2}) {
    EXPECT_EQ(get(id).job.payload.view(), payload);
    EXPECT_EQ(get(id).ending.result, result);
    EXPECT_EQ(load(id).payload.view(), payload);
  }
  const auto endings = store_->reader()->endings({JobId{1}, JobId{2}});
  ASSERT_TRUE(endings.ok());
  EXPECT_EQ((*endings)[0].ending.result, result);
  EXPECT_EQ((*endings)[1].ending.result, result);
  const auto claimed = store_->claim(Claim{QueueId{1}, PoolId{1}, std::nullopt, 10, 1});
  ASSERT_TRUE(claimed.ok());
  ASSERT_EQ(claimed->jobs.size(), 1u);
  EXPECT_EQ(claimed->jobs[0].job.payload.view(), payload);
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreTest, testing::ValuesIn(kKinds),
                         [](const testing::TestParamInfo<Kind>& kind) { return std::string(kind.param.name); });

}  // namespace
}  // namespace futured
