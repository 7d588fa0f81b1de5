#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/command.h"
#include "base/limits.h"
#include "base/payload.h"
#include "daemon/rpc/convert.h"

namespace futured::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string one_part(std::string_view bytes, std::string_view type = {}) {
  std::string encoded;
  append_part(encoded, {.content_type = type, .bytes = bytes});
  return encoded;
}

Ending succeeded(std::string result = {}) {
  Ending ending;
  ending.state = JobState::kSucceeded;
  ending.attempt = 1;
  ending.result = std::move(result);
  return ending;
}

struct Message {
  google::protobuf::RepeatedPtrField<api::Outcome> outcomes;
  google::protobuf::RepeatedPtrField<api::PackedOutcomes> packed;
};

TEST(OutcomePacker, ConsecutiveIdsNeedNoList) {
  Message message;
  OutcomePacker packer(JobId{10}, ResultWanted::kInline, message.outcomes, message.packed);
  for (std::uint64_t id = 10; id < 14; ++id) packer.add(JobId{id}, succeeded());
  ASSERT_EQ(message.packed.size(), 1);
  EXPECT_EQ(message.packed[0].first_id(), 10u);
  EXPECT_EQ(message.packed[0].count(), 4u);
  EXPECT_THAT(message.packed[0].id_offsets(), IsEmpty());
  EXPECT_THAT(message.packed[0].sizes(), IsEmpty());
}

TEST(OutcomePacker, AResultThatIsLostIsLeftOut) {
  Message message;
  OutcomePacker packer(JobId{1}, ResultWanted::kInline, message.outcomes, message.packed);
  std::string result = one_part("here", "a/b");
  append_part(result, {.kind = PartKind::kLost, .content_type = "c/d", .bytes = "its file is gone"});
  packer.add(JobId{1}, succeeded(result));
  ASSERT_EQ(message.outcomes.size(), 1);
  EXPECT_TRUE(message.outcomes[0].result_elided()) << "who asks for it is told why there is none";
  EXPECT_THAT(message.outcomes[0].result(), IsEmpty());
  EXPECT_EQ(message.outcomes[0].result_bytes(), 4u);
}

TEST(OutcomePacker, IdsOutOfOrderAreListed) {
  Message message;
  OutcomePacker packer(JobId{10}, ResultWanted::kInline, message.outcomes, message.packed);
  for (const std::uint64_t id : {10, 11, 15, 12}) packer.add(JobId{id}, succeeded(one_part("r" + std::to_string(id))));
  ASSERT_EQ(message.packed.size(), 1);
  EXPECT_THAT(message.packed[0].id_offsets(), ElementsAre(0, 1, 5, 2));
  EXPECT_THAT(message.packed[0].sizes(), ElementsAre(3, 3, 3, 3));
  EXPECT_EQ(message.packed[0].results(), "r10r11r15r12");
  EXPECT_EQ(message.packed[0].count(), 4u);
}

TEST(OutcomePacker, EmptyPartsAndNoPartsAreToldApart) {
  Message message;
  OutcomePacker packer(JobId{1}, ResultWanted::kInline, message.outcomes, message.packed);
  packer.add(JobId{1}, succeeded());
  packer.add(JobId{2}, succeeded(one_part("")));
  ASSERT_EQ(message.packed.size(), 2);
  EXPECT_THAT(message.packed[0].sizes(), IsEmpty());
  EXPECT_THAT(message.packed[1].sizes(), ElementsAre(0));
  EXPECT_THAT(message.packed[1].id_offsets(), ElementsAre(1));
}

TEST(OutcomePacker, WhateverHasMoreToTellIsToldInFull) {
  Message message;
  OutcomePacker packer(JobId{1}, ResultWanted::kInline, message.outcomes, message.packed);
  packer.add(JobId{1}, succeeded(one_part("{}", "application/json")));
  packer.add(JobId{2}, succeeded(one_part("a") + one_part("b")));
  Ending failed;
  failed.state = JobState::kFailed;
  packer.add(JobId{3}, failed);
  Ending measured = succeeded();
  measured.cause = std::make_unique<Cause>(Cause{.peak_memory_bytes = 5});
  packer.add(JobId{4}, measured);
  packer.add(JobId{1ULL << 40}, succeeded());
  EXPECT_TRUE(message.packed.empty());
  ASSERT_EQ(message.outcomes.size(), 5);
  EXPECT_EQ(message.outcomes[0].result(0).content_type(), "application/json");
  EXPECT_EQ(message.outcomes[1].result_size(), 2);
  EXPECT_EQ(message.outcomes[2].state(), api::JOB_STATE_FAILED);
  EXPECT_EQ(message.outcomes[3].cause().peak_memory_bytes(), 5);
}

