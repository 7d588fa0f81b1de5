#include <gmock/gmock.h>

#include <map>

#include "daemon/store/store.h"
#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

CallbackSpec webhook(std::uint32_t lane = 1, CompletionCondition condition = CompletionCondition::kEnded) {
  CallbackSpec spec;
  spec.address = "http://example.org/";
  spec.lane = lane;
  spec.condition = condition;
  return spec;
}

JobSpec with(std::vector<CallbackSpec> callbacks) {
  JobSpec spec = Stage::work();
  spec.callbacks = encode_callbacks(callbacks);
  return spec;
}

Event told_ok(std::uint64_t id) { return event::Delivered{CallbackId{id}, true, {}, {}}; }
Event told_no(std::uint64_t id, DeliveryRetries retries = {}) {
  return event::Delivered{CallbackId{id}, false, "refused", retries};
}

// The lines of what goes out to receivers, or asks for it.
Lines deliveries(const Lines& lines) {
  Lines found;
  for (const std::string& line : lines) {
    if (line.starts_with("deliver") || line.starts_with("claim lane")) found.push_back(line);
  }
  return found;
}

// The last row of each delivery.
std::map<std::uint64_t, DeliveryRow> rows(const Stage& stage) {
  std::map<std::uint64_t, DeliveryRow> all;
  for (const Effects& turn : stage.history) {
    for (const DeliveryRow& row : turn.rows.deliveries) all[row.id.value] = row;
  }
  return all;
}

// What the store would answer.
Event claimed(const Stage& stage, std::uint32_t lane, std::uint32_t rows_max = 1000) {
  DeliveryClaimAnswer answer{{lane, rows_max}, {}};
  for (const auto& [id, row] : rows(stage)) {
    if (row.lane == lane && row.state == DeliveryState::kDelivering) answer.rows.push_back(row);
  }
  std::ranges::sort(answer.rows, {}, [](const DeliveryRow& row) { return std::pair(row.at, row.id); });
  if (answer.rows.size() > rows_max) answer.rows.resize(rows_max);
  return event::DeliveriesClaimed{std::move(answer)};
}

TEST(Callbacks, EncodedAndDecodedAreTheSame) {
  CallbackSpec spec = webhook(5, CompletionCondition::kNotSucceeded);
  spec.target = CallbackTarget::kFollowUp;
  spec.whole_batch = true;
  spec.retries = {3, seconds(7), 1.5, hours(2), 0.25};
  spec.timeout = seconds(3);
  spec.credential = "secret";
  spec.headers = {{"A", "1"}, {"B", ""}};
  spec.body = std::string("a\0b", 3);
  spec.queue = "q";
  spec.pool = "p";
  spec.task = "t";
  spec.priority = -7;
  const std::string encoded = encode_callbacks({spec, webhook()});
  const auto decoded = decode_callbacks(encoded);
  ASSERT_TRUE(decoded.ok());
  EXPECT_THAT(*decoded, ElementsAre(spec, webhook()));
  EXPECT_TRUE(decode_callbacks("")->empty());
  for (std::size_t cut = 1; cut < encoded.size(); ++cut) {
    const auto damaged = decode_callbacks(std::string_view(encoded).substr(0, cut));
    EXPECT_TRUE(!damaged.ok() || damaged->size() < 2) << cut;
  }
}

TEST(Callbacks, ADeliveryIsRecordedWithTheEndAndLeavesAfterIt) {
  Stage stage;
  stage.turn({stage.submit(with({webhook()}))});
  EXPECT_THAT(deliveries(stage.turn({stage.done(1)})), ElementsAre("deliver 32 attempt 1"));
  const Effects& turn = stage.history.back();
  ASSERT_EQ(turn.rows.outcomes.size(), 1u);
  ASSERT_EQ(turn.rows.deliveries.size(), 1u);
  EXPECT_EQ(turn.rows.deliveries[0].state, DeliveryState::kDelivering);
  EXPECT_EQ(turn.rows.deliveries[0].job, JobId{1});
  stage.turn({told_ok(32)});
  EXPECT_EQ(rows(stage)[32].state, DeliveryState::kDelivered);
  EXPECT_FALSE(stage.scheduler->owes_callbacks());
}

TEST(Callbacks, AJobWithoutThemWritesNothingOfThem) {
  Stage stage;
  stage.turn({stage.submit()});
  stage.turn({stage.done(1)});
  EXPECT_TRUE(rows(stage).empty());
}

