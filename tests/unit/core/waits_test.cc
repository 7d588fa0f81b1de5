// Jobs whose tasks wait for other jobs: what they lend, how their waits end, and which waits are refused.
#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr Duration kGrowAfter(limits::kGrowAfterNs);

StageSetup pool_of(std::uint32_t slots, std::uint32_t spares, std::uint32_t slots_per_worker = 1,
                   std::uint32_t runs_per_slot = 1) {
  return {.pools = {{.name = "default",
                     .slots = slots,
                     .tasks = {},
                     .slots_per_worker = slots_per_worker,
                     .runs_per_slot = runs_per_slot,
                     .idle = seconds(10),
                     .spare_slots = spares}}};
}

// By a worker that has taken the job.
Event wait(const Stage& stage, std::uint64_t job, std::vector<std::uint64_t> jobs, std::uint32_t number = 1,
           bool lends_permits = false) {
  const auto live = stage.scheduler->live(JobId{job});
  event::Wait wait{live ? live->slot : SlotId{1},
                   {JobId{job}, live ? live->epoch : Epoch{1}, 1},
                   10 + number,
                   number,
                   lends_permits};
  if (live) wait.fence.attempt = live->attempt;
  for (const std::uint64_t target : jobs) wait.jobs.push_back(JobId{target});
  return wait;
}

Event give_up(const Stage& stage, std::uint64_t job, std::uint32_t number = 1) {
  const auto live = stage.scheduler->live(JobId{job});
  return event::WaitGivenUp{live->slot, {JobId{job}, live->epoch, live->attempt}, 99, number};
}

// What the store says of a wait's jobs that are not resident.
Event read(const Stage& stage, std::uint64_t job, std::vector<std::uint64_t> ended, std::uint32_t number = 1) {
  const auto live = stage.scheduler->live(JobId{job});
  event::WaitRead read{live->slot, {JobId{job}, live->epoch, live->attempt}, 10 + number, number};
  for (const std::uint64_t target : ended) read.ended.push_back(JobId{target});
  return read;
}

std::vector<JobId> waits_for(const Stage& stage, std::uint64_t job) {
  return stage.scheduler->live(JobId{job})->waits_for;
}

// Lines about waits and workers alone.
Lines about(const Lines& lines, std::string_view word) {
  Lines found;
  for (const std::string& line : lines) {
    if (line.starts_with(word)) found.push_back(line);
  }
  return found;
}

TEST(Waits, APoolOfOneDoesNotStarveItself) {
  Stage stage(pool_of(1, 4));
  stage.turn({stage.submit()});
  stage.take(1, 1);
  EXPECT_THAT(about(stage.turn({stage.submit()}), "offer"), ElementsAre("offer 2.1 slot 1")) << "behind it, ahead";
  // It gives its slot up: what lay behind it comes back, and another worker stands in.
  const Lines waits = stage.turn({wait(stage, 1, {2})});
  EXPECT_THAT(waits, Contains("open 1"));
  EXPECT_THAT(waits, Contains("revoke 2.1 slot 1"));
  EXPECT_THAT(waits_for(stage, 1), ElementsAre(JobId{2}));
  stage.turn({stage.revoked(2, true)});
  EXPECT_THAT(stage.pass(kGrowAfter), Contains("start slot 2"));
  EXPECT_THAT(stage.turn({stage.slot_ready(2)}), Contains("offer 2.1 slot 2"));
  stage.take(2, 2);
  EXPECT_THAT(stage.turn({stage.done(2)}), Contains("nudge 1"));
  EXPECT_THAT(waits_for(stage, 1), IsEmpty());
  // It asks again, and the store knows.
  EXPECT_THAT(stage.turn({wait(stage, 1, {2})}), Contains("read 1 2"));
  EXPECT_THAT(stage.turn({read(stage, 1, {2})}), Contains("over 1"));
  stage.turn({stage.done(1)});
  ASSERT_NE(stage.ending(1), nullptr);
  // The stand-in goes when it has been idle for long enough, and the pool is of its size again.
  EXPECT_THAT(about(stage.pass(seconds(30)), "kill"), ElementsAre("kill slot 2"));
  stage.turn({stage.slot_ended(2)});
  EXPECT_THAT(stage.turn({stage.submit()}), Contains("offer 3.1 slot 1"));
}

