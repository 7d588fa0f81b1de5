// Jobs that ask the same: hits, followers, and what becomes of them when things go wrong.
#include <gmock/gmock.h>

#include <map>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

JobSpec cached(bool failures = false, Duration ttl = {}) {
  JobSpec spec = Stage::work();
  spec.cache = {.enabled = true, .failures = failures, .explain = true, .ttl = ttl};
  return spec;
}

// A stage with a disk: it answers what the scheduler asks about kept outcomes from the rows that were committed.
class CacheStage : public Stage {
 public:
  using Stage::Stage;

  // Jobs with these arguments, a letter each.
  Event ask(const std::string& arguments, const JobSpec& spec = cached(), std::uint32_t uid = 1000) {
    Event event = submit(spec, static_cast<std::uint32_t>(arguments.size()));
    auto& submit = std::get<event::Submit>(event);
    submit.who = {uid};
    for (const char letter : arguments) submit.cache_digests.emplace_back(32, letter);
    return event;
  }
  Event clear(std::uint32_t uid = 1000) { return event::ClearCache{++token, {uid}, true, {}}; }

  std::string end_of(std::uint64_t job) const {
    const Ending* const end = ending(job);
    if (end == nullptr) return "none";
    std::string text(to_string(end->state));
    if (!end->cause) return text;
    if (end->cause->cached_from.is_set()) text += " from " + std::to_string(end->cause->cached_from.value);
    return text + (end->cause->cache_note.empty() ? "" : " (" + end->cause->cache_note + ")");
  }

  // What is on disk now.
  [[nodiscard]] std::vector<CacheEntryRow> entries() const {
    std::map<JobId, CacheEntryRow> rows;
    for (const Effects& turn : history) {
      for (const CacheEntryRow& row : turn.rows.cache_added) rows[row.job] = row;
      for (const CacheUseRow& row : turn.rows.cache_used) {
        if (!rows.contains(row.job)) continue;
        rows[row.job].hits = row.hits;
        rows[row.job].used_at = row.used_at;
      }
      for (const JobId job : turn.rows.cache_removed) rows.erase(job);
    }
    std::vector<CacheEntryRow> all;
    for (const auto& [job, row] : rows) all.push_back(row);
    return all;
  }
  [[nodiscard]] std::vector<std::uint64_t> keyed() const {
    std::map<JobId, bool> rows;
    for (const Effects& turn : history) {
      for (const CacheKeyRow& row : turn.rows.cache_keys_added) rows[row.job] = true;
      for (const JobId job : turn.rows.cache_keys_removed) rows.erase(job);
    }
    std::vector<std::uint64_t> ids;
    for (const auto& [job, there] : rows) ids.push_back(job.value);
    return ids;
  }
  // Answers what the last turn asked.
  Event read() const {
    event::CacheRead read{history.back().cache_reads, {}};
    for (const JobId entry : read.asked) {
      const Ending* const end = ending(entry.value);
      read.answer.push_back(
          end == nullptr ? nullptr
                         : std::make_shared<const CachedOutcome>(CachedOutcome{end->state, nullptr, end->result}));
    }
    return read;
  }
};

StageSetup two_slots() { return {.pools = {{"default", false, 2}}}; }

TEST(Cache, ASecondJobIsAnsweredWithoutAWorker) {
  CacheStage stage;
  EXPECT_THAT(stage.turn({stage.ask("a")}), ElementsAre("offer 1.1 slot 1", "accepted 1: 1 x1"));
  EXPECT_THAT(stage.keyed(), ElementsAre(1));
  (void)stage.turn({stage.done(1)});
  EXPECT_THAT(stage.keyed(), IsEmpty());
  EXPECT_EQ(stage.entries().size(), 1u);
  EXPECT_THAT(stage.turn({stage.ask("a")}), ElementsAre("accepted 2: 2 x1"));
  EXPECT_EQ(stage.end_of(1), "SUCCEEDED (miss: no entry for task work with this key)");
  EXPECT_EQ(stage.end_of(2), "SUCCEEDED from 1 (hit: job 1)");
  EXPECT_EQ(stage.ending(2)->result, "result");
  EXPECT_THAT(stage.keyed(), IsEmpty());
  EXPECT_EQ(stage.entries().at(0).hits, 1u);
  EXPECT_EQ(stage.scheduler->cache().figures().hits, 1u);
  EXPECT_TRUE(stage.scheduler->idle());
}