TEST(Callbacks, TheConditionDecides) {
  Stage stage;
  const JobSpec spec = with({webhook(1, CompletionCondition::kSucceeded),
                             webhook(2, CompletionCondition::kNotSucceeded), webhook(3, CompletionCondition::kEnded)});
  stage.turn({stage.submit(spec)});
  EXPECT_THAT(deliveries(stage.turn({stage.done(1)})), ElementsAre("deliver 32 attempt 1", "deliver 36 attempt 1"));
  stage.turn({stage.submit(spec)});
  EXPECT_THAT(deliveries(stage.turn({stage.failed(2)})), ElementsAre("deliver 66 attempt 1", "deliver 68 attempt 1"));
}

TEST(Callbacks, OfOneSubmitToOneReceiverKeepTheirOrder) {
  Stage stage;
  stage.turn({stage.submit(with({webhook(), webhook(2), webhook(), webhook()}))});
  EXPECT_THAT(deliveries(stage.turn({stage.done(1)})), ElementsAre("deliver 32 attempt 1", "deliver 34 attempt 1"));
  EXPECT_EQ(rows(stage)[36].state, DeliveryState::kBehind);
  EXPECT_THAT(deliveries(stage.turn({told_no(32)})), IsEmpty()) << "it is tried again first";
  EXPECT_THAT(deliveries(stage.pass(seconds(3))), ElementsAre("claim lane 1"));
  EXPECT_THAT(deliveries(stage.turn({claimed(stage, 1)})), ElementsAre("deliver 32 attempt 2"));
  EXPECT_THAT(deliveries(stage.turn({told_ok(32)})), ElementsAre("deliver 36 attempt 1"));
  EXPECT_THAT(deliveries(stage.turn({told_ok(36)})), ElementsAre("deliver 38 attempt 1"));
  stage.turn({told_ok(38), told_ok(34)});
  EXPECT_FALSE(stage.scheduler->owes_callbacks());
}

TEST(Callbacks, AFailedDeliveryIsTriedAgainAndAtLastListedAsFailed) {
  Stage stage;
  const DeliveryRetries twice{2, seconds(2), 2, hours(1), 0};
  stage.turn({stage.submit(with({webhook()}))});
  stage.turn({stage.done(1)});
  stage.turn({told_no(32, twice)});
  const DeliveryRow row = rows(stage)[32];
  EXPECT_EQ(row.state, DeliveryState::kDelivering);
  EXPECT_EQ(row.at, stage.now.wall + seconds(2));
  EXPECT_EQ(row.error, "refused");
  EXPECT_THAT(stage.pass(std::chrono::milliseconds(1999)), IsEmpty());
  EXPECT_THAT(deliveries(stage.pass(std::chrono::milliseconds(1))), ElementsAre("claim lane 1"));
  EXPECT_THAT(deliveries(stage.turn({claimed(stage, 1)})), ElementsAre("deliver 32 attempt 2"));
  stage.turn({told_no(32, twice)});
  EXPECT_EQ(rows(stage)[32].state, DeliveryState::kFailed);
  EXPECT_EQ(rows(stage)[32].attempts, 2u);
  EXPECT_FALSE(stage.scheduler->owes_callbacks());

  const Lines again = stage.turn({event::Replay{9, {{CallbackId{32}, JobId{1}, 1}}}});
  EXPECT_THAT(again, Contains("replayed 9: 1"));
  EXPECT_THAT(again, Contains("deliver 32 attempt 1"));
}

TEST(Callbacks, ADeadReceiverHoldsUpNobodyElse) {
  Stage stage;
  stage.turn({stage.submit(with({webhook(1)}), 200)});
  for (std::uint64_t job = 1; job <= 200; ++job) stage.turn({stage.done(job)});
  std::size_t sent = 0;
  for (const Effects& turn : stage.history) sent += turn.deliveries.size();
  EXPECT_EQ(sent, limits::kDeliveriesPerLaneMax);
  stage.turn({stage.submit(with({webhook(2)}))});
  EXPECT_THAT(deliveries(stage.turn({stage.done(201)})), ElementsAre("deliver 6432 attempt 1"));
}

