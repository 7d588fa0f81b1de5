#include "daemon/rpc/convert_callback.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>

#include <functional>

#include "base/command.h"
#include "base/limits.h"

namespace futured::rpc {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const CallbackNames kNames{{"ci"}, {"peer"}};

api::JobSpec with(const std::function<void(api::CallbackSpec&)>& ask) {
  api::JobSpec asked;
  asked.set_task("noop");
  ask(*asked.add_callbacks());
  return asked;
}

CallbackSpec only(const api::JobSpec& asked) {
  const auto spec = to_spec(asked, kNames);
  EXPECT_TRUE(spec.ok()) << (spec.ok() ? "" : spec.error().message);
  const auto callbacks = decode_callbacks(spec->callbacks);
  EXPECT_TRUE(callbacks.ok() && callbacks->size() == 1);
  return callbacks->front();
}

TEST(Callback, AWebhookComesThrough) {
  const CallbackSpec spec = only(with([](auto& c) {
    c.mutable_webhook()->set_url("https://example.org/done");
    c.mutable_webhook()->set_secret_name("ci");
    (*c.mutable_webhook()->mutable_headers())["Authorization"] = "Bearer x";
    c.set_condition(api::COMPLETION_CONDITION_NOT_SUCCEEDED);
    c.set_timeout_ms(2000);
    c.mutable_retries()->set_max_attempts(3);
    c.mutable_retries()->set_backoff_ms(500);
  }));
  EXPECT_EQ(spec.target, CallbackTarget::kWebhook);
  EXPECT_EQ(spec.condition, CompletionCondition::kNotSucceeded);
  EXPECT_EQ(spec.address, "https://example.org/done");
  EXPECT_EQ(spec.credential, "ci");
  EXPECT_EQ(spec.headers.at(0).second, "Bearer x");
  EXPECT_EQ(spec.timeout, std::chrono::seconds(2));
  EXPECT_EQ(spec.retries.max_attempts, 3u);
  EXPECT_EQ(spec.retries.backoff, std::chrono::milliseconds(500));
}

TEST(Callback, DefaultsAreThoseOfTheApi) {
  const CallbackSpec spec = only(with([](auto& c) { c.mutable_webhook()->set_url("http://example.org/"); }));
  EXPECT_EQ(spec.retries, DeliveryRetries());
  EXPECT_EQ(spec.retries.max_attempts, 12u);
  EXPECT_EQ(spec.timeout, std::chrono::seconds(10));
  EXPECT_EQ(spec.condition, CompletionCondition::kEnded);
}

TEST(Callback, WhatAHeaderHoldsIsNotTold) {
  const CallbackSpec spec = only(with([](auto& c) {
    c.mutable_webhook()->set_url("https://example.org/done");
    (*c.mutable_webhook()->mutable_headers())["Authorization"] = "Bearer x";
  }));
  api::CallbackSpec told;
  to_api(spec, told);
  EXPECT_EQ(told.webhook().headers().at("Authorization"), "(hidden)");
}

TEST(Callback, WhatCannotBeRightIsRefusedByName) {
  constexpr auto kInvalid = ErrorCode::kInvalidArgument;
  constexpr auto kTooMuch = ErrorCode::kResourceExhausted;
  struct {
    const char* field;
    ErrorCode code;
    std::function<void(api::CallbackSpec&)> ask;
  } const wrong[] = {
      {"spec.callbacks[0]", kInvalid, [](auto&) {}},
      {"spec.callbacks[0].webhook.url", kInvalid, [](auto& c) { c.mutable_webhook()->set_url("example.org"); }},
      {"spec.callbacks[0].webhook.url", kInvalid, [](auto& c) { c.mutable_webhook()->set_url("ftp://example.org/"); }},
      {"spec.callbacks[0].webhook.secret_name", kInvalid,
       [](auto& c) {
         c.mutable_webhook()->set_url("http://example.org/");
         c.mutable_webhook()->set_secret_name("nobody");
       }},
      {"spec.callbacks[0].webhook.headers", kInvalid,
       [](auto& c) {
         c.mutable_webhook()->set_url("http://example.org/");
         (*c.mutable_webhook()->mutable_headers())["X"] = "a\r\nY: b";
       }},
      {"spec.callbacks[0].webhook.headers", kInvalid,
       [](auto& c) {
         c.mutable_webhook()->set_url("http://example.org/");
         (*c.mutable_webhook()->mutable_headers())["Futured-Signature"] = "v1=0";
       }},
      {"spec.callbacks[0].webhook.headers", kInvalid,
       [](auto& c) {
         c.mutable_webhook()->set_url("http://example.org/");
         (*c.mutable_webhook()->mutable_headers())["no name"] = "x";
       }},
      {"spec.callbacks[0].webhook.url", kInvalid, [](auto& c) { c.mutable_webhook()->set_url("http://10.0.0.1/"); }},
      {"spec.callbacks[0].grpc.address", kInvalid, [](auto& c) { c.mutable_grpc()->set_address("example.org:443"); }},
      {"spec.callbacks[0].grpc.address", kInvalid, [](auto& c) { c.mutable_grpc()->set_address(""); }},
      {"spec.callbacks[0].grpc.address", kInvalid,
       [](auto& c) { c.mutable_grpc()->set_address("127.0.0.1.example.org:443"); }},
      {"spec.callbacks[0].grpc.tls_name", kInvalid,
       [](auto& c) {
         c.mutable_grpc()->set_address("example.org:443");
         c.mutable_grpc()->set_tls_name("nobody");
       }},
      {"spec.callbacks[0].command.argv", kInvalid, [](auto& c) { c.mutable_command(); }},
      {"spec.callbacks[0].command.stdin_bytes", kInvalid,
       [](auto& c) {
         c.mutable_command()->add_argv("true");
         c.mutable_command()->set_stdin_bytes("x");
       }},
      {"spec.callbacks[0].follow_up.spec.task", kInvalid, [](auto& c) { c.mutable_follow_up(); }},
      {"spec.callbacks[0].timeout_ms", kInvalid, [](auto& c) { c.set_timeout_ms(-1); }},
      {"spec.callbacks[0].timeout_ms", kTooMuch, [](auto& c) { c.set_timeout_ms(limits::kCallbackTimeoutMsMax + 1); }},
      {"spec.callbacks[0].retries.max_attempts", kTooMuch,
       [](auto& c) { c.mutable_retries()->set_max_attempts(limits::kCallbackAttemptsMax + 1); }},
      {"spec.callbacks[0].retries.jitter", kInvalid, [](auto& c) { c.mutable_retries()->set_jitter(2); }},
      {"spec.callbacks[0].retries.only_classes", ErrorCode::kUnimplemented,
       [](auto& c) { c.mutable_retries()->add_only_classes("x"); }},
      {"spec.callbacks[0]", kTooMuch,
       [](auto& c) {
         c.mutable_webhook()->set_url("http://example.org/");
         (*c.mutable_webhook()->mutable_headers())["X"] = std::string(limits::kCallbackBytesMax, 'x');
       }},
  };
  for (const auto& one : wrong) {
    const auto spec = to_spec(with(one.ask), kNames);
    ASSERT_FALSE(spec.ok()) << one.field;
    EXPECT_EQ(spec.error().code, one.code) << spec.error().message;
    EXPECT_EQ(field_of(spec.error()), one.field) << spec.error().message;
  }
  api::JobSpec many;
  for (std::size_t i = 0; i <= limits::kCallbacksPerSpecMax; ++i) {
    many.add_callbacks()->mutable_webhook()->set_url("http://example.org/");
  }
  EXPECT_EQ(to_spec(many).error().code, kTooMuch);
}

TEST(Callback, GrpcInPlainTextStaysOnTheMachine) {
  for (const char* address : {"unix:/run/listener", "localhost:50051", "127.0.0.1:50051", "[::1]:50051"}) {
    EXPECT_EQ(only(with([&](auto& c) { c.mutable_grpc()->set_address(address); })).address, address);
  }
  const CallbackSpec away = only(with([](auto& c) {
    c.mutable_grpc()->set_address("example.org:443");
    c.mutable_grpc()->set_tls_name("peer");
  }));
  EXPECT_EQ(away.credential, "peer");
}

DeliveryRecord delivery() {
  DeliveryRecord record;
  record.callback.id = CallbackId{1344};
  record.callback.job = JobId{42};
  record.job.job.id = JobId{42};
  record.job.job.submitted_at = WallTime{5};
  record.job.spec.name = "nightly";
  record.job.ending.state = JobState::kFailed;
  record.job.ending.attempt = 2;
  record.job.ending.cause = std::make_unique<Cause>(Cause{.kind = CauseKind::kExitCode, .exit_code = 3});
  return record;
}

TEST(Completion, TellsTheOutcomeAndItself) {
  api::Completion completion;
  to_completion(delivery(), 2, completion);
  EXPECT_EQ(completion.delivery_id(), "1344");
  EXPECT_EQ(completion.delivery_attempt(), 2u);
  EXPECT_EQ(completion.name(), "nightly");
  EXPECT_EQ(completion.outcome().id(), 42u);
  EXPECT_EQ(completion.outcome().submitted_us(), 5);
  EXPECT_EQ(completion.outcome().cause().exit_code(), 3);
  EXPECT_EQ(completion.batch_id(), 0u);
  DeliveryRecord of_batch = delivery();
  of_batch.batch = WholeBatchRow{JobId{40}, 3, 3, 1};
  to_completion(of_batch, 1, completion);
  EXPECT_EQ(completion.batch_id(), 40u);
  EXPECT_EQ(completion.batch_jobs(), 3u);
  EXPECT_EQ(completion.batch_failed(), 1u);
}

TEST(Completion, IsTheSameMessageAsJson) {
  const std::string json = completion_json(delivery(), 2);
  EXPECT_THAT(json, HasSubstr("\"delivery_id\":\"1344\""));
  EXPECT_THAT(json, HasSubstr("\"state\":\"JOB_STATE_FAILED\""));
  api::Completion read;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json, &read).ok());
  EXPECT_EQ(read.outcome().id(), 42u);
}

}  // namespace
}  // namespace futured::rpc
