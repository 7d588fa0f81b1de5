#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "base/limits.h"
#include "daemon/rpc/convert.h"

namespace futured::rpc {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Wrong {
  const char* field;
  ErrorCode code;
  std::function<void(api::JobSpec&)> ask;
};

void expect_refused(const Wrong& wrong) {
  api::JobSpec asked;
  asked.set_task("noop");
  wrong.ask(asked);
  const auto spec = to_spec(asked);
  ASSERT_FALSE(spec.ok()) << wrong.field;
  EXPECT_EQ(spec.error().code, wrong.code) << wrong.field << " " << spec.error().message;
  EXPECT_EQ(field_of(spec.error()), wrong.field);
}

TEST(Spec, AnEmptyOneSaysNothing) {
  const auto spec = to_spec(api::JobSpec());
  ASSERT_TRUE(spec.ok());
  EXPECT_EQ(spec->queue, "default");
  EXPECT_EQ(spec->max_attempts, 0u);
  EXPECT_TRUE(spec->task.empty());
  EXPECT_EQ(spec->backoff_factor, 0);
  EXPECT_EQ(spec->crashes_max, 3u);
}

void ask_memory(api::JobSpec& spec, double factor, std::int64_t bytes_max) {
  spec.mutable_retries()->set_max_attempts(2);
  spec.mutable_retries()->set_memory_factor(factor);
  spec.mutable_retries()->set_memory_bytes_max(bytes_max);
}

TEST(Spec, EveryFieldThatIsBuiltComesThrough) {
  api::JobSpec asked;
  asked.set_queue("q");
  asked.set_pool("p");
  asked.set_task("t");
  asked.set_name("größer");
  asked.set_priority(-3);
  asked.mutable_retries()->set_max_attempts(7);
  asked.mutable_retries()->set_backoff_ms(20);
  asked.mutable_retries()->set_factor(3);
  asked.mutable_retries()->set_backoff_ms_max(500);
  asked.mutable_retries()->set_jitter(0.25);
  asked.mutable_retries()->add_only_classes("std::map<int, größer>");
  asked.mutable_retries()->add_only_classes("TIMEOUT");
  asked.mutable_retries()->add_except_classes("exit:75");
  asked.mutable_retries()->set_memory_factor(1.5);
  asked.mutable_retries()->set_memory_bytes_max(std::int64_t{3} << 30);
  asked.set_crashes_max(9);
  asked.mutable_timeouts()->set_queue_ms(1);
  asked.mutable_timeouts()->set_run_ms(2);
  asked.mutable_timeouts()->set_total_ms(3);
  asked.mutable_timeouts()->set_grace_ms(4);
  asked.mutable_timeouts()->set_soft_ms(1);
  asked.mutable_timeouts()->set_heartbeat_ms(5);
  const auto spec = to_spec(asked);
  ASSERT_TRUE(spec.ok()) << spec.error().message;
  using std::chrono::milliseconds;
  const JobSpec expected{.queue = "q",
                         .pool = "p",
                         .task = "t",
                         .name = "größer",
                         .priority = -3,
                         .max_attempts = 7,
                         .backoff = milliseconds(20),
                         .backoff_factor = 3,
                         .backoff_max = milliseconds(500),
                         .jitter = 0.25,
                         .queue_timeout = milliseconds(1),
                         .soft_timeout = milliseconds(1),
                         .run_timeout = milliseconds(2),
                         .heartbeat_timeout = milliseconds(5),
                         .total_timeout = milliseconds(3),
                         .grace = milliseconds(4),
                         .retry_only = {"std::map<int, größer>", "TIMEOUT"},
                         .retry_except = {"exit:75"},
                         .retry_memory_factor = 1.5,
                         .retry_memory_bytes_max = std::uint64_t{3} << 30,
                         .crashes_max = 9};
  EXPECT_EQ(*spec, expected);

  api::JobSpec told;
  to_api(*spec, told);
  const auto again = to_spec(told);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, expected);
}

TEST(Spec, WhatIsNotSaidIsLeftToTheQueue) {
  api::JobSpec asked;
  asked.mutable_retries()->set_backoff_ms(5);
  EXPECT_EQ(to_spec(asked)->max_attempts, 0u);
  EXPECT_EQ(to_spec(asked)->backoff_factor, 0);
  EXPECT_EQ(to_spec(asked)->backoff_max, Duration(0));
}