TEST(Callbacks, WhatIsNotInHandComesFromTheStoreInPieces) {
  Stage stage;
  stage.turn({stage.submit(with({webhook()}), 200)});
  for (std::uint64_t job = 1; job <= 200; ++job) stage.turn({stage.done(job)});
  std::map<std::uint64_t, int> told;
  std::deque<std::uint64_t> under_way;
  std::size_t seen = 0;
  std::size_t claims = 0;
  const auto look = [&] {
    for (; seen < stage.history.size(); ++seen) {
      for (const effect::Deliver& deliver : stage.history[seen].deliveries) {
        ++told[deliver.id.value];
        under_way.push_back(deliver.id.value);
      }
      claims += stage.history[seen].delivery_claims.size();
    }
  };
  look();
  std::size_t answered = 0;
  while (!under_way.empty()) {
    const std::uint64_t id = under_way.front();
    under_way.pop_front();
    stage.turn({told_ok(id)});
    look();
    for (; answered < claims; ++answered) {
      stage.turn({claimed(stage, 1, 72)});
      look();
    }
  }
  EXPECT_EQ(told.size(), 200u);
  for (const auto& [id, times] : told) EXPECT_EQ(times, 1) << id;
  EXPECT_FALSE(stage.scheduler->owes_callbacks());
}

TEST(Callbacks, ANewDaemonTakesUpWhatIsDue) {
  StageSetup setup;
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.deliveries = {{3, WallTime{1}}};
  Stage stage(std::move(setup));
  EXPECT_THAT(deliveries(stage.pass(seconds(0))), ElementsAre("claim lane 3"));
  const DeliveryRow row{CallbackId{64}, JobId{2}, 3, DeliveryState::kDelivering, 4, WallTime{1}, {}, ""};
  EXPECT_THAT(deliveries(stage.turn({event::DeliveriesClaimed{{{3, 64}, {row}}}})),
              ElementsAre("deliver 64 attempt 5"));
}

TEST(Callbacks, ThoseRegisteredLaterAreDeliveredAtTheEndOrAtOnce) {
  Stage stage;
  const auto ask = [&](std::uint64_t job, std::uint32_t uid = 1000) {
    return event::Register{++stage.token, {uid}, JobId{job}, 0, encode_callbacks({webhook()}), terms_of(webhook())};
  };
  stage.turn({stage.submit()});
  EXPECT_THAT(stage.turn({ask(1)}), ElementsAre("registered 2: 3"));
  EXPECT_EQ(rows(stage)[3].state, DeliveryState::kWaiting);
  EXPECT_THAT(deliveries(stage.turn({stage.done(1)})), ElementsAre("deliver 3 attempt 1"));
  stage.turn({told_ok(3)});

  EXPECT_THAT(stage.turn({ask(1)}), ElementsAre("load 1"));
  StoredJob job{.id = JobId{1}, .spec = SpecId{1}, .owner = 1000};
  job.state = JobState::kFailed;
  const Lines lines = stage.turn({event::Loaded{{JobId{1}}, {{job}, {}}}});
  EXPECT_THAT(lines, ElementsAre("registered 3: 5", "deliver 5 attempt 1"));

  EXPECT_THAT(stage.turn({ask(999'999'999)}), ElementsAre(HasSubstr("no job 999999999")));
  stage.turn({stage.submit()});
  EXPECT_THAT(stage.turn({ask(2, 1001)}), ElementsAre(HasSubstr("belongs to user 1000")));
}

TEST(Callbacks, OfAJobItsBatchAndThoseRegisteredLaterGoToOneReceiverInOrder) {
  Stage stage;
  CallbackSpec whole = webhook();
  whole.whole_batch = true;
  stage.turn({stage.submit(with({whole, webhook()}))});
  const auto ask = [&](std::uint32_t lane) {
    return event::Register{++stage.token,          {1000}, JobId{1}, 0, encode_callbacks({webhook(lane)}),
                           terms_of(webhook(lane))};
  };
  stage.turn({ask(1), ask(2), ask(1)});
  EXPECT_THAT(deliveries(stage.turn({stage.done(1)})), ElementsAre("deliver 34 attempt 1", "deliver 5 attempt 1"));
  EXPECT_THAT(deliveries(stage.turn({told_ok(34)})), ElementsAre("deliver 32 attempt 1"));
  EXPECT_EQ(rows(stage)[7].state, DeliveryState::kBehind);
  stage.turn({told_no(32)});
  EXPECT_THAT(rows(stage)[32].behind, ElementsAre(CallbackId{3}, CallbackId{7})) << "a new daemon must know of them";
  stage.pass(seconds(3));
  EXPECT_THAT(deliveries(stage.turn({claimed(stage, 1)})), ElementsAre("deliver 32 attempt 2"));
  EXPECT_THAT(deliveries(stage.turn({told_ok(32)})), ElementsAre("deliver 3 attempt 1"));
  EXPECT_THAT(deliveries(stage.turn({told_ok(3)})), ElementsAre("deliver 7 attempt 1"));
  stage.turn({told_ok(7), told_ok(5)});
  EXPECT_FALSE(stage.scheduler->owes_callbacks());
}