TEST(OutcomePacker, UnwantedResultsAreLeftOutAndSaidToBe) {
  Message message;
  OutcomePacker packer(JobId{1}, ResultWanted::kNone, message.outcomes, message.packed);
  packer.add(JobId{1}, succeeded(one_part("abc")));
  packer.add(JobId{2}, succeeded());
  ASSERT_EQ(message.outcomes.size(), 1);
  EXPECT_TRUE(message.outcomes[0].result_elided());
  EXPECT_EQ(message.outcomes[0].result_bytes(), 3u);
  EXPECT_EQ(message.packed.size(), 1);
}

TEST(Outcome, ALargeResultIsLeftOut) {
  for (const std::size_t size : {limits::kResultInlineBytesMax, limits::kResultInlineBytesMax + 1}) {
    Message message;
    OutcomePacker packer(JobId{1}, ResultWanted::kInline, message.outcomes, message.packed);
    packer.add(JobId{1}, succeeded(one_part(std::string(size, 'x'))));
    const bool fits = size <= limits::kResultInlineBytesMax;
    EXPECT_EQ(message.packed.size(), fits ? 1 : 0);
    if (fits) continue;
    EXPECT_TRUE(message.outcomes[0].result_elided());
    EXPECT_EQ(message.outcomes[0].result_bytes(), size);
    EXPECT_EQ(message.outcomes[0].result_size(), 0);
  }
}

TEST(Outcome, AFailedCommandTellsItsOutputAndItsTails) {
  Ending ending;
  ending.state = JobState::kFailed;
  ending.attempt = 2;
  ending.started_at = {1};
  ending.finished_at = {2};
  ending.result = one_part("out", kStdoutType) + one_part(std::string(5000, 'e'), kStderrType);
  ending.cause = std::make_unique<Cause>(Cause{.kind = CauseKind::kExitCode, .exit_code = 5});
  api::Outcome outcome;
  to_outcome(JobId{9}, ending, ResultWanted::kInline, outcome);
  EXPECT_EQ(outcome.id(), 9u);
  EXPECT_EQ(outcome.attempts(), 2u);
  EXPECT_EQ(outcome.started_us(), 1);
  EXPECT_EQ(outcome.finished_us(), 2);
  EXPECT_EQ(outcome.cause().kind(), api::CAUSE_KIND_COMMAND_EXIT);
  EXPECT_EQ(outcome.cause().exit_code(), 5);
  EXPECT_EQ(outcome.cause().stdout_tail(), "out");
  EXPECT_EQ(outcome.cause().stderr_tail(), std::string(limits::kOutputTailBytes, 'e'));
  EXPECT_EQ(outcome.result_size(), 2);
}

TEST(Outcome, AnOutputInAFileIsCountedAndLeftOut) {
  api::Outcome outcome;
  to_outcome(JobId{9},
             succeeded(one_part("tail", "application/x-futured-stdout; file=\"f\"; total=900; dropped=100; at=5")),
             ResultWanted::kInline, outcome);
  EXPECT_TRUE(outcome.result_elided());
  EXPECT_EQ(outcome.result_bytes(), 800u);
}

