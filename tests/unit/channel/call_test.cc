#include <poll.h>

#include <array>
#include <cstring>
#include <latch>
#include <thread>

#include "base/child.h"
#include "base/wait_call.h"
#include "tests/unit/channel/pair.h"

namespace futured::channel {
namespace {

constexpr Geometry kSmall{16 * 1024, 16 * 1024};

std::string asked(std::string_view task = "child") { return encode_child({.task = task}); }

// A run that has been taken, and what it asks.
struct Caller {
  explicit Caller(Geometry sizes = {}) : slot(sizes) {
    EXPECT_TRUE(host.offer(request(1, "payload")));
    host.publish();
    EXPECT_EQ(worker.try_next(run), Intake::kRun);
    EXPECT_EQ(worker.take(run), Take::kTaken);
  }

  [[nodiscard]] static CallId id(std::uint64_t number) { return {fence(1), number}; }
  void call(std::uint64_t number, std::string_view request = asked()) {
    ASSERT_TRUE(worker.call(id(number), request, Duration::zero()));
  }
  // What the daemon reads; number 0: nothing.
  [[nodiscard]] static CallId read(HostEnd& end) {
    Response response;
    if (end.read(response) != Read::kResponse) return {};
    return std::get<Call>(response).id;
  }

  TestSlot slot;
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  channel::Run run;
};

TEST(Call, IsAnsweredWithTheJobThatWasMade) {
  Caller caller;
  caller.call(1, asked("resize"));
  Response response;
  ASSERT_EQ(caller.host.read(response), Read::kResponse);
  const Call call = std::get<Call>(response);
  EXPECT_EQ(call.id, Caller::id(1));
  EXPECT_EQ(decode_child(call.request)->task, "resize");
  EXPECT_FALSE(caller.worker.reply(caller.run, 1));
  caller.host.answer(call.id, {.job = JobId{77}});
  const auto reply = caller.worker.reply(caller.run, 1);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->job, JobId{77});
  EXPECT_FALSE(caller.worker.reply(caller.run, 2));
}

TEST(Call, ANudgeWakesWhoWaitsForItAndIsNotLost) {
  Caller caller;
  const std::uint32_t seen = caller.worker.nudges(caller.run);
  EXPECT_FALSE(caller.worker.stop_requested(fence(1)));
  EXPECT_TRUE(caller.worker.arm_for_nudge(caller.run, seen)) << "nothing came";
  pollfd wake{caller.worker.wake_fd(), POLLIN, 0};
  EXPECT_EQ(poll(&wake, 1, 0), 0);
  caller.host.nudge(fence(1));
  EXPECT_EQ(poll(&wake, 1, 1000), 1);
  caller.worker.disarm();
  EXPECT_EQ(caller.worker.nudges(caller.run), seen + 1);
  EXPECT_FALSE(caller.worker.arm_for_nudge(caller.run, seen)) << "it came before";
  caller.host.nudge(fence(2));
  EXPECT_EQ(caller.worker.nudges(caller.run), seen + 1) << "of no run";
}

TEST(Call, ANewDaemonNudgesWhatItFindsTaken) {
  Caller caller;
  const std::uint32_t seen = caller.worker.nudges(caller.run);
  HostEnd next = caller.slot.host();
  EXPECT_EQ(caller.worker.nudges(caller.run), seen + 1);
}

TEST(Call, WhatIsAskedAboutAWaitIsChecked) {
  Caller caller;
  caller.call(1, encode_wait_call({.wait = 3, .jobs = {JobId{5}}}));
  Response response;
  ASSERT_EQ(caller.host.read(response), Read::kResponse);
  EXPECT_EQ(decode_wait_call(std::get<Call>(response).request)->jobs, std::vector<JobId>{JobId{5}});
  caller.host.answer(Caller::id(1), {JobId{1}, {}, kWaitIsOpen});
  EXPECT_EQ(caller.worker.reply(caller.run, 1)->error_message, kWaitIsOpen);
  caller.call(2, encode_wait_call({.wait = 3, .jobs = {JobId{5}}}) + "x");
  EXPECT_EQ(caller.host.read(response), Read::kBroken);
}

TEST(Call, ARefusalBringsItsClassAndItsMessageAsFarAsItFits) {
  Caller caller;
  caller.call(1);
  ASSERT_EQ(Caller::read(caller.host).number, 1u);
  const std::string message(4000, 'm');
  caller.host.answer(Caller::id(1), {{}, "NOT_FOUND", message});
  const auto reply = caller.worker.reply(caller.run, 1);
  ASSERT_TRUE(reply);
  EXPECT_FALSE(reply->job.is_set());
  EXPECT_EQ(reply->error_class, "NOT_FOUND");
  EXPECT_EQ(reply->error_message, message.substr(0, kReplyTextBytesMax - 9));
}

TEST(Call, ARunMayCallForEver) {
  Caller caller(kSmall);
  for (std::uint64_t number = 1; number <= 5000; ++number) {
    caller.call(number);
    ASSERT_EQ(Caller::read(caller.host).number, number) << caller.host.broken();
    caller.host.answer(Caller::id(number), {.job = JobId{1000 + number}});
    const auto reply = caller.worker.reply(caller.run, number);
    ASSERT_TRUE(reply) << number;
    EXPECT_EQ(reply->job, JobId{1000 + number});
    caller.host.release(caller.host.cursor());
  }
  caller.worker.done(caller.run, {});
  EXPECT_TRUE(read_done(caller.host));
  ASSERT_TRUE(caller.host.offer(request(2)));
  caller.host.publish();
  EXPECT_TRUE(work_one(caller.worker));
}

TEST(Call, EveryRunOfAFullRingIsAnswered) {
  TestSlot slot(kSmall);
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  std::uint64_t jobs = 0;
  while (host.offer(request(jobs + 1, std::string(200, 'p')))) ++jobs;
  while (host.stop(fence(1000), StopReason::kCancel)) {
  }
  host.publish();
  ASSERT_GT(jobs, 5u);
  for (std::uint64_t job = 1; job <= jobs; ++job) {
    channel::Run run;
    ASSERT_EQ(worker.try_next(run), Intake::kRun);
    ASSERT_EQ(worker.take(run), Take::kTaken);
    const CallId id{run.fence, 1};
    ASSERT_TRUE(worker.call(id, asked(), Duration::zero()));
    ASSERT_EQ(Caller::read(host), id);
    host.answer(id, {.job = JobId{job + 100}});
    ASSERT_TRUE(worker.reply(run, 1)) << host.broken();
    EXPECT_EQ(worker.reply(run, 1)->job, JobId{job + 100});
    worker.done(run, {});
    ASSERT_TRUE(read_done(host));
    host.release(host.cursor());
  }
}

TEST(Call, SeveralRunsOfOneChannelHaveRepliesOfTheirOwn) {
  TestSlot slot;
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  std::array<channel::Run, 3> runs;
  for (std::uint64_t job = 1; job <= 3; ++job) ASSERT_TRUE(host.offer(request(job)));
  host.publish();
  for (channel::Run& run : runs) {
    ASSERT_EQ(worker.try_next(run), Intake::kRun);
    ASSERT_EQ(worker.take(run), Take::kTaken);
    worker.detach(run);
    ASSERT_TRUE(worker.call({run.fence, 1}, asked(), Duration::zero()));
    ASSERT_EQ(Caller::read(host).fence, run.fence);
  }
  for (const std::size_t i : {2u, 0u, 1u}) host.answer({runs[i].fence, 1}, {.job = JobId{50 + i}});
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto reply = worker.reply(runs[i], 1);
    ASSERT_TRUE(reply) << i;
    EXPECT_EQ(reply->job, JobId{50 + i});
  }
  worker.done(runs[0], {});
  EXPECT_TRUE(worker.reply(runs[1], 1)) << "the others keep theirs";
}