TEST(Spec, NeedsLieInOneOrderAndOfNoneIsOne) {
  api::JobSpec asked;
  asked.mutable_needs()->Add()->set_semaphore("license");
  asked.mutable_needs()->Add()->set_semaphore("gpu");
  asked.mutable_needs(1)->set_permits(3);
  asked.set_limit_key("customer");
  asked.set_max_failures(0);
  asked.set_fairness_key("tenant");
  const auto spec = to_spec(asked);
  ASSERT_TRUE(spec.ok());
  EXPECT_EQ(spec->needs, (std::vector<Need>{{"gpu", 3}, {"license", 1}}));
  EXPECT_EQ(spec->limit_key, "customer");
  EXPECT_EQ(spec->max_failures, std::optional<std::uint32_t>(0));
  EXPECT_EQ(spec->fairness_key, "tenant");
}

TEST(Spec, ANeedThatSaysTooMuchOrNothingIsRefused) {
  const Wrong fields[] = {
      {"spec.needs[0].semaphore", ErrorCode::kInvalidArgument, [](auto& s) { s.add_needs(); }},
      {"spec.needs", ErrorCode::kInvalidArgument,
       [](auto& s) {
         s.add_needs()->set_semaphore("gpu");
         s.add_needs()->set_semaphore("gpu");
       }},
      {"spec.needs", ErrorCode::kResourceExhausted,
       [](auto& s) {
         for (int i = 0; i < 17; ++i) s.add_needs()->set_semaphore(std::to_string(i));
       }},
      {"spec.needs[0].permits", ErrorCode::kResourceExhausted,
       [](auto& s) {
         s.add_needs()->set_semaphore("gpu");
         s.mutable_needs(0)->set_permits(1'000'001);
       }},
  };
  for (const Wrong& field : fields) expect_refused(field);
}

TEST(Spec, WhatIsKnownButNotBuiltIsRefusedByName) {
  const Wrong fields[] = {
      {"spec.labels", ErrorCode::kUnimplemented, [](auto& s) { (*s.mutable_labels())["a"] = "b"; }},
      {"spec.retention_ms", ErrorCode::kInvalidArgument, [](auto& s) { s.set_retention_ms(-1); }},
      {"spec.memory_bytes_max", ErrorCode::kUnimplemented, [](auto& s) { s.set_memory_bytes_max(1); }},
      {"spec.output_bytes_max", ErrorCode::kUnimplemented, [](auto& s) { s.set_output_bytes_max(1); }},
      {"spec.parent_id", ErrorCode::kUnimplemented, [](auto& s) { s.set_parent_id(1); }},
      {"spec.task_version", ErrorCode::kUnimplemented, [](auto& s) { s.set_task_version("1"); }},
      {"spec.compression_level", ErrorCode::kUnimplemented, [](auto& s) { s.set_compression_level(1); }},
  };
  for (const Wrong& field : fields) expect_refused(field);
}

TEST(Spec, DurableSegmentsAreForWhatClientsSubmit) {
  api::JobSpec asked;
  asked.set_task("sum");
  EXPECT_TRUE(refuse_durable_segments(asked, "schedule.spec").ok());
  asked.set_durable_segments(true);
  EXPECT_TRUE(to_spec(asked).ok());
  const Status refused = refuse_durable_segments(asked, "schedule.spec");
  EXPECT_EQ(field_of(refused.error()), "schedule.spec.durable_segments");
}

TEST(Start, IsATimeOrADelayAndNotBoth) {
  api::JobSpec asked;
  EXPECT_EQ(to_start(asked)->at, WallTime{});
  asked.set_start_at_us(5);
  EXPECT_EQ(to_start(asked)->at, WallTime{5});
  asked.set_start_after_ms(7);
  EXPECT_EQ(field_of(to_start(asked).error()), "spec.start_after_ms");
  asked.clear_start_at_us();
  EXPECT_EQ(to_start(asked)->after, Duration(std::chrono::milliseconds(7)));
  asked.set_start_after_ms(-1);
  EXPECT_EQ(to_start(asked).error().code, ErrorCode::kInvalidArgument);
  asked.set_start_after_ms(INT64_MAX);
  EXPECT_EQ(to_start(asked).error().code, ErrorCode::kResourceExhausted);
  asked.clear_start_after_ms();
  asked.set_start_at_us(-1);
  EXPECT_EQ(field_of(to_start(asked).error()), "spec.start_at_us");
}