TEST(Waits, NothingNewBeginsUntilThePoolIsWithinItsSizeAgain) {
  Stage stage(pool_of(1, 4));
  stage.turn({stage.submit()});
  stage.take(1, 1);
  stage.turn({stage.submit(Stage::work(), 3)});
  stage.turn({wait(stage, 1, {2})});
  stage.turn({stage.revoked(2, true)});
  stage.pass(kGrowAfter);
  EXPECT_THAT(about(stage.turn({stage.slot_ready(2)}), "offer"), ElementsAre("offer 2.1 slot 2", "offer 3.1 slot 2"));
  stage.take(2, 2);
  // 2 has ended: 1 has its slot again. What lies in the stand-in's ring is run, and nothing follows it.
  EXPECT_THAT(about(stage.turn({stage.done(2)}), "offer"), IsEmpty());
  EXPECT_THAT(about(stage.turn({stage.done(3)}), "offer"), IsEmpty()) << "although a worker has nothing to do";
  EXPECT_THAT(about(stage.turn({stage.done(1)}), "offer"), testing::SizeIs(1));
}

TEST(Waits, OfEachOtherAreRefusedWithTheCycle) {
  Stage stage(pool_of(4, 8));
  stage.turn({stage.submit(Stage::work(), 3)});
  for (std::uint32_t job = 1; job <= 3; ++job) stage.take(job, job);
  EXPECT_THAT(stage.turn({wait(stage, 1, {2})}), Contains("open 1"));
  EXPECT_THAT(stage.turn({wait(stage, 2, {3})}), Contains("open 2"));
  EXPECT_THAT(stage.turn({wait(stage, 3, {1})}),
              Contains("no wait 3: the wait would never end: job 3 -> job 1 -> job 2 -> job 3"));
  EXPECT_THAT(stage.turn({wait(stage, 3, {3})}), Contains("no wait 3: the wait would never end: job 3 -> job 3"));
  EXPECT_THAT(waits_for(stage, 3), IsEmpty()) << "it goes on";
  EXPECT_THAT(stage.turn({stage.done(3)}), Contains("nudge 2"));
}

TEST(Waits, OfWhatIsNotThereOrAnothersAreRefused) {
  Stage stage(pool_of(2, 4));
  auto others = std::get<event::Submit>(stage.submit());
  others.who = {1001};
  stage.turn({stage.submit(), others});
  EXPECT_THAT(stage.turn({wait(stage, 1, {2})}), Contains("no wait 1: job 2 belongs to user 1001"));
  EXPECT_THAT(stage.turn({wait(stage, 1, {77})}), Contains("no wait 1: no job 77"));
  EXPECT_THAT(stage.turn({wait(stage, 1, {0})}), Contains("no wait 1: no job 0"));
  EXPECT_THAT(stage.turn({wait(stage, 1, {})}), Contains("over 1")) << "there is nothing to wait for";
  stage.turn({stage.done(1)});
  EXPECT_THAT(stage.turn({wait(stage, 1, {2})}), Contains("no wait 1: job 1: attempt 1 is over"));
}

TEST(Waits, AreRefusedWhenNoStandInIsLeft) {
  Stage stage(pool_of(3, 1));
  stage.turn({stage.submit(Stage::work(), 3)});
  EXPECT_THAT(stage.turn({wait(stage, 1, {3})}), Contains("open 1"));
  EXPECT_THAT(stage.turn({wait(stage, 2, {3})}),
              Contains(HasSubstr("no wait 2: pool \"default\" has 1 jobs that wait for others, and may have no more")));
  EXPECT_THAT(waits_for(stage, 2), IsEmpty());
  stage.turn({stage.done(3)});
  stage.turn({stage.submit()});
  EXPECT_THAT(stage.turn({wait(stage, 2, {4})}), Contains("open 2")) << "there is one again";
}