TEST(Cache, OtherArgumentsAreComputed) {
  CacheStage stage;
  (void)stage.turn({stage.ask("a")});
  (void)stage.turn({stage.done(1)});
  EXPECT_THAT(stage.turn({stage.ask("b")}), Contains("offer 2.1 slot 1"));
}

TEST(Cache, AnotherUserIsGivenNothing) {
  CacheStage stage;
  (void)stage.turn({stage.ask("a")});
  (void)stage.turn({stage.done(1)});
  EXPECT_THAT(stage.turn({stage.ask("a", cached(), 1001)}), Contains("offer 2.1 slot 1"));
}

TEST(Cache, AnotherVersionOfTheTaskIsComputed) {
  CacheStage stage;
  const auto version = [&](const char* text) {
    return event::PoolReady{stage.scheduler->pool_named("default"), {"work"}, false, {text}};
  };
  (void)stage.turn({version("1"), stage.ask("a")});
  (void)stage.turn({stage.done(1)});
  EXPECT_THAT(stage.turn({version("2"), stage.ask("a")}), Contains("offer 2.1 slot 1"));
  (void)stage.turn({stage.done(2)});
  EXPECT_THAT(stage.turn({version("1"), stage.ask("a")}), Not(Contains(HasSubstr("offer"))));
  EXPECT_EQ(stage.end_of(3), "SUCCEEDED from 1 (hit: job 1)");
}

TEST(Cache, WhatRanAcrossAReloadIsNotKept) {
  CacheStage stage;
  (void)stage.turn({stage.ask("a")});
  (void)stage.turn({event::PoolReady{stage.scheduler->pool_named("default"), {"work"}, false, {"2"}}});
  (void)stage.turn({stage.done(1)});
  EXPECT_THAT(stage.entries(), IsEmpty());
  EXPECT_THAT(stage.end_of(1), HasSubstr("reloaded"));
}

TEST(Cache, IdenticalJobsRunOnce) {
  CacheStage stage(two_slots());
  EXPECT_THAT(stage.turn({stage.ask("aa"), stage.ask("a")}),
              ElementsAre("offer 1.1 slot 1", "accepted 1: 1 x2", "accepted 2: 3 x1"));
  EXPECT_THAT(stage.scheduler->awaits(JobId{2}), HasSubstr("waits for job 1, which computes the same"));
  (void)stage.turn({stage.done(1)});
  EXPECT_EQ(stage.end_of(2), "SUCCEEDED from 1 (joined: job 1)");
  EXPECT_EQ(stage.end_of(3), "SUCCEEDED from 1 (joined: job 1)");
  EXPECT_EQ(stage.ending(3)->result, "result");
  EXPECT_EQ(stage.scheduler->cache().figures().joined, 2u);
  EXPECT_EQ(stage.scheduler->resident_jobs(), 0u);
}

TEST(Cache, WhenTheLeaderFailsAFollowerRuns) {
  CacheStage stage(two_slots());
  (void)stage.turn({stage.ask("aaa")});
  EXPECT_THAT(stage.turn({stage.failed(1)}), Contains(HasSubstr("offer 2.1")));
  EXPECT_EQ(stage.end_of(2), "none");
  EXPECT_THAT(stage.scheduler->awaits(JobId{3}), HasSubstr("waits for job 2"));
  (void)stage.turn({stage.done(2)});
  EXPECT_THAT(stage.end_of(2), HasSubstr("SUCCEEDED (miss"));
  EXPECT_EQ(stage.end_of(3), "SUCCEEDED from 2 (joined: job 2)");
}