TEST(Callbacks, RegisteredLaterAreBoundedForEachJob) {
  Stage stage;
  stage.turn({stage.submit(), stage.submit()});
  const auto ask = [&](std::uint64_t job) {
    return event::Register{++stage.token, {1000}, JobId{job}, 0, encode_callbacks({webhook()}), terms_of(webhook())};
  };
  for (std::size_t i = 0; i < limits::kCallbacksWaitingPerJobMax; ++i) stage.turn({ask(1)});
  EXPECT_THAT(stage.turn({ask(1)}), ElementsAre(HasSubstr("job 1: 256 callbacks")));
  EXPECT_THAT(stage.turn({ask(2)}), ElementsAre(HasSubstr("registered")));
}

// 64 receivers that hang use up all that may be under way.
TEST(Callbacks, AReceiverWaitsForOneDeliveryOfTheDeadAndNotForAllOfThem) {
  constexpr std::uint32_t kDead = limits::kDeliveriesUnderWayMax / limits::kDeliveriesPerLaneMax;
  Stage stage;
  std::vector<std::uint64_t> hanging;  // oldest first
  const auto look = [&] {
    std::vector<std::uint64_t> alive;
    for (const effect::Deliver& deliver : stage.history.back().deliveries) {
      const bool dead = rows(stage)[deliver.id.value].lane <= kDead;
      (dead ? hanging : alive).push_back(deliver.id.value);
    }
    return alive;
  };
  std::uint64_t job = 0;
  for (std::uint32_t lane = 1; lane <= kDead; ++lane) {
    const std::uint32_t jobs = 2 * limits::kDeliveriesPerLaneMax;
    stage.turn({stage.submit(with({webhook(lane)}), jobs)});
    for (std::uint32_t i = 0; i < jobs; ++i) {
      stage.turn({stage.done(++job)});
      look();
    }
  }
  ASSERT_EQ(hanging.size(), limits::kDeliveriesUnderWayMax);
  stage.turn({stage.submit(with({webhook(kDead + 1)}))});
  stage.turn({stage.done(++job)});
  EXPECT_THAT(look(), IsEmpty()) << "there is no room";
  stage.turn({told_no(hanging[0])});
  EXPECT_THAT(look(), ElementsAre(callback_of(JobId{job}, 0).value));

  // From then on a receiver that does not answer gets one place.
  for (std::size_t i = 1; i < limits::kDeliveriesUnderWayMax; ++i) {
    stage.turn({told_no(hanging[i])});
    look();
  }
  EXPECT_EQ(hanging.size() - limits::kDeliveriesUnderWayMax, kDead);
}

TEST(Callbacks, OneThatIsRegisteredWhileItsJobEndsIsNotForgotten) {
  StageSetup setup;
  setup.window_bytes = 1;
  Stage stage(std::move(setup));
  const std::uint32_t many = limits::kWindowJobsPerQueueMin + 10;
  stage.turn({stage.submit(Stage::work(), many)});
  const std::uint64_t last = many;
  stage.turn({event::Register{50, {1000}, JobId{last}, 0, encode_callbacks({webhook()}), terms_of(webhook())}});
  ASSERT_THAT(stage.history.back().loads, ElementsAre(JobId{last}));
  // It comes in by a claim and is cancelled before the load is answered.
  for (std::uint64_t id = 1; stage.claims.empty() && id < many; ++id) stage.turn({stage.done(id)});
  ASSERT_FALSE(stage.claims.empty());
  ClaimAnswer answer{stage.claims.back(), {}, {}};
  StoredJob job{.id = {}, .spec = SpecId{1}, .owner = 1000};
  job.in_backlog = true;
  for (std::uint64_t id = limits::kWindowJobsPerQueueMin + 1; id <= last; ++id) {
    job.id = JobId{id};
    answer.jobs.push_back({order_key(Discipline::kFifo, 0, job.id), job});
  }
  stage.turn({event::Claimed{std::move(answer)}, stage.cancel(last)});
  ASSERT_NE(stage.ending(last), nullptr);
  const Lines lines = stage.turn({event::Loaded{{JobId{last}}, {{job}, {}}}});
  EXPECT_THAT(lines, Contains("registered 50: 3"));
  EXPECT_THAT(lines, Contains("deliver 3 attempt 1"));
}

