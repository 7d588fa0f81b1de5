#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::size_t kPayload = 100;
constexpr std::uint32_t kFew = limits::kWindowJobsPerQueueMin;

// A window so small that each queue keeps only its minimum.
StageSetup small_window(bool workers_ready = true) {
  StageSetup setup;
  setup.window_bytes = 1;
  setup.workers_ready = workers_ready;
  setup.queues = {{"stack", Discipline::kLifo}, {"urgent", Discipline::kPriority}};
  return setup;
}

JobSpec urgent(std::int32_t priority) {
  JobSpec spec = Stage::in_queue("urgent");
  spec.priority = priority;
  return spec;
}

// What a store that committed every turn of the stage answers.
event::Claimed answer(const Stage& stage, const Claim& claim) {
  std::map<OrderKey, JobId> backlog;
  std::map<JobId, const JobRow*> jobs;
  event::Claimed claimed{{claim, {}, {}}};
  for (const Effects& turn : stage.history) {
    for (const SpecRow& row : turn.rows.specs) claimed.answer.specs.push_back(row);
    for (const JobRow& row : turn.rows.jobs) jobs[row.id] = &row;
    for (const BacklogKey& row : turn.rows.backlog_added) {
      if (row.queue == claim.queue) backlog[row.key] = job_of(row.key);
    }
    for (const BacklogKey& row : turn.rows.backlog_removed) {
      if (row.queue == claim.queue) backlog.erase(row.key);
    }
  }
  std::uint64_t bytes = 0;
  for (const auto& [key, id] : backlog) {
    if (claim.after && key <= *claim.after) continue;
    if (claimed.answer.jobs.size() == claim.jobs_max || bytes > claim.bytes_max) break;
    const JobRow& row = *jobs.at(id);
    bytes += row.payload.size;
    claimed.answer.jobs.push_back({key,
                                   {.id = id,
                                    .spec = row.spec,
                                    .owner = row.owner,
                                    .submitted_at = row.submitted_at,
                                    .payload = row.payload,
                                    .in_backlog = true}});
  }
  return claimed;
}

// Takes the one claim that is under way.
Claim take_claim(Stage& stage) {
  EXPECT_EQ(stage.claims.size(), 1u);
  const Claim claim = stage.claims.at(0);
  stage.claims.clear();
  return claim;
}

// Runs everything to its end; claims are answered after each turn. Ids in the order of their first offer.
std::vector<std::uint64_t> drain(Stage& stage) {
  std::vector<std::uint64_t> order;
  std::size_t seen = stage.history.size();
  for (const Effects& turn : stage.history) {
    for (const auto& offer : turn.offers) {
      const auto live = stage.scheduler->live(offer.fence.job);
      if (live && live->slot.is_set() && live->attempt == offer.fence.attempt) order.push_back(live->id.value);
    }
  }
  std::size_t done = 0;
  stage.turn();
  for (int turns = 0; turns < 100'000; ++turns) {
    for (; seen < stage.history.size(); ++seen) {
      for (const auto& offer : stage.history[seen].offers) order.push_back(offer.fence.job.value);
    }
    std::vector<Event> events;
    if (done < order.size()) events.push_back(stage.done(order[done++]));
    for (const Claim& claim : std::exchange(stage.claims, {})) events.push_back(answer(stage, claim));
    if (events.empty()) break;
    stage.turn(std::move(events));
  }
  return order;
}

std::vector<std::uint64_t> ids(std::uint64_t from, std::uint64_t to) {
  std::vector<std::uint64_t> list;
  for (std::uint64_t id = from; id <= to; ++id) list.push_back(id);
  return list;
}

TEST(Window, WhatDoesNotFitGoesToDiskOnly) {
  Stage stage(small_window(false));
  stage.step(event::PoolReady{stage.scheduler->pool_named("default"), {"work"}});
  stage.turn({stage.submit(Stage::work(), 10 * kFew, kPayload)});
  EXPECT_EQ(stage.scheduler->resident_jobs(), kFew);
  EXPECT_EQ(stage.scheduler->lanes()[0].queued, 10u * kFew);
  EXPECT_EQ(stage.history.back().rows.backlog_added.size(), 9u * kFew);
}

TEST(Window, FifoKeepsItsOrderOverTheDisk) {
  Stage stage(small_window());
  stage.step(stage.submit(Stage::work(), 10 * kFew, kPayload));
  EXPECT_EQ(drain(stage), ids(1, 10 * kFew));
  EXPECT_TRUE(stage.scheduler->idle());
}

TEST(Window, LifoKeepsItsOrderOverTheDisk) {
  Stage stage(small_window());
  for (int i = 0; i < 10; ++i) stage.step(stage.submit(Stage::in_queue("stack"), kFew, kPayload));
  auto expected = ids(1, 10 * kFew);
  std::ranges::reverse(expected);
  EXPECT_EQ(drain(stage), expected);
  EXPECT_TRUE(stage.scheduler->idle());
}

TEST(Window, PriorityKeepsItsOrderOverTheDisk) {
  Stage stage(small_window());
  for (int i = 0; i < 5; ++i) {
    stage.step(stage.submit(urgent(0), kFew, kPayload));
    stage.step(stage.submit(urgent(5), kFew, kPayload));
  }
  const auto order = drain(stage);
  ASSERT_EQ(order.size(), 10u * kFew);
  const auto key = [](std::uint64_t id) { return std::pair((id - 1) / kFew % 2 == 0, id); };
  EXPECT_TRUE(std::ranges::is_sorted(order, {}, key));
  EXPECT_TRUE(stage.scheduler->idle());
}