TEST(Waits, LendTheirPlaceUnderTheLimitsOfTheQueueAndPermitsOnlyWhenTold) {
  Stage stage(pool_of(4, 8));
  QueueOptions options;
  options.concurrency_max = 1;
  stage.turn({event::PutQueue{++stage.token, "one", Discipline::kFifo, {}, options},
              event::PutSemaphore{++stage.token, "gpu", 1}});
  JobSpec limited = Stage::in_queue("one");
  JobSpec needy = limited;
  needy.needs = {{"gpu", 1}};
  stage.turn({stage.submit(needy)});
  EXPECT_THAT(about(stage.turn({stage.submit(limited), stage.submit(needy)}), "offer"), IsEmpty());
  EXPECT_THAT(stage.turn({wait(stage, 1, {2})}), Contains(HasSubstr("offer 2.1")));
  EXPECT_THAT(about(stage.turn({stage.done(2)}), "offer"), IsEmpty()) << "1 is counted again";
  EXPECT_THAT(about(stage.turn({wait(stage, 1, {3})}), "offer"), IsEmpty()) << "its permit is not lent";
  EXPECT_THAT(stage.turn({wait(stage, 1, {3}, 1, /*lends_permits=*/true)}), Contains(HasSubstr("offer 3.1")));
  // Both have it now. It goes back only with the end of both.
  stage.turn({stage.done(3)});
  EXPECT_EQ(stage.scheduler->semaphores().front().held, 1u);
  stage.turn({stage.done(1)});
  EXPECT_EQ(stage.scheduler->semaphores().front().held, 0u);
}

TEST(Waits, EndWithAStopOrWithTheWorker) {
  Stage stage(pool_of(2, 4));
  stage.turn({stage.submit(Stage::work(), 2)});
  stage.turn({wait(stage, 1, {2})});
  stage.turn({stage.cancel(1)});
  EXPECT_THAT(waits_for(stage, 1), IsEmpty());
  EXPECT_THAT(stage.turn({wait(stage, 1, {2})}), Contains(HasSubstr("no wait 1: job 1 is being stopped")));
  stage.turn({stage.slot_ended(1, 1)});
  EXPECT_EQ(stage.ending(1)->state, JobState::kCancelled);
  stage.turn({stage.slot_ready(1)});
  stage.turn({stage.submit()});
  stage.turn({wait(stage, 3, {2})});
  stage.turn({stage.slot_ended(1, 3)});
  EXPECT_THAT(about(stage.turn({stage.done(2)}), "nudge"), IsEmpty()) << "nobody waits for it";
}

TEST(Waits, AreGivenUp) {
  Stage stage(pool_of(2, 4));
  stage.turn({stage.submit(Stage::work(), 2)});
  stage.turn({wait(stage, 1, {2})});
  EXPECT_THAT(stage.turn({give_up(stage, 1)}), ElementsAre("over 1"));
  EXPECT_THAT(waits_for(stage, 1), IsEmpty());
  EXPECT_THAT(stage.turn({stage.done(2)}), Not(Contains("nudge 1")));
}

TEST(Waits, OfOneRunAreCountedApart) {
  Stage stage(pool_of(3, 8));
  stage.turn({stage.submit(Stage::work(), 3)});
  EXPECT_THAT(stage.turn({wait(stage, 1, {2}, 1), wait(stage, 1, {2, 3}, 2)}), ElementsAre("open 1", "open 1"));
  EXPECT_THAT(waits_for(stage, 1), ElementsAre(JobId{2}, JobId{3}));
  EXPECT_THAT(stage.turn({stage.done(2)}), Contains("nudge 1"));
  EXPECT_THAT(waits_for(stage, 1), ElementsAre(JobId{3})) << "the other one goes on";
  EXPECT_THAT(stage.turn({stage.done(3)}), Contains("nudge 1"));
}