TEST(Callbacks, OfAWholeBatchAreDueOnceWhenItsLastJobHasEnded) {
  Stage stage;
  CallbackSpec whole = webhook();
  whole.whole_batch = true;
  CallbackSpec all_well = whole;
  all_well.condition = CompletionCondition::kSucceeded;
  all_well.lane = 2;
  stage.turn({stage.submit(with({whole, all_well}), 3)});
  EXPECT_THAT(deliveries(stage.turn({stage.done(1)})), IsEmpty());
  EXPECT_THAT(deliveries(stage.turn({stage.failed(2)})), IsEmpty());
  EXPECT_THAT(deliveries(stage.turn({stage.done(3)})), ElementsAre("deliver 32 attempt 1"));
  EXPECT_EQ(rows(stage)[32].job, JobId{3});
  const WholeBatchRow& row = stage.history.back().rows.whole_batches.back();
  EXPECT_EQ(row.ended, 3u);
  EXPECT_EQ(row.failed, 1u);
}

// A callback for jobs 1 to 3 that is registered after their submit.
class LaterBatch : public testing::Test {
 protected:
  event::Register ask(std::uint32_t uid = 1000, CompletionCondition condition = CompletionCondition::kEnded) {
    CallbackSpec whole = webhook(1, condition);
    whole.whole_batch = true;
    return {++stage_.token, {uid}, JobId{1}, 3, encode_callbacks({whole}), terms_of(whole)};
  }
  static Event stand(std::vector<JobState> states, std::uint64_t number = 1) {
    BatchAnswer answer{{number, JobId{1}, 3}, {}};
    for (std::size_t i = 0; i < states.size(); ++i) answer.jobs.push_back({JobId{1 + i}, 1000, states[i]});
    return event::BatchRead{std::move(answer)};
  }

  Stage stage_;
};

TEST_F(LaterBatch, IsDueWhenItsLastJobHasEnded) {
  stage_.turn({stage_.submit(Stage::work(), 3)});
  stage_.turn({stage_.done(1)});
  EXPECT_THAT(stage_.turn({ask()}), ElementsAre("batch 1? 1 x3"));
  stage_.turn({stage_.failed(2)});  // before the answer, which does not know of it
  EXPECT_THAT(stage_.turn({stand({JobState::kSucceeded, JobState::kQueued, JobState::kQueued})}),
              ElementsAre("registered 2: 3"));
  EXPECT_EQ(stage_.history.back().rows.callbacks.at(0).batch_jobs, 3u);
  EXPECT_EQ(rows(stage_)[3].state, DeliveryState::kWaiting);
  EXPECT_THAT(deliveries(stage_.turn({stage_.done(3)})), ElementsAre("deliver 3 attempt 1"));
  EXPECT_EQ(rows(stage_)[3].job, JobId{3});
}

TEST_F(LaterBatch, ThatHasEndedIsDueAtOnce) {
  stage_.turn({stage_.submit(Stage::work(), 3)});
  stage_.turn({stage_.done(1), stage_.done(2)});
  stage_.turn({ask()});
  stage_.turn({stage_.done(3)});
  EXPECT_THAT(stage_.turn({stand({JobState::kSucceeded, JobState::kSucceeded, JobState::kQueued})}),
              ElementsAre("registered 2: 3", "deliver 3 attempt 1"));
}

TEST_F(LaterBatch, SucceedsOnlyIfAllDid) {
  stage_.turn({stage_.submit(Stage::work(), 3)});
  stage_.turn({ask(1000, CompletionCondition::kSucceeded), ask(1000, CompletionCondition::kNotSucceeded)});
  stage_.turn({stage_.failed(1), stage_.done(2)});
  const std::vector<JobState> states{JobState::kQueued, JobState::kQueued, JobState::kQueued};
  stage_.turn({stand(states, 1), stand(states, 2)});
  EXPECT_THAT(deliveries(stage_.turn({stage_.done(3)})), ElementsAre("deliver 5 attempt 1"));
  EXPECT_EQ(rows(stage_)[3].state, DeliveryState::kNotDue);
}