TEST(Window, SomethingUrgentSpillsTheLast) {
  Stage stage(small_window(false));
  stage.step(event::PoolReady{stage.scheduler->pool_named("default"), {"work"}});
  stage.turn({stage.submit(urgent(0), kFew + 1, kPayload)});
  EXPECT_THAT(told(stage.history.back().rows), testing::Contains("backlog + 65"));
  stage.turn({stage.submit(urgent(9), 1, kPayload)});
  EXPECT_THAT(stage.rows(), testing::Contains("backlog + 64"));
  EXPECT_EQ(stage.scheduler->resident_jobs(), kFew);
}

TEST(Window, AClaimIsOverruledByWhatWasSpilledMeanwhile) {
  Stage stage(small_window());
  stage.turn({stage.submit(urgent(0), 3 * kFew, kPayload)});
  stage.turn({stage.done(1)});
  ASSERT_EQ(stage.claims.size(), 1u);
  const Claim claim = take_claim(stage);
  const event::Claimed early = answer(stage, claim);  // read now, heard of later
  stage.turn({stage.submit(urgent(9), 2 * kFew, kPayload)});
  EXPECT_THAT(stage.claims, IsEmpty()) << "one claim at a time";
  stage.turn({early});
  const auto order = drain(stage);
  std::vector<std::uint64_t> urgent_ones;
  std::ranges::copy_if(order, std::back_inserter(urgent_ones), [](auto id) { return id > 3 * kFew; });
  EXPECT_EQ(urgent_ones, ids(3 * kFew + 1, 5 * kFew));
  const auto last_urgent = std::ranges::find(order, 5u * kFew) - order.begin();
  const auto last_plain = std::ranges::find(order, 3u * kFew) - order.begin();
  EXPECT_LT(last_urgent, last_plain);
  EXPECT_TRUE(stage.scheduler->idle());
}

TEST(Window, AJobCancelledOnDiskIsNotBroughtInByAClaim) {
  Stage stage(small_window());
  stage.turn({stage.submit(Stage::work(), 2 * kFew, kPayload)});
  stage.turn({stage.done(1)});
  const Claim claim = take_claim(stage);
  const event::Claimed early = answer(stage, claim);
  stage.turn({stage.cancel(kFew + 5)});
  event::Loaded loaded;
  loaded.asked = {JobId{kFew + 5}};
  for (const ClaimedJob& job : early.answer.jobs) {
    if (job.job.id == loaded.asked[0]) loaded.answer.jobs.push_back(job.job);
  }
  loaded.answer.specs = early.answer.specs;
  EXPECT_THAT(stage.turn({loaded}), testing::Contains(testing::StartsWith("cancelled 2: 69 CANCELLED")));
  stage.turn({early});
  const auto order = drain(stage);
  EXPECT_EQ(std::ranges::count(order, kFew + 5), 0);
  EXPECT_TRUE(stage.scheduler->idle());
}

TEST(Window, AResumedQueueFetchesItsBacklog) {
  Stage stage(small_window());
  stage.turn({event::PutQueue{100, "default", {}, true}});
  stage.turn({stage.submit(Stage::work(), 2 * kFew, kPayload)});
  for (std::uint64_t job = 1; job <= kFew; ++job) stage.turn({stage.cancel(job)});
  EXPECT_THAT(stage.claims, IsEmpty()) << "nothing would run them";
  stage.turn({event::PutQueue{101, "default", {}, false}});
  EXPECT_EQ(stage.claims.size(), 1u);
  EXPECT_EQ(drain(stage).size(), kFew);
}

TEST(Window, ARetryBeyondTheWindowLosesNothing) {
  Stage stage(small_window());
  JobSpec spec = urgent(0);
  spec.max_attempts = 2;
  stage.step(stage.submit(spec, 4, kPayload));
  stage.turn();  // offers 1 and 2
  // More urgent jobs fill the window; the first of them push out what waits, then one another.
  stage.turn({stage.submit(urgent(9), 2 * kFew, kPayload)});
  stage.turn({stage.failed(1), stage.failed(2)});
  stage.turn({stage.submit(urgent(20), 2 * kFew, kPayload)});
  stage.turn({stage.submit(urgent(30), kFew, kPayload)});
  const auto order = drain(stage);
  EXPECT_TRUE(stage.scheduler->idle());
  EXPECT_EQ(std::set(order.begin(), order.end()).size(), 4u + 5u * kFew);
}

TEST(Window, AnAtMostOnceJobThatCameBackIsNotGivenUpForBeingSpilled) {
  Stage stage(small_window());
  JobSpec spec = urgent(0);
  spec.at_most_once = true;
  stage.turn({stage.submit(spec, 1, kPayload)});
  stage.turn({stage.slot_ended(1)});
  stage.turn({stage.submit(urgent(9), 2 * kFew, kPayload)});
  EXPECT_TRUE(stage.scheduler->live(JobId{1})) << "a claim could not tell it from one that was lost";
}

TEST(Window, StaysWithinItsBoundWhileItDrains) {
  StageSetup setup;
  setup.window_bytes = 100 * 1024;
  Stage stage(std::move(setup));
  std::size_t most = 0;
  stage.step(stage.submit(Stage::work(), 5000, kPayload));
  stage.turn();
  std::uint64_t next = 1;
  for (int i = 0; i < 6000 && !stage.scheduler->idle(); ++i) {
    std::vector<Event> events{stage.done(next++)};
    for (const Claim& claim : std::exchange(stage.claims, {})) events.push_back(answer(stage, claim));
    stage.turn(std::move(events));
    most = std::max(most, stage.scheduler->window_bytes());
  }
  EXPECT_TRUE(stage.scheduler->idle());
  EXPECT_LE(most, 120u * 1024);
}

}  // namespace
}  // namespace futured