TEST(Outcome, EveryCauseHasItsWord) {
  const std::pair<CauseKind, api::CauseKind> kinds[] = {
      {CauseKind::kTaskError, api::CAUSE_KIND_TASK_ERROR},
      {CauseKind::kExitCode, api::CAUSE_KIND_COMMAND_EXIT},
      {CauseKind::kSignal, api::CAUSE_KIND_COMMAND_SIGNAL},
      {CauseKind::kWorkerCrashed, api::CAUSE_KIND_WORKER_DIED},
      {CauseKind::kMayHaveRun, api::CAUSE_KIND_MAY_HAVE_RUN},
      {CauseKind::kQueueTimeout, api::CAUSE_KIND_TIMEOUT},
      {CauseKind::kSoftTimeout, api::CAUSE_KIND_TIMEOUT},
      {CauseKind::kRunTimeout, api::CAUSE_KIND_TIMEOUT},
      {CauseKind::kHeartbeatTimeout, api::CAUSE_KIND_TIMEOUT},
      {CauseKind::kTotalTimeout, api::CAUSE_KIND_TIMEOUT},
      {CauseKind::kCancelled, api::CAUSE_KIND_CANCELLED},
      {CauseKind::kPayloadLost, api::CAUSE_KIND_PAYLOAD_LOST},
      {CauseKind::kNotStarted, api::CAUSE_KIND_COMMAND_NOT_STARTED},
      {CauseKind::kUnknownTask, api::CAUSE_KIND_UNKNOWN_TASK},
      {CauseKind::kBrokenWorker, api::CAUSE_KIND_PROTOCOL},
      {CauseKind::kOutOfMemory, api::CAUSE_KIND_OUT_OF_MEMORY},
      {CauseKind::kResultTooLarge, api::CAUSE_KIND_RESULT_TOO_LARGE},
      {CauseKind::kQuarantined, api::CAUSE_KIND_QUARANTINED},
      {CauseKind::kBadPayload, api::CAUSE_KIND_BAD_PAYLOAD},
  };
  for (const auto& [kind, word] : kinds) {
    api::Cause told;
    to_api(Cause{.kind = kind}, told);
    EXPECT_EQ(told.kind(), word) << to_string(kind);
    EXPECT_EQ(told.timeout() != api::TIMEOUT_KIND_NONE, word == api::CAUSE_KIND_TIMEOUT);
  }
}

TEST(Outcome, StacksAreNotSentUnasked) {
  Ending ending = succeeded("");
  ending.state = JobState::kTimedOut;
  ending.cause =
      std::make_unique<Cause>(Cause{.kind = CauseKind::kSoftTimeout, .message = "m", .stacks = "thread 7\xff"});
  api::Cause told;
  to_api(*ending.cause, told);
  EXPECT_EQ(told.stacks(), "thread 7\xEF\xBF\xBD");
  api::Outcome outcome;
  to_outcome(JobId{1}, ending, ResultWanted::kInline, outcome);
  EXPECT_EQ(outcome.cause().timeout(), api::TIMEOUT_KIND_SOFT);
  EXPECT_EQ(outcome.cause().message(), "m");
  EXPECT_EQ(outcome.cause().stacks(), "");
}

TEST(Outcome, WhatATaskEmittedIsNotInItsResult) {
  std::string encoded;
  append_part(encoded, {.bytes = "result"});
  append_part(encoded, {.content_type = "application/x-futured-emitted", .bytes = "chunks"});
  append_part(encoded, {.content_type = "application/x-futured-log; total=900; dropped=897; at=0", .bytes = "log"});
  api::Outcome outcome;
  to_outcome(JobId{1}, succeeded(encoded), ResultWanted::kInline, outcome);
  ASSERT_EQ(outcome.result_size(), 1);
  EXPECT_EQ(outcome.result(0).data(), "result");
  EXPECT_EQ(outcome.result_bytes(), 6u);
}

TEST(Outcome, TextOfAWorkerBecomesUtf8) {
  api::Cause told;
  to_api(Cause{.kind = CauseKind::kTaskError,
               .error_class = "\xff",
               .message = "gr\xc3\xb6\xc3(\xed\xa0\x80\xf0\x9f\x99\x82\xe2\x82"},
         told);
  EXPECT_EQ(told.error_class(), "\xEF\xBF\xBD");
  EXPECT_EQ(told.message().substr(0, 4), "gr\xc3\xb6");
  api::Cause again;
  EXPECT_TRUE(again.ParseFromString(told.SerializeAsString()));
  EXPECT_NE(told.message().find("\xf0\x9f\x99\x82"), std::string::npos);
}

TEST(Outcome, ADamagedResultIsElidedNotInvented) {
  api::Outcome outcome;
  to_outcome(JobId{1}, succeeded("\x07garbage"), ResultWanted::kInline, outcome);
  EXPECT_TRUE(outcome.result_elided());
  EXPECT_EQ(outcome.result_size(), 0);
}

}  // namespace
}  // namespace futured::rpc