TEST(Waits, OfOneRunAreBounded) {
  Stage stage(pool_of(2, 4));
  stage.turn({stage.submit(), stage.submit(Stage::work(), limits::kWaitJobsMax + 1)});
  std::vector<std::uint64_t> most;
  for (std::uint64_t job = 2; job < 2 + limits::kWaitJobsMax; ++job) most.push_back(job);
  EXPECT_THAT(stage.turn({wait(stage, 1, most)}), testing::AnyOf(Contains("open 1"), Contains(HasSubstr("read 1"))));
  EXPECT_THAT(stage.turn({wait(stage, 1, {most.back() + 1}, 2)}),
              Contains(HasSubstr("no wait 1: job 1 would wait for 1001 jobs at once: at most 1000")));
  EXPECT_THAT(stage.turn({wait(stage, 1, {3})}), Contains("open 1")) << "the same wait, of fewer";
  std::vector<Event> many;
  for (std::uint32_t number = 2; number <= limits::kWaitsPerRunMax; ++number) {
    many.push_back(wait(stage, 1, {3}, number));
  }
  stage.turn(many);
  EXPECT_THAT(stage.turn({wait(stage, 1, {3}, 1000)}), Contains(HasSubstr("no wait 1: job 1 waits 64 times at once")));
}

TEST(Waits, WhatTheStoreKnowsIsAskedBehindTheCommit) {
  Stage stage(pool_of(2, 4));
  stage.turn({stage.submit(Stage::work(), 2)});
  stage.turn({stage.done(2)});
  EXPECT_THAT(stage.turn({wait(stage, 1, {2})}), ElementsAre("read 1 2"));
  auto wrong = std::get<event::WaitRead>(read(stage, 1, {}));
  wrong.wrong = Error{ErrorCode::kNotFound, "no job 2"};
  EXPECT_THAT(stage.turn({wrong}), ElementsAre("no wait 1: no job 2"));
  EXPECT_THAT(stage.turn({read(stage, 1, {2})}), ElementsAre("no wait 1: job 1 waits no more"));
}

TEST(Waits, ASilentWaitIsNoMissingHeartbeat) {
  Stage stage(pool_of(2, 4));
  JobSpec spec = Stage::work();
  spec.heartbeat_timeout = seconds(2);
  stage.turn({stage.submit(spec), stage.submit()});
  stage.turn({wait(stage, 1, {2})});
  stage.pass(seconds(20));
  EXPECT_THAT(waits_for(stage, 1), ElementsAre(JobId{2}));
  stage.turn({stage.done(2)});
  EXPECT_THAT(stage.pass(seconds(5)), Contains("kill slot 1")) << "from now on it counts";
}

TEST(Waits, ThreadsAndLoopsLendWholeWorkers) {
  Stage threads(pool_of(2, 4, 2));
  threads.turn({threads.submit(Stage::work(), 2)});
  threads.turn({threads.submit()});
  threads.turn({wait(threads, 1, {3}), wait(threads, 2, {3})});
  if (threads.scheduler->live(JobId{3})->slot.is_set()) threads.turn({threads.revoked(3, true)});
  EXPECT_THAT(threads.pass(kGrowAfter), testing::IsSupersetOf({"start slot 3", "start slot 4"}));
  EXPECT_THAT(threads.turn({threads.slot_ready(3), threads.slot_ready(4)}), Contains(HasSubstr("offer 3.1")));

  Stage loops(pool_of(1, 2, 1, 2));
  loops.turn({loops.submit(Stage::work(), 3)});
  loops.turn({wait(loops, 1, {3}), wait(loops, 2, {3})});
  EXPECT_THAT(loops.pass(kGrowAfter), Contains("start slot 2"));
  EXPECT_THAT(loops.turn({loops.slot_ready(2)}), Contains("offer 3.1 slot 2"));
}

}  // namespace
}  // namespace futured