TEST(Cache, ACancelledLeaderTakesNobodyAlong) {
  CacheStage stage;
  const auto pause = [&](bool paused) {
    return event::PutQueue{++stage.token, "default", std::nullopt, paused, {}, {}, {}};
  };
  (void)stage.turn({pause(true), stage.ask("aa")});
  (void)stage.turn({stage.cancel(1)});
  EXPECT_EQ(stage.end_of(1), "CANCELLED (miss: no entry for task work with this key; not kept: it was cancelled)");
  EXPECT_EQ(stage.end_of(2), "none");
  EXPECT_THAT(stage.turn({pause(false)}), Contains("offer 2.1 slot 1"));
  (void)stage.turn({stage.done(2)});
  EXPECT_THAT(stage.end_of(2), HasSubstr("SUCCEEDED (miss"));
}

TEST(Cache, AFollowerIsCancelledAlone) {
  CacheStage stage;
  (void)stage.turn({stage.ask("aaa")});
  EXPECT_THAT(stage.turn({stage.cancel(2)}), ElementsAre("cancelled 2: 2 CANCELLED"));
  (void)stage.turn({stage.done(1)});
  EXPECT_EQ(stage.end_of(2), "CANCELLED");
  EXPECT_EQ(stage.end_of(3), "SUCCEEDED from 1 (joined: job 1)");
}

TEST(Cache, FailuresAreKeptOnlyForThoseWhoSaySo) {
  CacheStage stage;
  (void)stage.turn({stage.ask("aa", cached(/*failures=*/true))});
  (void)stage.turn({stage.failed(1)});
  EXPECT_EQ(stage.end_of(2), "FAILED from 1 (joined: job 1)");
  EXPECT_THAT(stage.turn({stage.ask("a", cached(true))}), Not(Contains(HasSubstr("offer"))));
  EXPECT_EQ(stage.end_of(3), "FAILED from 1 (hit: job 1)");
  EXPECT_THAT(stage.turn({stage.ask("a")}), Contains("offer 4.1 slot 1"));
  (void)stage.turn({stage.done(4)});
  EXPECT_THAT(stage.end_of(4), HasSubstr("miss: job 1 failed"));
  (void)stage.turn({stage.ask("a", cached(true))});
  EXPECT_EQ(stage.end_of(5), "SUCCEEDED from 4 (hit: job 4)");
}

TEST(Cache, APausedQueueStillAnswers) {
  CacheStage stage;
  (void)stage.turn({stage.ask("a")});
  (void)stage.turn({stage.done(1)});
  (void)stage.turn({event::PutQueue{++stage.token, "default", std::nullopt, true, {}, {}, {}}});
  (void)stage.turn({stage.ask("a")});
  EXPECT_EQ(stage.end_of(2), "SUCCEEDED from 1 (hit: job 1)");
}

TEST(Cache, AnOutcomeExpires) {
  CacheStage stage;
  (void)stage.turn({stage.ask("a", cached(false, seconds(10)))});
  (void)stage.turn({stage.done(1)});
  (void)stage.pass(seconds(9));
  (void)stage.turn({stage.ask("a")});
  EXPECT_EQ(stage.end_of(2), "SUCCEEDED from 1 (hit: job 1)");
  (void)stage.pass(seconds(2));
  EXPECT_THAT(stage.turn({stage.ask("a")}), Contains("offer 3.1 slot 1"));
  EXPECT_THAT(stage.entries(), IsEmpty());
}

TEST(Cache, NobodyIsGivenWhatIsOlderThanItsOwnTtl) {
  CacheStage stage;
  (void)stage.turn({stage.ask("a")});
  (void)stage.turn({stage.done(1)});
  (void)stage.pass(seconds(5));
  EXPECT_THAT(stage.turn({stage.ask("a", cached(false, seconds(4)))}), Contains("offer 2.1 slot 1"));
  (void)stage.turn({stage.done(2)});
  EXPECT_EQ(stage.entries().size(), 1u) << "the newer outcome took the place of the older";
}