TEST_F(LaterBatch, OfJobsThatAreNotThereOrNotTheCallersIsRefused) {
  stage_.turn({stage_.submit(Stage::work(), 2)});
  stage_.turn({ask()});
  EXPECT_THAT(stage_.turn({stand({JobState::kQueued, JobState::kQueued})}), ElementsAre(HasSubstr("no job 3")));
  stage_.turn({stage_.submit()});
  stage_.turn({ask(1001)});
  EXPECT_THAT(stage_.turn({stand({JobState::kQueued, JobState::kQueued, JobState::kQueued}, 2)}),
              ElementsAre(HasSubstr("job 1 belongs to user 1000")));
  stage_.turn({stage_.done(1), stage_.done(2)});
  stage_.turn({stage_.done(3)});
  EXPECT_TRUE(rows(stage_).empty());
}

TEST(Callbacks, ANewDaemonAsksHowABatchStands) {
  CallbackSpec whole = webhook();
  whole.whole_batch = true;
  StageSetup setup;
  setup.snapshot.epoch = Epoch{1};
  setup.snapshot.callbacks_until = 2;
  setup.snapshot.waiting_callbacks = {{later_callback(1), JobId{1}, 1000, encode_callbacks({whole}), 2}};
  Stage stage(std::move(setup));
  EXPECT_THAT(stage.turn(), Contains("batch 1? 1 x2"));
  BatchAnswer answer{{1, JobId{1}, 2}, {{JobId{1}, 1000, JobState::kFailed}, {JobId{2}, 1000, JobState::kSucceeded}}};
  EXPECT_THAT(stage.turn({event::BatchRead{answer}}), ElementsAre("deliver 3 attempt 1"));
}

TEST(Callbacks, AJobThatIsADeliveryIsMadeWithItsRecord) {
  Stage stage;
  CallbackSpec follow_up = webhook();
  follow_up.target = CallbackTarget::kFollowUp;
  follow_up.queue = "default";
  follow_up.task = "other";
  stage.turn({stage.submit(with({follow_up}))});
  EXPECT_THAT(deliveries(stage.turn({stage.done(1)})), ElementsAre("deliver 32 attempt 1"));
  auto made = std::get<event::Submit>(stage.submit());
  made.settles = CallbackId{32};
  EXPECT_THAT(stage.turn({made}), Contains("accepted 2: 2 x1"));
  const Batch& batch = stage.history.back().rows;
  EXPECT_EQ(batch.jobs.size(), 1u);
  ASSERT_EQ(batch.deliveries.size(), 1u);
  EXPECT_EQ(batch.deliveries[0].state, DeliveryState::kDelivered);
  made.token = ++stage.token;
  EXPECT_THAT(stage.turn({made}), ElementsAre(HasSubstr("callback 32 is not being delivered")));
}

TEST(Callbacks, AFollowUpThatNothingCanRunIsRefusedWithTheSubmit) {
  Stage stage;
  CallbackSpec follow_up = webhook();
  follow_up.target = CallbackTarget::kFollowUp;
  follow_up.queue = "default";
  follow_up.task = "no such task";
  EXPECT_THAT(stage.turn({stage.submit(with({follow_up}))}), ElementsAre(HasSubstr("spec.callbacks[0]: no task")));
  follow_up.task = "work";
  follow_up.priority = 5;
  EXPECT_THAT(stage.turn({stage.submit(with({follow_up}))}),
              ElementsAre(HasSubstr("spec.callbacks[0].follow_up: queue \"default\" is fifo and knows no priority")));
  stage.turn({stage.submit()});
  EXPECT_THAT(stage.turn({event::Register{9, {1000}, JobId{1}, 0, encode_callbacks({follow_up}), {}}}),
              ElementsAre(HasSubstr("spec.follow_up: queue")));
  CallbackSpec command = webhook();
  command.target = CallbackTarget::kCommand;
  EXPECT_THAT(stage.turn({stage.submit(with({webhook(), command}))}),
              ElementsAre(HasSubstr("spec.callbacks[1]: no pool runs commands here")));
}

}  // namespace
}  // namespace futured
