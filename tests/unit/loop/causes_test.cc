#include "daemon/loop/causes.h"

#include <gtest/gtest.h>

namespace futured {
namespace {

TEST(Causes, EachStatusOfADoneHasItsKind) {
  const std::pair<channel::DoneStatus, CauseKind> kinds[] = {
      {channel::DoneStatus::kSucceeded, CauseKind::kNone},
      {channel::DoneStatus::kTaskError, CauseKind::kTaskError},
      {channel::DoneStatus::kBadPayload, CauseKind::kBadPayload},
      {channel::DoneStatus::kUnknownTask, CauseKind::kUnknownTask},
      {channel::DoneStatus::kCommandFailed, CauseKind::kExitCode},
      {channel::DoneStatus::kStartFailed, CauseKind::kNotStarted},
      {channel::DoneStatus::kStopped, CauseKind::kTaskError},
      {channel::DoneStatus::kWorkerError, CauseKind::kTaskError},
      {channel::DoneStatus::kResultTooLarge, CauseKind::kResultTooLarge},
      {channel::DoneStatus::kOutOfMemory, CauseKind::kOutOfMemory},
  };
  for (const auto& [status, kind] : kinds) {
    channel::Done done;
    done.status = status;
    EXPECT_EQ(cause_of(done).kind, kind) << static_cast<int>(status);
  }
  channel::Done killed;
  killed.status = channel::DoneStatus::kCommandFailed;
  killed.signal = 9;
  EXPECT_EQ(cause_of(killed).kind, CauseKind::kSignal);
}

TEST(Causes, OnlyWhatEndsTheSameWayAgainIsFinal) {
  EXPECT_TRUE(is_final(channel::DoneStatus::kResultTooLarge));
  EXPECT_TRUE(is_final(channel::DoneStatus::kBadPayload));
  EXPECT_FALSE(is_final(channel::DoneStatus::kOutOfMemory)) << "the next time there may be more";
  EXPECT_FALSE(is_final(channel::DoneStatus::kTaskError));
}

TEST(Causes, AWorkersEndTellsSignalOrExitCode) {
  pool::WorkerEnded end;
  end.signal = 11;
  EXPECT_EQ(cause_of(end).kind, CauseKind::kWorkerCrashed);
  EXPECT_EQ(cause_of(end).message, "the worker was ended by signal 11");
  end.signal = 0;
  end.exit_code = 7;
  EXPECT_EQ(cause_of(end).message, "the worker exited with code 7 in the middle of the job");
  EXPECT_EQ(cause_of(end).exit_code, 7);
}

TEST(Causes, AWorkerKilledForMemoryIsToldAsThatAndHowSureThatIs) {
  pool::WorkerEnded end;
  end.signal = 9;
  end.out_of_memory = pool::OutOfMemory::kYes;
  EXPECT_EQ(cause_of(end).kind, CauseKind::kOutOfMemory);
  EXPECT_EQ(cause_of(end).message, "the worker was killed by the kernel (counted by its control group)");
  end.out_of_memory = pool::OutOfMemory::kLikely;
  EXPECT_EQ(cause_of(end).kind, CauseKind::kOutOfMemory);
  EXPECT_TRUE(cause_of(end).message.starts_with("likely: "));
  EXPECT_NE(cause_of(end).message.find("the kernel has killed for want of memory"), std::string::npos);
}

TEST(Causes, ALimitThatWasGoneOverIsNamed) {
  pool::WorkerEnded end;
  end.signal = 9;
  end.over_limit = "killed with 40 or more processes";
  EXPECT_EQ(cause_of(end).kind, CauseKind::kWorkerCrashed);
  EXPECT_EQ(cause_of(end).message, "the worker was killed with 40 or more processes");
  end.out_of_memory = pool::OutOfMemory::kYes;
  EXPECT_EQ(cause_of(end).kind, CauseKind::kOutOfMemory);
  EXPECT_EQ(cause_of(end).message, "the worker was killed with 40 or more processes");
}

TEST(Causes, AWorkerThatWasLostWithItsSpawnerIsToldAsThat) {
  pool::WorkerEnded end;
  end.signal = 9;
  end.is_lost = true;
  EXPECT_EQ(cause_of(end).kind, CauseKind::kWorkerCrashed);
  EXPECT_EQ(cause_of(end).message, "the worker ended with its spawner");
}

TEST(Causes, OnlyATaskRefusesARetry) {
  channel::Done done;
  done.no_retry = true;
  done.status = channel::DoneStatus::kTaskError;
  EXPECT_TRUE(cause_of(done).retry_refused);
  done.status = channel::DoneStatus::kBadPayload;
  EXPECT_FALSE(cause_of(done).retry_refused) << "that is for nobody to choose";
}

TEST(Causes, AWorkerThatBrokeItsChannelIsToldAsThatHoweverItEnded) {
  pool::WorkerEnded end;
  end.signal = 9;
  end.broken = "a response has an impossible size";
  end.out_of_memory = pool::OutOfMemory::kLikely;
  EXPECT_EQ(cause_of(end).kind, CauseKind::kBrokenWorker);
  EXPECT_EQ(cause_of(end).message, end.broken);
}

}  // namespace
}  // namespace futured