TEST(Cache, ClearMayNameAKeyOrAnEntryOrCommands) {
  CacheStage stage;
  for (const char* const letter : {"a", "b", "c"}) {
    (void)stage.turn({stage.ask(letter)});
    (void)stage.turn({stage.done(stage.entries().size() + 1)});
  }
  ASSERT_EQ(stage.entries().size(), 3u);
  const auto clear = [&](event::ClearCache asked) {
    asked.token = ++stage.token;
    asked.who = {1000};
    (void)stage.turn({asked});
    return stage.history.back().caches_cleared.at(0).removed;
  };
  EXPECT_EQ(clear({.every_task = false, .task = ""}), 0u) << "none of them is a command's";
  EXPECT_EQ(clear({.every_task = true, .digest = std::string(32, 'x')}), 0u);
  EXPECT_EQ(clear({.every_task = true, .digest = std::string(32, 'b')}), 1u);
  EXPECT_EQ(clear({.every_task = true, .entry = JobId{2}}), 0u) << "it is gone";
  EXPECT_EQ(clear({.every_task = true, .entry = JobId{3}}), 1u);
  ASSERT_EQ(stage.entries().size(), 1u);
  EXPECT_EQ(stage.entries()[0].job, JobId{1});
}

TEST(Cache, TheNoteTellsWhatWasNotThereToBeIgnored) {
  CacheStage stage;
  Event first = stage.ask("a");
  std::get<event::Submit>(first).cache_remarks = {"field is not there"};
  Event second = stage.ask("a");
  std::get<event::Submit>(second).cache_remarks = {"field is not there"};
  (void)stage.turn({first});
  (void)stage.turn({stage.done(1)});
  (void)stage.turn({second});
  EXPECT_EQ(stage.end_of(1), "SUCCEEDED (miss: no entry for task work with this key; field is not there)");
  EXPECT_EQ(stage.end_of(2), "SUCCEEDED from 1 (hit: job 1; field is not there)");
}

TEST(Cache, TheNoteTellsWhyAnEndIsNotKept) {
  CacheStage stage;
  JobSpec spec = cached();
  spec.run_timeout = std::chrono::seconds(1);
  (void)stage.turn({stage.ask("a", spec)});
  (void)stage.turn({stage.failed(1)});
  EXPECT_THAT(stage.end_of(1), HasSubstr("not kept: it failed, and cache_failures is not set"));
  JobSpec fragile = cached();
  fragile.crashes_max = 1;
  (void)stage.turn({stage.ask("b", fragile)});
  stage.take(1, 2);
  (void)stage.turn({stage.slot_ended(1, 2)});
  EXPECT_THAT(stage.end_of(2), HasSubstr("not kept: what ended it came from outside ("));
}

TEST(Cache, AnEntryHasTheNameThatItWasGiven) {
  CacheStage stage;
  JobSpec spec = cached();
  spec.cache.key = "nightly";
  (void)stage.turn({stage.ask("a", spec)});
  (void)stage.turn({stage.done(1)});
  ASSERT_EQ(stage.entries().size(), 1u);
  EXPECT_EQ(stage.entries()[0].name, "nightly");
}

