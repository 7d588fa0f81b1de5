// A C plugin's side is written here; tests/system/test_tasks.py runs one that was compiled as C.
#include "worker/sdk/c_plugin.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <string>
#include <vector>

#include "tests/unit/sdk/fakes.h"
#include "worker/sdk/registry.h"

namespace futured::sdk {
namespace {

struct Call {
  const futured_host* host;
  futured_context* context;
  std::span<const futured_part> arguments;
};
using Body = std::function<int(const Call&)>;

int run_body(const futured_host* host, futured_context* context, const futured_part* arguments, std::size_t count,
             void* user) {
  return (*static_cast<const Body*>(user))({host, context, {arguments, count}});
}

futured_task task_named(const char* name) {
  static const Body nothing = [](const Call&) { return FUTURED_OK; };
  return {FUTURED_C_VERSION, sizeof(futured_task), name, nullptr, run_body, const_cast<Body*>(&nothing)};
}

// What the next plugin defines, and what its entry point returns when the host took it.
futured_task g_next;

int define_next(const futured_host* host, futured_plugin* plugin) { return host->add_task(plugin, &g_next); }
int define_next_and_look_away(const futured_host* host, futured_plugin* plugin) {
  (void)host->add_task(plugin, &g_next);
  return FUTURED_OK;
}

// Runs `body` as a task of a C plugin.
std::string call_c(Body body, std::vector<PartView> parts = {}, StopReason stopped = StopReason::kNone) {
  static int count = 0;
  const std::string name = "task " + std::to_string(++count);
  g_next = task_named(name.c_str());
  g_next.user = &body;
  EXPECT_TRUE(register_c_tasks(define_next, "plugin.so").ok());
  FakeContext context;
  context.reason = stopped;
  Collected out;
  registered_tasks().back().function(context, parts, out);
  return out.all;
}

std::string refusal_of(const futured_task& task, CEntry entry = define_next) {
  g_next = task;
  const Status loaded = register_c_tasks(entry, "plugin.so");
  return loaded.ok() ? "loaded" : loaded.error().message;
}

TEST(CPlugin, PartsComeWithTheirContentTypesAndGoBack) {
  const auto reversed = [](const Call& call) {
    int code = FUTURED_OK;
    for (std::size_t i = call.arguments.size(); i-- > 0 && code == FUTURED_OK;) {
      const futured_part& argument = call.arguments[i];
      code = call.host->add_result(call.context, argument.content_type, argument.bytes, argument.size);
    }
    return code;
  };
  EXPECT_EQ(call_c(reversed, {part(kTextType, "one"), part("", ""), part(kJsonType, "3")}),
            "application/json=3;=;text/plain=one;");
  EXPECT_EQ(call_c(reversed), "");
  EXPECT_EQ(call_c([](const Call& call) { return call.host->add_result(call.context, nullptr, "x", 1); }), "=x;");
}

TEST(CPlugin, ArgumentsAreConvertedAsInCpp) {
  const auto all = [](const Call& call) {
    std::int64_t number = 0;
    double real = 0;
    const char* text = nullptr;
    std::size_t size = 0;
    EXPECT_EQ(call.host->get_int(call.context, 0, &number), FUTURED_OK);
    EXPECT_EQ(call.host->get_double(call.context, 1, &real), FUTURED_OK);
    EXPECT_EQ(call.host->get_text(call.context, 2, &text, &size), FUTURED_OK);
    EXPECT_EQ(call.host->get_text(call.context, 1, &text, nullptr), FUTURED_OK);
    EXPECT_EQ(call.host->get_text(call.context, 2, &text, &size), FUTURED_OK);
    EXPECT_EQ(std::tuple(number, real, std::string(text), size), std::tuple(-3, 0.5, std::string("a\nb"), 3u));
    return FUTURED_OK;
  };
  EXPECT_EQ(call_c(all, {part(kJsonType, "-3"), part(kTextType, "0.5"), part(kJsonType, R"("a\nb")")}), "");
}

TEST(CPlugin, AnArgumentThatIsNotWhatTheTaskTakesIsABadArgumentIfTheTaskSaysSo) {
  std::int64_t number = 7;
  const auto strict = [&](const Call& call) { return call.host->get_int(call.context, 0, &number); };
  const auto lenient = [&](const Call& call) { return strict(call) == FUTURED_ERROR ? FUTURED_OK : FUTURED_ERROR; };
  EXPECT_THROW(call_c(strict, {part(kJsonType, "1.5")}), BadArgument);
  EXPECT_THROW(call_c(strict), BadArgument);
  EXPECT_EQ(call_c(lenient, {part(kJsonType, "1.5")}), "");
  EXPECT_EQ(number, 7);
  EXPECT_THROW(call_c([](const Call& call) { return call.host->fail_argument(call.context, "no"); }), BadArgument);
}

TEST(CPlugin, ArraysAreAlignedAndHaveTheirShape) {
  constexpr std::string_view kType = "application/x-futured-array; dtype=float64; shape=2x1";
  const std::array<double, 2> values{1.5, 2.5};
  std::string shifted(1, ' ');
  shifted.append(reinterpret_cast<const char*>(values.data()), sizeof values);
  const auto doubled = [](const Call& call) {
    futured_array array{};
    if (const int code = call.host->get_array(call.context, 0, "float64", &array); code != FUTURED_OK) return code;
    EXPECT_EQ(std::vector<std::uint64_t>(array.shape, array.shape + array.dimensions),
              (std::vector<std::uint64_t>{2, 1}));
    const auto* from = static_cast<const double*>(array.elements);
    auto* to = static_cast<double*>(call.host->make_memory(call.context, array.count * sizeof(double)));
    EXPECT_EQ(to[0], 0);
    std::transform(from, from + array.count, to, [](double each) { return 2 * each; });
    EXPECT_EQ(to[1], 5);
    return call.host->add_array(call.context, "float64", array.shape, array.dimensions, to);
  };
  EXPECT_EQ(call_c(doubled, {part(kType, std::string_view(shifted).substr(1))}), "float64[2]16;");
  EXPECT_THROW(call_c(doubled, {part("application/x-futured-array; dtype=int8; shape=2", "ab")}), BadArgument);
  EXPECT_THROW(call_c(doubled, {part(kTextType, "ab")}), BadArgument);
  const auto scalar = [](const Call& call) { return call.host->add_array(call.context, "int8", nullptr, 0, "a"); };
  EXPECT_EQ(call_c(scalar), "int8[0]1;");
}

TEST(CPlugin, ADtypeThatThereIsNotFailsTheJob) {
  futured_array array{};
  const std::uint64_t shape = 1;
  EXPECT_THROW(call_c([&](const Call& call) { return call.host->get_array(call.context, 0, "float65", &array); },
                      {part(kTextType, "")}),
               TaskError);
  EXPECT_THROW(call_c([&](const Call& call) {
                 (void)call.host->add_array(call.context, "float65", &shape, 1, "");
                 return FUTURED_OK;
               }),
               TaskError);
}

TEST(CPlugin, AFailureCountsWhateverTheTaskReturns) {
  const auto failing = [](std::int64_t retry, int returned) {
    return [=](const Call& call) {
      EXPECT_EQ(call.host->fail(call.context, "Class", "why", retry), FUTURED_ERROR);
      return returned;
    };
  };
  for (const int returned : {int{FUTURED_OK}, int{FUTURED_STOPPED}, int{FUTURED_ERROR}, 77}) {
    try {
      call_c(failing(FUTURED_RETRY_POINTLESS, returned));
      FAIL() << returned;
    } catch (const TaskError& error) {
      EXPECT_EQ(error.error_class(), "Class");
      EXPECT_EQ(error.what(), std::string("why"));
      EXPECT_EQ(error.retry(), Retry::kPointless);
    }
  }
  try {
    call_c(failing(1500, FUTURED_ERROR));
    FAIL();
  } catch (const RetryAfter& error) {
    EXPECT_EQ(error.delay(), std::chrono::milliseconds(1500));
  }
  try {
    call_c(failing(FUTURED_RETRY_ALLOWED, FUTURED_ERROR));
    FAIL();
  } catch (const TaskError& error) {
    EXPECT_EQ(error.retry(), Retry::kAllowed);
  }
}

TEST(CPlugin, AnyOtherNumberIsAFailureThatNamesIt) {
  const auto returns_after_an_error = [](int returned) {
    return [=](const Call& call) {
      std::int64_t number = 0;
      EXPECT_EQ(call.host->get_int(call.context, 0, &number), FUTURED_ERROR);
      return returned;
    };
  };
  try {
    call_c(returns_after_an_error(-5));
    FAIL();
  } catch (const TaskError& error) {
    EXPECT_EQ(error.error_class(), "Failed");
    EXPECT_EQ(error.what(), std::string("the task returned -5"));
  }
  EXPECT_THROW(call_c(returns_after_an_error(FUTURED_ERROR)), BadArgument);
  EXPECT_THROW(call_c([](const Call&) { return FUTURED_ERROR; }), TaskError);
}

futured_child child_of(const char* task, std::span<const futured_part> arguments = {}) {
  futured_child child{};
  child.size = sizeof child;
  child.task = task;
  child.arguments = arguments.data();
  child.count = arguments.size();
  return child;
}

TEST(CPlugin, AChildIsSubmittedWithItsPartsAndOptions) {
  const auto submits = [](const Call& call) {
    futured_child child = child_of("resize", call.arguments);
    child.queue = "images";
    std::uint64_t job = 0;
    const int code = call.host->submit(call.context, &child, &job);
    EXPECT_EQ(job, 7u);
    EXPECT_EQ(call.host->deadline(call.context), 0);
    return code;
  };
  EXPECT_EQ(call_c(submits, {part(kTextType, "a.png"), part("", "b")}), "");
}

TEST(CPlugin, ARefusedChildFailsTheTaskThatReturnsIt) {
  const auto refused = [](const Call& call) {
    const futured_child child = child_of("unknown");
    std::uint64_t job = 5;
    const int code = call.host->submit(call.context, &child, &job);
    EXPECT_EQ(job, 5u);
    return code;
  };
  const auto gets_over_it = [&](const Call& call) { return refused(call) == FUTURED_ERROR ? FUTURED_OK : 1; };
  EXPECT_THROW(call_c(refused), SubmitError);
  EXPECT_EQ(call_c(gets_over_it), "");
  const auto other_size = [](const Call& call) {
    futured_child child = child_of("echo");
    child.size = 8;
    std::uint64_t job = 0;
    return call.host->submit(call.context, &child, &job);
  };
  EXPECT_THROW(call_c(other_size), SubmitError);
}

TEST(CPlugin, JobsAreWaitedForAndRead) {
  const auto waits = [](const Call& call) {
    const std::uint64_t jobs[] = {7, 8};
    int ended = -1;
    EXPECT_EQ(call.host->wait(call.context, jobs, 2, 0, 0, &ended), FUTURED_OK);
    EXPECT_EQ(ended, 1);
    EXPECT_EQ(call.host->wait(call.context, jobs, 2, 5, 1, &ended), FUTURED_OK);
    EXPECT_EQ(ended, 0) << "the time came first";
    EXPECT_EQ(call.host->wait(call.context, jobs, 2, -5, 1, &ended), FUTURED_ERROR);
    futured_outcome outcome{};
    EXPECT_EQ(call.host->outcome(call.context, 7, &outcome), FUTURED_ERROR) << "of no size";
    outcome.size = sizeof outcome;
    EXPECT_EQ(call.host->outcome(call.context, 7, &outcome), FUTURED_ERROR) << "it has not ended";
    const std::uint64_t itself = 1;
    return call.host->wait(call.context, &itself, 1, 0, 0, &ended);
  };
  EXPECT_THROW(call_c(waits), WaitError);
}

TEST(CPlugin, AStopIsSeenHeededOrWorkedThrough) {
  const auto heeds = [](const Call& call) {
    EXPECT_NE(call.host->stop_requested(call.context), 0);
    EXPECT_EQ(call.host->stop_reason(call.context), FUTURED_STOP_SOFT_TIMEOUT);
    EXPECT_EQ(call.host->emit(call.context, "x", 1), FUTURED_STOPPED);
    return call.host->wait_for(call.context, 1000);
  };
  EXPECT_THROW(call_c(heeds, {}, StopReason::kSoftTimeout), Stopped);
  const auto finishes = [&](const Call& call) {
    (void)heeds(call);
    return call.host->add_result(call.context, "", "done", 4);
  };
  EXPECT_EQ(call_c(finishes, {}, StopReason::kSoftTimeout), "=done;");
}

TEST(CPlugin, ATaskKnowsItsAttemptAndMayReport) {
  const auto reports = [](const Call& call) {
    const futured_host& host = *call.host;
    EXPECT_EQ(host.size, sizeof(futured_host));
    EXPECT_EQ(host.job_id(call.context), 1u);
    EXPECT_EQ(host.epoch(call.context), 1u);
    EXPECT_EQ(host.attempt(call.context), 1u);
    EXPECT_EQ(host.jobs_run_before(call.context), 0u);
    host.progress(call.context, 1, 2, nullptr);
    host.log(call.context, 1000, "loud");
    host.heartbeat(call.context);
    EXPECT_EQ(host.emit(call.context, "x", 1), FUTURED_OK);
    EXPECT_EQ(host.stop_requested(call.context), 0);
    return host.wait_for(call.context, 1);
  };
  EXPECT_EQ(call_c(reports), "");
}

TEST(CPlugin, WhatIsNotForThisWorkerIsRefused) {
  futured_task task = task_named("sound");
  task.c_version = FUTURED_C_VERSION + 1;
  EXPECT_EQ(refusal_of(task),
            "plugin.so: a task was built against version 4 of futured/task_c.h, this worker against 3");
  task = task_named("sound");
  task.size = 8;
  EXPECT_EQ(refusal_of(task, define_next_and_look_away),
            "plugin.so: a task has a size of 8 bytes, which is not sizeof(futured_task)");
  task = task_named("sound");
  task.run = nullptr;
  EXPECT_EQ(refusal_of(task), "plugin.so: task 'sound' has no function");
  EXPECT_EQ(refusal_of({}, [](const futured_host*, futured_plugin*) { return 9; }),
            "plugin plugin.so: futured_plugin_tasks returned 9");
  EXPECT_EQ(
      refusal_of({}, [](const futured_host* host, futured_plugin* plugin) { return host->add_task(plugin, nullptr); }),
      "plugin.so: add_task was given no task");
  EXPECT_TRUE(registration_status().ok());
}

// The last one, since what is wrong with a registry stays wrong.
TEST(CPlugin, NamesAreThoseOfEveryOtherTask) {
  futured_task task = task_named("taken");
  task.version = "7";
  EXPECT_EQ(refusal_of(task), "loaded");
  EXPECT_EQ(registered_tasks().back().version, "7");
  EXPECT_EQ(refusal_of(task_named("taken")), "plugin plugin.so: futured_plugin_tasks returned 2");
  EXPECT_EQ(registration_status().error().message, "task 'taken' is defined already as a built-in task");
  EXPECT_EQ(refusal_of(task_named(nullptr)), "plugin plugin.so: futured_plugin_tasks returned 2");
}

}  // namespace
}  // namespace futured::sdk