TEST(Call, ARunIsNotAnsweredByWhatWasToldTheOneBeforeInItsPlace) {
  TestSlot slot({16 * 1024, 16 * 1024, 1, 1});
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  for (std::uint64_t job = 1; job <= 2; ++job) {
    ASSERT_TRUE(host.offer(request(job)));
    host.publish();
    channel::Run run;
    ASSERT_EQ(worker.try_next(run), Intake::kRun);
    ASSERT_EQ(worker.take(run), Take::kTaken);
    EXPECT_FALSE(worker.reply(run, 1));
    ASSERT_TRUE(worker.call({run.fence, 1}, asked(), Duration::zero()));
    ASSERT_EQ(Caller::read(host).fence, run.fence);
    host.answer({run.fence, 1}, {.job = JobId{job + 10}});
    EXPECT_EQ(worker.reply(run, 1)->job, JobId{job + 10});
    worker.done(run, {});
    ASSERT_TRUE(read_done(host));
  }
}

TEST(Call, WakesWhoWaits) {
  Caller caller;
  caller.call(1);
  ASSERT_EQ(Caller::read(caller.host).number, 1u);
  for (std::uint64_t number = 1; number <= 2; ++number) {
    std::latch armed(1);
    std::thread daemon([&] {
      armed.wait();
      caller.host.answer(Caller::id(number), {.job = JobId{number}});
    });
    while (!caller.worker.reply(caller.run, number)) {
      EXPECT_FALSE(caller.worker.stop_requested(caller.run.fence));
      if (!caller.worker.arm_for_reply(caller.run, number)) continue;
      if (!armed.try_wait()) armed.count_down();
      pollfd sleeper{caller.worker.wake_fd(), POLLIN, 0};
      EXPECT_EQ(::poll(&sleeper, 1, 20'000), 1) << number;
      caller.worker.disarm();
    }
    daemon.join();
    EXPECT_FALSE(caller.worker.arm_for_reply(caller.run, number)) << "it is there";
    if (number == 1) {
      caller.call(2);
      ASSERT_EQ(Caller::read(caller.host).number, 2u);
    }
  }
}

TEST(Call, IsNotReleasedBeforeItIsAnswered) {
  Caller caller;
  ASSERT_TRUE(caller.worker.try_emit(caller.run.fence, 3, 0, "before"));
  caller.call(1);
  ASSERT_TRUE(caller.worker.try_emit(caller.run.fence, 3, 6, "behind"));
  Response response;
  ASSERT_EQ(caller.host.read(response), Read::kResponse);
  const std::uint64_t before = caller.host.cursor().position;
  for (int i = 0; i < 2; ++i) ASSERT_EQ(caller.host.read(response), Read::kResponse);
  EXPECT_EQ(caller.host.cursor().position, before);
  EXPECT_FALSE(caller.host.all_released());
  caller.host.release(caller.host.cursor());
  EXPECT_TRUE(caller.host.all_released()) << "no more can be, for now";
  caller.host.answer(Caller::id(1), {.job = JobId{2}});
  EXPECT_GT(caller.host.cursor().position, before);
  EXPECT_FALSE(caller.host.all_released());
}

TEST(Call, TheNextDaemonReadsAndAnswersIt) {
  Caller caller;
  caller.call(1);
  ASSERT_EQ(Caller::read(caller.host).number, 1u);
  caller.host.release(caller.host.cursor());

  HostEnd next = caller.slot.host();
  ASSERT_EQ(Caller::read(next), Caller::id(1));
  next.answer(Caller::id(1), {.job = JobId{9}});
  EXPECT_EQ(caller.worker.reply(caller.run, 1)->job, JobId{9});
  caller.call(2);
  ASSERT_EQ(Caller::read(next).number, 2u);
  next.answer(Caller::id(2), {.job = JobId{10}});
  EXPECT_EQ(caller.worker.reply(caller.run, 2)->job, JobId{10});

  // It died before it released what it had answered: both are read again, and the answer to the first is nobody's.
  HostEnd third = caller.slot.host();
  EXPECT_EQ(Caller::read(third).number, 1u);
  EXPECT_EQ(Caller::read(third).number, 2u);
  third.answer(Caller::id(2), {.job = JobId{10}});
  third.answer(Caller::id(1), {.job = JobId{9}});
  EXPECT_EQ(caller.worker.reply(caller.run, 2)->job, JobId{10});
  third.release(third.cursor());
  EXPECT_TRUE(third.all_released());
  caller.call(3);
  ASSERT_EQ(Caller::read(third).number, 3u) << third.broken();
}

TEST(Call, OfARunThatIsOverIsForgottenWithItsAnswer) {
  Caller caller;
  caller.call(1);
  ASSERT_EQ(Caller::read(caller.host).number, 1u);
  caller.worker.done(caller.run, {});
  ASSERT_TRUE(read_done(caller.host));
  EXPECT_FALSE(caller.host.all_released() && caller.host.cursor().dones > 0);
  caller.host.answer(Caller::id(1), {.job = JobId{9}});
  caller.host.answer(Caller::id(1), {.job = JobId{9}});
  EXPECT_EQ(caller.host.cursor().dones, 1u);
  EXPECT_FALSE(caller.host.is_broken());
}

TEST(Call, WhatASoundWorkerDoesNotAskBreaksTheChannel) {
  const auto broken_by = [](auto deed) {
    Caller caller;
    deed(caller);
    Response response;
    while (caller.host.read(response) == Read::kResponse) {
    }
    return caller.host.broken();
  };
  EXPECT_EQ(broken_by([](Caller& caller) { caller.call(1); }), "");
  EXPECT_NE(broken_by([](Caller& caller) { caller.call(0); }), "");
  EXPECT_NE(broken_by([](Caller& caller) { caller.call(1, "garbage"); }).find("request"), std::string::npos);
  EXPECT_NE(broken_by([](Caller& caller) { caller.call(1, ""); }), "");
  EXPECT_NE(broken_by([](Caller& caller) {
              caller.call(1);
              caller.call(2);
            }).find("before the answer"),
            std::string::npos);
  EXPECT_NE(broken_by([](Caller& caller) {
              caller.call(2);
              ASSERT_EQ(Caller::read(caller.host).number, 2u);
              caller.host.answer(Caller::id(2), {.job = JobId{5}});
              caller.call(1);
            }).find("ascend"),
            std::string::npos);
  EXPECT_NE(broken_by([](Caller& caller) {
              EXPECT_TRUE(caller.worker.call({fence(99), 1}, asked(), Duration::zero()));
            }),
            "");
}

TEST(RunTimeLimit, ReachesTheWorkerBehindEveryKindOfPayload) {
  for (const std::size_t bytes : {0u, 5u, 8u, 20'000u}) {
    TestSlot slot;
    HostEnd host = slot.host();
    WorkerEnd worker = slot.worker();
    const std::string payload(bytes, 'p');
    RunRequest asked = request(1, payload);
    asked.run_timeout = std::chrono::seconds(3);
    ASSERT_TRUE(host.offer(asked));
    ASSERT_TRUE(host.offer(request(2, payload)));
    host.publish();
    for (const Duration limit : {Duration(std::chrono::seconds(3)), Duration(0)}) {
      channel::Run run;
      ASSERT_EQ(worker.try_next(run), Intake::kRun);
      ASSERT_EQ(worker.take(run), Take::kTaken);
      EXPECT_EQ(run.run_timeout, limit);
      EXPECT_EQ(run.payload, payload);
      worker.done(run, {});
    }
  }
}

// The worker may be reading it while the next daemon finds the call.
TEST(Call, AnAnswerIsWrittenOnce) {
  Caller caller;
  caller.call(1);
  ASSERT_EQ(Caller::read(caller.host).number, 1u);
  EXPECT_FALSE(caller.host.has_answer(Caller::id(1)));
  caller.host.answer(Caller::id(1), {.job = JobId{77}});
  HostEnd next = caller.slot.host();
  ASSERT_EQ(Caller::read(next).number, 1u);
  EXPECT_TRUE(next.has_answer(Caller::id(1)));
  EXPECT_FALSE(next.has_answer(Caller::id(2)));
  EXPECT_FALSE(next.has_answer({fence(2), 1}));
  const Cursor before = next.cursor();
  next.answer(Caller::id(1), {{}, "RESOURCE_EXHAUSTED", "no room"});
  EXPECT_GT(next.cursor().position, before.position) << "it is released all the same";
  const auto reply = caller.worker.reply(caller.run, 1);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->job, JobId{77});
  EXPECT_EQ(reply->error_class, "");
  caller.call(2);
  ASSERT_EQ(Caller::read(next).number, 2u);
  next.answer(Caller::id(2), {.job = JobId{78}});
  EXPECT_EQ(caller.worker.reply(caller.run, 2)->job, JobId{78});
}

}  // namespace
}  // namespace futured::channel