TEST(Cache, ClearForgetsWhatIsKeptAndWhatIsComputed) {
  CacheStage stage;
  (void)stage.turn({stage.ask("a")});
  (void)stage.turn({stage.done(1)});
  (void)stage.turn({stage.ask("b")});
  (void)stage.turn({stage.clear(1001)});
  EXPECT_EQ(stage.entries().size(), 1u) << "another user's stay";
  (void)stage.turn({stage.clear()});
  EXPECT_THAT(stage.entries(), IsEmpty());
  ASSERT_EQ(stage.history.back().caches_cleared.size(), 1u);
  EXPECT_EQ(stage.history.back().caches_cleared[0].removed, 1u);
  EXPECT_THAT(stage.keyed(), IsEmpty());
  (void)stage.turn({stage.ask("b")});
  (void)stage.turn({stage.done(2)});
  EXPECT_THAT(stage.end_of(2), HasSubstr("cleared meanwhile"));
  EXPECT_EQ(stage.end_of(3), "none") << "it does not wait for what began before";
  (void)stage.turn({stage.done(3)});
  EXPECT_EQ(stage.entries().size(), 1u);
}

TEST(Cache, WhoWaitedForWhatIsClearedRuns) {
  CacheStage stage(two_slots());
  (void)stage.turn({stage.ask("aaa")});
  (void)stage.turn({stage.clear()});
  EXPECT_EQ(stage.scheduler->awaits(JobId{2}), "") << "it leads now";
  (void)stage.turn({stage.done(1)});
  EXPECT_EQ(stage.end_of(2), "none");
  EXPECT_EQ(stage.end_of(3), "none");
  (void)stage.turn({stage.done(2)});
  EXPECT_THAT(stage.end_of(3), HasSubstr("SUCCEEDED from 2"));
  EXPECT_EQ(stage.entries().size(), 1u);
}

TEST(Cache, ARestartKnowsWhatIsKeptAndReadsIt) {
  CacheStage before;
  (void)before.turn({before.ask("a")});
  (void)before.turn({before.done(1)});
  StageSetup setup;
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.cache = before.entries();
  CacheStage stage(std::move(setup));
  (void)stage.finish();
  (void)stage.turn({stage.ask("aa")});
  EXPECT_THAT(stage.history.back().cache_reads, ElementsAre(JobId{1}));
  EXPECT_THAT(stage.scheduler->awaits(JobId{100}), HasSubstr("kept"));
  event::CacheRead read{
      {JobId{1}}, {std::make_shared<const CachedOutcome>(CachedOutcome{JobState::kSucceeded, nullptr, "result"})}};
  (void)stage.turn({read});
  EXPECT_EQ(stage.end_of(100), "SUCCEEDED from 1 (hit: job 1)");
  EXPECT_EQ(stage.end_of(101), "SUCCEEDED from 1 (hit: job 1)");
  (void)stage.turn({stage.ask("a")});
  EXPECT_EQ(stage.end_of(102), "SUCCEEDED from 1 (hit: job 1)") << "from memory now";
}

TEST(Cache, WhatIsLostOnDiskIsComputed) {
  CacheStage before;
  (void)before.turn({before.ask("a")});
  (void)before.turn({before.done(1)});
  StageSetup setup;
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.cache = before.entries();
  CacheStage stage(std::move(setup));
  (void)stage.finish();
  (void)stage.turn({stage.ask("aa")});
  const event::CacheRead gone{{JobId{1}}, {nullptr}};
  EXPECT_THAT(stage.turn({gone}), Contains(HasSubstr("offer 100.1")));
  (void)stage.turn({stage.done(100)});
  EXPECT_EQ(stage.end_of(101), "SUCCEEDED from 100 (joined: job 100)");
}

StoredJob stored(std::uint64_t id, char letter) {
  StoredJob job;
  job.id = JobId{id};
  job.spec = SpecId{1};
  job.owner = 1000;
  job.payload = SharedBytes::of("payload");
  job.cache_key = std::make_shared<const CacheKey>(CacheKey{1000, "work", "", std::string(32, letter)});
  return job;
}

