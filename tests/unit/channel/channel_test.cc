#include <sys/epoll.h>
#include <atomic>

#include <thread>
#include <vector>

#include "tests/unit/channel/pair.h"

namespace futured::channel {
namespace {

constexpr Geometry kSmall{16 * 1024, 16 * 1024};

TEST(Channel, ARunGoesOverAndItsOutcomeComesBack) {
  TestSlot slot;
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  RunRequest asked = request(42, "payload");
  asked.task = 3;
  asked.follow = true;
  ASSERT_TRUE(host.offer(asked));
  channel::Run run;
  EXPECT_EQ(worker.try_next(run), Intake::kNothing) << "offered, not published";
  host.publish();
  ASSERT_EQ(worker.try_next(run), Intake::kRun);
  EXPECT_EQ(run.fence, fence(42));
  EXPECT_EQ(run.task, 3u);
  EXPECT_TRUE(run.follow);
  EXPECT_EQ(run.payload, "payload");
  EXPECT_EQ(host.head()->state, RunState::kOffered);
  ASSERT_EQ(worker.take(run), Take::kTaken);
  EXPECT_EQ(host.head()->state, RunState::kTaken);
  EXPECT_EQ(host.head()->taken_at, run.taken_at);
  ASSERT_TRUE(worker.try_emit(run.fence, 1, 5, "out"));
  ASSERT_TRUE(worker.try_progress(run.fence, 1, 2, "half"));
  EXPECT_EQ(host.head()->alive_at, Instant{});
  worker.beat(run);
  EXPECT_GE(host.head()->alive_at, run.taken_at);
  Outcome outcome;
  outcome.status = DoneStatus::kTaskError;
  outcome.error_class = "Oops";
  outcome.error_message = "it broke";
  outcome.result = "partial";
  outcome.exit_code = 3;
  outcome.cpu_ns = 9;
  outcome.peak_rss_bytes = 10;
  outcome.no_retry = true;
  outcome.retry_after_ms = 11;
  worker.done(run, outcome);

  Response response;
  ASSERT_EQ(host.read(response), Read::kResponse);
  EXPECT_EQ(std::get<Emit>(response).data, "out");
  EXPECT_EQ(std::get<Emit>(response).offset, 5u);
  ASSERT_EQ(host.read(response), Read::kResponse);
  EXPECT_EQ(std::get<Progress>(response).message, "half");
  const auto done = read_done(host);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->fence, fence(42));
  EXPECT_EQ(done->status, DoneStatus::kTaskError);
  EXPECT_EQ(done->error_class, "Oops");
  EXPECT_EQ(done->error_message, "it broke");
  EXPECT_EQ(done->result, "partial");
  EXPECT_EQ(done->exit_code, 3);
  EXPECT_EQ(done->cpu_ns, 9u);
  EXPECT_EQ(done->peak_rss_bytes, 10u);
  EXPECT_TRUE(done->no_retry);
  EXPECT_EQ(done->retry_after_ms, 11u);
  EXPECT_GE(done->finished_at, done->started_at);
  EXPECT_EQ(done->started_at, run.taken_at);
  EXPECT_EQ(host.read(response), Read::kNothing);
  EXPECT_FALSE(host.head());
  EXPECT_EQ(host.outstanding(), 0u);
}

TEST(Channel, RingsWrapWithRecordsOfEverySize) {
  TestSlot slot(kSmall);
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  std::uint64_t offered = 0;
  std::uint64_t finished = 0;
  for (std::uint64_t turn = 0; turn < 2000; ++turn) {
    const std::string payload(turn * 37 % 3000, static_cast<char>('a' + turn % 26));
    if (host.offer(request(offered + 1, payload))) ++offered;
    host.publish();
    channel::Run run;
    if (turn % 3 == 0) continue;
    while (worker.try_next(run) == Intake::kRun) {
      ASSERT_EQ(worker.take(run), Take::kTaken);
      const std::string echo(run.payload);
      Outcome outcome;
      outcome.result = echo;
      worker.done(run, outcome);
    }
    while (auto done = read_done(host)) {
      EXPECT_EQ(done->fence, fence(++finished));
      if (!done->result.empty()) {
        EXPECT_EQ(std::string(done->result.size(), done->result[0]), done->result);
      }
      host.release(host.cursor());
    }
    ASSERT_FALSE(host.is_broken()) << host.broken();
  }
  EXPECT_GT(finished, 1000u);
}

TEST(Channel, AFullRingRefusesAndTakesAgainOnceThereIsRoom) {
  TestSlot slot(kSmall);
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  const std::string payload(1000, 'x');
  std::uint64_t job = 0;
  while (host.offer(request(job + 1, payload))) ++job;
  EXPECT_GT(job, 5u);
  EXPECT_TRUE(host.wants_room());
  EXPECT_TRUE(host.stop(fence(1), StopReason::kCancel)) << "room is kept for stops";
  host.publish();
  ASSERT_TRUE(work_one(worker));
  ASSERT_TRUE(work_one(worker));
  EXPECT_TRUE(host.offer(request(job + 1, payload)));
  EXPECT_FALSE(host.wants_room());
}

TEST(Channel, ADoneNeverWaitsForTheDaemon) {
  TestSlot slot(kSmall);
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  std::uint64_t job = 0;
  while (host.offer(request(job + 1))) ++job;
  EXPECT_EQ(job, dones_max(kSmall.response_ring_bytes));
  host.publish();
  // Emits fill their half; reports longer than their reserve lose their inline result, never themselves.
  while (worker.try_emit(fence(1), 1, 0, std::string(500, 'e'))) {
  }
  const std::string result(2000, 'r');
  const std::string message(3000, 'm');
  for (std::uint64_t i = 0; i < job; ++i) {
    channel::Run run;
    ASSERT_EQ(worker.try_next(run), Intake::kRun);
    ASSERT_EQ(worker.take(run), Take::kTaken);
    Outcome outcome;
    outcome.result = result;
    if (i == 0) outcome.error_message = message;
    worker.done(run, outcome);
  }
  Response response;
  std::uint64_t dones = 0;
  while (host.read(response) == Read::kResponse) {
    if (const auto* done = std::get_if<Done>(&response)) {
      ++dones;
      EXPECT_EQ(done->result, result);
      EXPECT_EQ(done->message_cut, dones == 1);
    }
  }
  EXPECT_EQ(dones, job);
  ASSERT_FALSE(host.is_broken()) << host.broken();
  EXPECT_FALSE(host.offer(request(job + 1))) << "no reserve is free before a release";
  host.release(host.cursor());
  EXPECT_TRUE(host.offer(request(job + 1)));
}

TEST(Channel, AnEmitWaitsForTheReleaseThatFreesItsRoom) {
  TestSlot slot(kSmall);
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  ASSERT_TRUE(host.offer(request(1)));
  host.publish();
  channel::Run run;
  ASSERT_EQ(worker.try_next(run), Intake::kRun);
  ASSERT_EQ(worker.take(run), Take::kTaken);
  while (worker.try_emit(run.fence, 1, 0, std::string(700, 'e'))) {
  }
  EXPECT_FALSE(worker.emit(run.fence, 1, 0, std::string(700, 'e'), std::chrono::milliseconds(1)));
  std::thread waiting(
      [&] { EXPECT_TRUE(worker.emit(run.fence, 1, 0, std::string(700, 'l'), std::chrono::minutes(1))); });
  Response response;
  std::string last;
  while (last.empty() || last[0] != 'l') {
    if (host.read(response) == Read::kResponse) {
      last = std::get<Emit>(response).data;
    } else {
      ASSERT_FALSE(host.is_broken()) << host.broken();
      host.release(host.cursor());
    }
  }
  waiting.join();
}

TEST(Channel, ARevokedRunIsPassedOverAndMayBeOfferedAgain) {
  TestSlot slot;
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  for (std::uint64_t job = 1; job <= 3; ++job) ASSERT_TRUE(host.offer(request(job)));
  host.publish();
  EXPECT_EQ(host.revoke(fence(2)), Revoked::kYes);
  EXPECT_EQ(host.revoke(fence(2)), Revoked::kUnknown);
  EXPECT_EQ(host.outstanding(), 2u);
  ASSERT_TRUE(host.offer(request(2)));
  host.publish();
  channel::Run run;
  for (const std::uint64_t job : {1u, 3u, 2u}) {
    ASSERT_EQ(worker.try_next(run), Intake::kRun);
    EXPECT_EQ(run.fence, fence(job));
    ASSERT_EQ(worker.take(run), Take::kTaken);
    EXPECT_EQ(host.revoke(fence(job)), Revoked::kTaken);
    worker.done(run, {});
    EXPECT_EQ(read_done(host)->fence, fence(job));
  }
  EXPECT_EQ(worker.try_next(run), Intake::kNothing);
}

TEST(Channel, ExactlyOneSideWinsEachRun) {
  TestSlot slot;
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  constexpr std::uint64_t kJobs = 100'000;
  std::atomic<bool> over{false};
  std::uint64_t taken = 0;
  std::uint64_t lost = 0;
  std::thread thread([&] {
    channel::Run run;
    while (!over) {
      if (worker.try_next(run) != Intake::kRun) continue;
      if (worker.take(run) == Take::kTaken) {
        ++taken;
        worker.done(run, {});
      } else {
        ++lost;
      }
    }
  });
  std::uint64_t next = 1;
  std::uint64_t revoked = 0;
  std::uint64_t done = 0;
  while (done + revoked < kJobs) {
    std::uint64_t first = next;
    while (next <= kJobs && next < first + 16 && host.offer(request(next))) ++next;
    host.publish();
    for (std::uint64_t job = next; job-- > first;) revoked += host.revoke(fence(job)) == Revoked::kYes ? 1 : 0;
    Response response;
    while (host.read(response) == Read::kResponse) ++done;
    host.release(host.cursor());
    ASSERT_FALSE(host.is_broken()) << host.broken();
  }
  over = true;
  thread.join();
  EXPECT_EQ(taken, done);
  EXPECT_LE(lost, revoked);
}

TEST(Channel, SleepersOnBothSidesAreWokenForEveryRun) {
  TestSlot slot;
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  constexpr std::uint64_t kJobs = 5'000;
  std::thread thread([&] {
    channel::Run run;
    while (worker.next(run) == Intake::kRun) {
      ASSERT_EQ(worker.take(run), Take::kTaken);
      worker.done(run, {});
    }
  });
  const Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  ASSERT_EQ(::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, host.wake_fd(), &event), 0);
  for (std::uint64_t job = 1; job <= kJobs; ++job) {
    ASSERT_TRUE(host.offer(request(job)));
    host.publish();
    Response response;
    while (host.read(response) != Read::kResponse) {
      if (!host.arm()) continue;
      ASSERT_EQ(::epoll_wait(epoll.get(), &event, 1, 20'000), 1) << "a wake-up was lost";
    }
    host.release(host.cursor());
  }
  slot.lifeline_write.reset();
  thread.join();
}

TEST(Channel, AClosedLifelineEndsTheWorker) {
  TestSlot slot;
  WorkerEnd worker = slot.worker();
  std::thread closer([&] { slot.lifeline_write.reset(); });
  channel::Run run;
  EXPECT_EQ(worker.next(run), Intake::kEnded);
  closer.join();
}

TEST(Channel, AStopIsSeenWhileTheRunGoesOn) {
  TestSlot slot;
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  for (std::uint64_t job = 1; job <= 3; ++job) ASSERT_TRUE(host.offer(request(job)));
  host.publish();
  channel::Run run;
  ASSERT_EQ(worker.try_next(run), Intake::kRun);
  ASSERT_EQ(worker.take(run), Take::kTaken);
  EXPECT_FALSE(worker.stop_requested(run.fence));
  ASSERT_TRUE(host.stop(fence(1), StopReason::kTimeout));
  ASSERT_TRUE(host.stop(fence(3), StopReason::kCancel));
  host.publish();
  EXPECT_EQ(worker.stop_reason(run.fence), StopReason::kTimeout);
  EXPECT_FALSE(worker.stop_requested(fence(2)));
  worker.done(run, {});
  ASSERT_EQ(worker.try_next(run), Intake::kRun);
  ASSERT_EQ(worker.take(run), Take::kTaken);
  EXPECT_FALSE(worker.stop_requested(run.fence));
  worker.done(run, {});
  ASSERT_EQ(worker.try_next(run), Intake::kRun);
  ASSERT_EQ(worker.take(run), Take::kTaken);
  EXPECT_TRUE(worker.stop_requested(run.fence)) << "a stop that came before its run began";
  worker.done(run, {});
  EXPECT_EQ(worker.try_next(run), Intake::kNothing);
}

TEST(Channel, ASoftStopIsKnownWithoutALockAndOnlyOfItsRun) {
  TestSlot slot;
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  for (std::uint64_t job = 1; job <= 2; ++job) ASSERT_TRUE(host.offer(request(job)));
  host.publish();
  channel::Run run;
  ASSERT_EQ(worker.try_next(run), Intake::kRun);
  ASSERT_EQ(worker.take(run), Take::kTaken);
  ASSERT_TRUE(host.stop(fence(2), StopReason::kSoftTimeout));
  ASSERT_TRUE(host.stop(fence(1), StopReason::kCancel));
  host.publish();
  EXPECT_FALSE(worker.is_stopped_softly(run));
  ASSERT_TRUE(host.stop(fence(1), StopReason::kSoftTimeout));
  EXPECT_FALSE(worker.is_stopped_softly(run)) << "not published";
  host.publish();
  EXPECT_TRUE(worker.is_stopped_softly(run));
  EXPECT_EQ(worker.stop_reason(run.fence), StopReason::kCancel) << "the first one holds";
}

TEST(Channel, WhatFollowsASoftStopIsTold) {
  TestSlot slot;
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  ASSERT_TRUE(host.offer(request(1)));
  host.publish();
  channel::Run run;
  ASSERT_EQ(worker.try_next(run), Intake::kRun);
  ASSERT_EQ(worker.take(run), Take::kTaken);
  const auto asked = [&](StopReason reason) {
    EXPECT_TRUE(host.stop(fence(1), reason));
    host.publish();
    return worker.stop_reason(run.fence);
  };
  EXPECT_EQ(asked(StopReason::kSoftTimeout), StopReason::kSoftTimeout);
  EXPECT_EQ(asked(StopReason::kCancel), StopReason::kCancel);
  EXPECT_EQ(asked(StopReason::kTimeout), StopReason::kCancel) << "of these the first holds";
  EXPECT_EQ(asked(StopReason::kSoftTimeout), StopReason::kCancel);
}

TEST(Channel, ANewDaemonFindsWhatWasOfferedAndWhatWasAnswered) {
  TestSlot slot;
  WorkerEnd worker = slot.worker();
  {
    HostEnd host = slot.host();
    for (std::uint64_t job = 1; job <= 6; ++job) ASSERT_TRUE(host.offer(request(job)));
    host.publish();
    ASSERT_TRUE(host.offer(request(7))) << "never published: it does not exist";
    ASSERT_TRUE(work_one(worker, "one"));
    ASSERT_TRUE(work_one(worker, "two"));
    ASSERT_TRUE(work_one(worker, "three"));
    ASSERT_TRUE(read_done(host));
    host.release(host.cursor());
    ASSERT_EQ(read_done(host)->result, "two") << "read, not released";
    EXPECT_EQ(host.revoke(fence(6)), Revoked::kYes);
  }
  channel::Run run;
  ASSERT_EQ(worker.try_next(run), Intake::kRun);
  ASSERT_EQ(worker.take(run), Take::kTaken);

  HostEnd host = slot.host();
  ASSERT_EQ(host.recovered().size(), 3u);
  EXPECT_EQ(host.recovered()[0].fence, fence(3));
  EXPECT_EQ(host.recovered()[0].state, RunState::kFinished) << "its DONE was not read";
  EXPECT_EQ(host.recovered()[1].fence, fence(4));
  EXPECT_EQ(host.recovered()[1].state, RunState::kTaken);
  EXPECT_EQ(host.recovered()[1].taken_at, run.taken_at);
  EXPECT_EQ(host.recovered()[2].fence, fence(5));
  EXPECT_EQ(host.recovered()[2].state, RunState::kOffered);
  EXPECT_EQ(read_done(host)->result, "two");
  EXPECT_EQ(read_done(host)->result, "three");
  EXPECT_EQ(host.outstanding(), 2u);
  EXPECT_FALSE(read_done(host));
  EXPECT_EQ(host.revoke(fence(5)), Revoked::kYes);
  ASSERT_TRUE(host.offer(request(8)));
  host.publish();
  worker.done(run, {});
  EXPECT_EQ(read_done(host)->fence, fence(4));
  ASSERT_TRUE(work_one(worker));
  EXPECT_EQ(read_done(host)->fence, fence(8));
  ASSERT_FALSE(host.is_broken()) << host.broken();
}

TEST(Channel, ASlotSaysByItsMemoryAloneWhetherWorkIsLeft) {
  TestSlot slot;
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  const ChannelMap map = ChannelMap::map(slot.memory.get()).value();
  EXPECT_FALSE(has_unfinished(map));
  ASSERT_TRUE(host.offer(request(1)));
  host.publish();
  EXPECT_TRUE(has_unfinished(map));
  ASSERT_TRUE(work_one(worker));
  EXPECT_FALSE(has_unfinished(map));
}

TEST(Channel, ANewGenerationBeginsEmpty) {
  TestSlot slot;
  Cursor old;
  {
    HostEnd host = slot.host();
    WorkerEnd worker = slot.worker();
    ASSERT_TRUE(host.offer(request(1)));
    host.publish();
    ASSERT_TRUE(work_one(worker));
    ASSERT_TRUE(read_done(host));
    old = host.cursor();
  }
  slot.begin(2);
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  EXPECT_EQ(host.generation(), 2u);
  EXPECT_TRUE(host.recovered().empty());
  host.release(old);
  ASSERT_TRUE(host.offer(request(2)));
  host.publish();
  ASSERT_TRUE(work_one(worker));
  EXPECT_EQ(read_done(host)->fence, fence(2));
}

}  // namespace
}  // namespace futured::channel