// A field that is added to the API must be taken up here or be refused: silence would be a lie.
TEST(Spec, EveryFieldOfTheMessageIsEitherBuiltOrRefused) {
  const std::set<std::string> built = {"queue",           "pool",           "task",         "name",
                                       "priority",        "retries",        "timeouts",     "at_most_once",
                                       "crashes_max",     "callbacks",      "front",        "fairness_key",
                                       "limit_key",       "needs",          "max_failures", "retention_ms",
                                       "start_at_us",     "start_after_ms", "cache",        "dependencies",
                                       "durable_segments"};  // to_start, to_cache_terms, check_batch
  const auto* descriptor = api::JobSpec::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    if (built.contains(field->name())) continue;
    api::JobSpec asked;
    const auto* reflection = asked.GetReflection();
    using Type = google::protobuf::FieldDescriptor;
    if (field->is_repeated()) {
      reflection->AddMessage(&asked, field);
    } else {
      switch (field->cpp_type()) {
        case Type::CPPTYPE_MESSAGE:
          reflection->MutableMessage(&asked, field);
          break;
        case Type::CPPTYPE_STRING:
          reflection->SetString(&asked, field, "x");
          break;
        case Type::CPPTYPE_BOOL:
          reflection->SetBool(&asked, field, true);
          break;
        case Type::CPPTYPE_INT64:
          reflection->SetInt64(&asked, field, 1);
          break;
        case Type::CPPTYPE_UINT64:
          reflection->SetUInt64(&asked, field, 1);
          break;
        case Type::CPPTYPE_INT32:
          reflection->SetInt32(&asked, field, 1);
          break;
        case Type::CPPTYPE_UINT32:
          reflection->SetUInt32(&asked, field, 1);
          break;
        default:
          FAIL() << "a new kind of field: " << field->name();
      }
    }
    const auto spec = to_spec(asked);
    ASSERT_FALSE(spec.ok()) << field->name() << " is silently ignored";
    EXPECT_EQ(spec.error().code, ErrorCode::kUnimplemented) << field->name();
    EXPECT_EQ(field_of(spec.error()), "spec." + field->name());
  }
}