TEST(Cache, AfterARestartWhoRunsLeadsAndTheOthersFollow) {
  StageSetup setup;
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.specs = {{SpecId{1}, cached()}};
  setup.snapshot.specs[0].spec.pool = "default";
  setup.snapshot.specs_until = 2;
  setup.snapshot.queues = {{QueueId{1}, "default"}};
  setup.snapshot.resident = {stored(7, 'a'), stored(8, 'a'), stored(9, 'b')};
  setup.live.jobs = {stored(8, 'a')};
  setup.live.specs = setup.snapshot.specs;
  CacheStage stage(std::move(setup));
  const Fence fence{JobId{8}, Epoch{1}, 1};
  (void)stage.turn({stage.adopt(1, fence)});
  EXPECT_THAT(stage.scheduler->awaits(JobId{7}), HasSubstr("waits for job 8"));
  (void)stage.turn(
      {event::Done{SlotId{1}, fence, event::DoneStatus::kSucceeded, false, stage.now.at, stage.now.at, "result"}});
  EXPECT_EQ(stage.end_of(7), "SUCCEEDED from 8 (joined: job 8)");
}

// Two that an earlier daemon had let run: one comes to nothing, and the worker of the other dies in the same turn.
TEST(Cache, AfterARestartOneThatIsToRunAgainLeads) {
  StageSetup setup;
  setup.pools = {{"default", false, 2}};
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.ids_reserved_until = 100;
  setup.snapshot.specs = {{SpecId{1}, cached()}};
  setup.snapshot.specs[0].spec.pool = "default";
  setup.snapshot.specs_until = 2;
  setup.snapshot.queues = {{QueueId{1}, "default"}};
  setup.snapshot.resident = {stored(7, 'a'), stored(8, 'a'), stored(9, 'a')};
  setup.live.jobs = {stored(7, 'a'), stored(8, 'a')};
  setup.live.specs = setup.snapshot.specs;
  CacheStage stage(std::move(setup));
  const Fence first{JobId{7}, Epoch{1}, 1};
  const Fence second{JobId{8}, Epoch{1}, 1};
  (void)stage.turn({stage.adopt(1, first), stage.adopt(2, second)});
  EXPECT_THAT(stage.scheduler->awaits(JobId{9}), HasSubstr("waits for job 7"));
  (void)stage.turn({stage.slot_ended(2, 8),
                    event::Done{SlotId{1}, first, event::DoneStatus::kFailed, true, stage.now.at, stage.now.at, "no"}});
  EXPECT_THAT(stage.scheduler->awaits(JobId{9}), HasSubstr("waits for job 8"));
  stage.scheduler->audit();
}

TEST(Cache, ManyFollowersAreAnsweredAFewATurn) {
  CacheStage stage;
  const auto count = static_cast<std::uint32_t>(limits::kCacheAnswersMax) + 10;
  (void)stage.turn({stage.ask(std::string(count, 'a'))});
  (void)stage.turn({stage.done(1)});
  EXPECT_EQ(stage.end_of(count), "none");
  EXPECT_LE(stage.scheduler->next_timer(), stage.now.at);
  (void)stage.pass(Duration(0));
  EXPECT_EQ(stage.end_of(count), "SUCCEEDED from 1 (joined: job 1)");
}

TEST(Cache, AFollowerTimesOutInItsQueue) {
  JobSpec spec = cached();
  spec.queue_timeout = seconds(1);
  CacheStage stage;
  (void)stage.turn({stage.ask("a")});
  stage.take(1, 1);
  (void)stage.turn({stage.ask("a", spec)});
  (void)stage.pass(seconds(2));
  EXPECT_EQ(stage.end_of(2), "TIMED_OUT");
  EXPECT_EQ(stage.end_of(1), "none");
}

TEST(Cache, APurgeCancelsFollowersToo) {
  CacheStage stage;
  (void)stage.turn({stage.ask("aa")});
  stage.take(1, 1);
  (void)stage.turn({event::PurgeQueue{++stage.token, {0}, "default"}});
  (void)stage.pass(seconds(1));
  EXPECT_EQ(stage.end_of(2), "CANCELLED");
}

CacheEntryRow entry(std::uint64_t job, char letter, std::uint64_t bytes, std::int64_t used_at) {
  return {JobId{job}, {1000, "work", "", std::string(32, letter)}, JobState::kSucceeded, bytes, 0, {1}, {}, {used_at}};
}

std::shared_ptr<const CachedOutcome> outcome(std::size_t bytes) {
  return std::make_shared<const CachedOutcome>(CachedOutcome{JobState::kSucceeded, nullptr, std::string(bytes, 'r')});
}

TEST(ResultCache, TheLeastRecentlyUsedGiveWay) {
  ResultCache cache({.bytes_max = 1000, .entries_max = 3}, {});
  cache.add(entry(1, 'a', 300, 1), outcome(10));
  cache.add(entry(2, 'b', 300, 2), outcome(10));
  cache.add(entry(3, 'c', 300, 3), outcome(10));
  cache.use(JobId{1}, {4});
  cache.add(entry(4, 'd', 300, 5), outcome(10));
  EXPECT_EQ(cache.find(JobId{2}), nullptr) << "three entries at most";
  EXPECT_NE(cache.find(JobId{1}), nullptr);
  cache.add(entry(5, 'e', 700, 6), outcome(10));
  EXPECT_EQ(cache.figures().entries, 2u);
  EXPECT_EQ(cache.figures().bytes, 1000u);
  EXPECT_EQ(cache.figures().evicted, 3u);
  EXPECT_NE(cache.refuses(1001), nullptr);
  EXPECT_EQ(cache.refuses(1000), nullptr);
  cache.audit();
}

TEST(ResultCache, CountsEachUsersEntries) {
  ResultCache cache({.bytes_max = 1000, .entries_max = 3}, {entry(1, 'a', 300, 9)});
  CacheEntryRow other = entry(2, 'a', 200, 5);
  other.key.owner = 1001;
  cache.add(other, outcome(10));
  EXPECT_EQ(cache.figures().entries, 2u);
  EXPECT_EQ(cache.figures(1000).entries, 1u);
  EXPECT_EQ(cache.figures(1001).bytes, 200u);
  EXPECT_EQ(cache.figures(1002).entries, 0u);
  EXPECT_EQ(cache.figures(1002).bytes, 0u);
  cache.remove(JobId{2});
  EXPECT_EQ(cache.figures(1001).entries, 0u);
  EXPECT_EQ(cache.figures(1000).entries, 1u);
}

TEST(ResultCache, SmallerBoundsCountFromTheStartOn) {
  ResultCache cache({.bytes_max = 1000, .entries_max = 1}, {entry(1, 'a', 300, 9), entry(2, 'b', 300, 2)});
  EXPECT_NE(cache.find(JobId{1}), nullptr);
  EXPECT_EQ(cache.find(JobId{2}), nullptr);
  Effects effects;
  EXPECT_FALSE(cache.step({10}, effects));
  EXPECT_THAT(effects.rows.cache_removed, ElementsAre(JobId{2}));
}

TEST(ResultCache, RowsLeaveTheDiskInSmallSteps) {
  std::vector<CacheEntryRow> rows;
  for (std::uint64_t job = 1; job <= limits::kCacheStepEntries + 5; ++job) {
    rows.push_back(entry(job, 'a', 10, 1));
    rows.back().key.digest = std::to_string(job);
  }
  ResultCache cache({}, std::move(rows));
  cache.clear({.token = 7, .who = {1000}, .every_task = true}, false);
  EXPECT_EQ(cache.figures().entries, 0u);
  Effects first;
  EXPECT_TRUE(cache.step({1}, first));
  EXPECT_EQ(first.rows.cache_removed.size(), limits::kCacheStepEntries);
  EXPECT_THAT(first.caches_cleared, IsEmpty()) << "not before the last is gone";
  Effects second;
  EXPECT_FALSE(cache.step({1}, second));
  ASSERT_EQ(second.caches_cleared.size(), 1u);
  EXPECT_EQ(second.caches_cleared[0].removed, limits::kCacheStepEntries + 5);
}

}  // namespace
}  // namespace futured