TEST(Spec, NumbersThatCannotBeRightAreRefusedByName) {
  constexpr auto kInvalid = ErrorCode::kInvalidArgument;
  constexpr auto kTooMuch = ErrorCode::kResourceExhausted;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinite = std::numeric_limits<double>::infinity();
  const Wrong fields[] = {
      {"spec.timeouts.queue_ms", kInvalid, [](auto& s) { s.mutable_timeouts()->set_queue_ms(-1); }},
      {"spec.timeouts.run_ms", kInvalid, [](auto& s) { s.mutable_timeouts()->set_run_ms(INT64_MIN); }},
      {"spec.timeouts.soft_ms", kInvalid, [](auto& s) { s.mutable_timeouts()->set_soft_ms(-1); }},
      {"spec.timeouts.heartbeat_ms", kTooMuch, [](auto& s) { s.mutable_timeouts()->set_heartbeat_ms(INT64_MAX); }},
      {"spec.timeouts.soft_ms", kInvalid,
       [](auto& s) {
         s.mutable_timeouts()->set_soft_ms(500);
         s.mutable_timeouts()->set_run_ms(500);
       }},
      {"spec.timeouts.total_ms", kTooMuch, [](auto& s) { s.mutable_timeouts()->set_total_ms(INT64_MAX); }},
      {"spec.timeouts.grace_ms", kTooMuch,
       [](auto& s) { s.mutable_timeouts()->set_grace_ms(limits::kTimeoutMsMax + 1); }},
      {"spec.retries.max_attempts", kTooMuch, [](auto& s) { s.mutable_retries()->set_max_attempts(1001); }},
      {"spec.crashes_max", kTooMuch, [](auto& s) { s.set_crashes_max(101); }},
      {"spec.retries.only_classes[0]", kInvalid, [](auto& s) { s.mutable_retries()->add_only_classes(""); }},
      {"spec.retries.only_classes[0]", kInvalid,
       [](auto& s) { s.mutable_retries()->add_only_classes(std::string(129, 'x')); }},
      {"spec.retries.except_classes[0]", kInvalid, [](auto& s) { s.mutable_retries()->add_except_classes("a\nb"); }},
      {"spec.retries.except_classes[0]", kInvalid,
       [](auto& s) { s.mutable_retries()->add_except_classes("WORKER_DIED"); }},
      {"spec.retries.only_classes[0]", kInvalid, [](auto& s) { s.mutable_retries()->add_only_classes("BAD_PAYLOAD"); }},
      {"spec.retries.only_classes", kTooMuch,
       [](auto& s) {
         for (std::size_t i = 0; i <= limits::kRetryClassesMax; ++i) s.mutable_retries()->add_only_classes("x");
       }},
      {"spec.retries.backoff_ms", kInvalid, [](auto& s) { s.mutable_retries()->set_backoff_ms(-1); }},
      {"spec.retries.backoff_ms_max", kTooMuch,
       [](auto& s) { s.mutable_retries()->set_backoff_ms_max(limits::kBackoffMsMax + 1); }},
      {"spec.retries.factor", kInvalid, [](auto& s) { s.mutable_retries()->set_factor(0.5); }},
      {"spec.retries.factor", kTooMuch, [](auto& s) { s.mutable_retries()->set_factor(101); }},
      {"spec.retries.factor", kInvalid, [=](auto& s) { s.mutable_retries()->set_factor(nan); }},
      {"spec.retries.factor", kInvalid, [=](auto& s) { s.mutable_retries()->set_factor(infinite); }},
      {"spec.retries.jitter", kInvalid, [](auto& s) { s.mutable_retries()->set_jitter(1.5); }},
      {"spec.retries.jitter", kInvalid, [](auto& s) { s.mutable_retries()->set_jitter(-0.1); }},
      {"spec.retries.jitter", kInvalid, [=](auto& s) { s.mutable_retries()->set_jitter(nan); }},
      {"spec.retries.memory_factor", kInvalid, [=](auto& s) { ask_memory(s, 1, 1 << 30); }},
      {"spec.retries.memory_factor", kInvalid, [=](auto& s) { ask_memory(s, -2, 1 << 30); }},
      {"spec.retries.memory_factor", kInvalid, [=](auto& s) { ask_memory(s, nan, 1 << 30); }},
      {"spec.retries.memory_factor", kInvalid, [=](auto& s) { ask_memory(s, infinite, 1 << 30); }},
      {"spec.retries.memory_factor", kTooMuch, [=](auto& s) { ask_memory(s, 101, 1 << 30); }},
      {"spec.retries.memory_factor", kInvalid, [=](auto& s) { ask_memory(s, 2, 0); }},
      {"spec.retries.memory_bytes_max", kInvalid, [=](auto& s) { ask_memory(s, 0, 1 << 30); }},
      {"spec.retries.memory_bytes_max", kInvalid, [=](auto& s) { ask_memory(s, 2, -1); }},
      {"spec.retries.memory_bytes_max", kTooMuch, [=](auto& s) { ask_memory(s, 2, limits::kRetryMemoryBytesMax + 1); }},
      {"spec.retries.memory_factor", kInvalid,
       [=](auto& s) {
         ask_memory(s, 2, 1 << 30);
         s.mutable_retries()->set_max_attempts(1);
       }},
      {"spec.retries.max_attempts", kInvalid,
       [](auto& s) {
         s.set_at_most_once(true);
         s.mutable_retries()->set_max_attempts(2);
       }},
  };
  for (const Wrong& field : fields) expect_refused(field);
}

TEST(Spec, NamesAreUtf8WithoutControlCharactersAndShort) {
  const std::string wrong[] = {
      std::string(129, 'x'), "new\nline", std::string("nul\0", 4), "del\x7f",  "\xff\xfe", "\xc3(",
      "\xed\xa0\x80",        "\xc0\xaf",  "\xf5\x80\x80\x80",      "\xe2\x82", "\xc2\x85"};
  for (const std::string& name : wrong) {
    for (const char* field : {"queue", "pool", "task", "name"}) {
      api::JobSpec asked;
      asked.GetReflection()->SetString(&asked, asked.GetDescriptor()->FindFieldByName(field), name);
      const auto spec = to_spec(asked);
      ASSERT_FALSE(spec.ok()) << testing::PrintToString(name);
      EXPECT_EQ(spec.error().code, ErrorCode::kInvalidArgument);
      EXPECT_EQ(field_of(spec.error()), std::string("spec.") + field);
    }
  }
  for (const std::string name : {"a", "größer", "日本", "🙂/x.y", "spaces are fine"}) {
    EXPECT_TRUE(check_name(name, "name").ok()) << name;
  }
  EXPECT_FALSE(check_name("", "name").ok());
}

}  // namespace
}  // namespace futured::rpc
