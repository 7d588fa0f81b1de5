// Refusals of the daemon, as fut tells them.
#include "client/cli/flag_names.h"

#include <gtest/gtest.h>

namespace futured::cli {
namespace {

TEST(FlagNames, StandForTheFieldsOfTheApi) {
  EXPECT_EQ(with_flag_names("spec.timeouts.run_ms: 5 is too much"), "--timeout: 5 is too much");
  EXPECT_EQ(with_flag_names("items[0].idempotency_key: 129 bytes are over 128"), "--key: 129 bytes are over 128");
  EXPECT_EQ(with_flag_names("items[17].command.argv: names no program"), "command: names no program");
  EXPECT_EQ(with_flag_names("filter.queue: 200 bytes are over 128"), "--queue: 200 bytes are over 128");
  EXPECT_EQ(with_flag_names("filter.pool: 200 bytes are over 128"), "--pool: 200 bytes are over 128");
  EXPECT_EQ(with_flag_names("spec.retries.only_classes[0]: PROTOCOL spends no attempt; spec.crashes_max bounds it"),
            "--retry-only: PROTOCOL spends no attempt; --crashes bounds it");
  EXPECT_EQ(with_flag_names("spec.retries.memory_factor: pool \"p\" has no memory_max"),
            "--retry-memory: pool \"p\" has no memory_max");
}

TEST(FlagNames, SayWhichCallbackIsMeant) {
  EXPECT_EQ(with_flag_names("spec.callbacks: 20 are over 16"),
            "--callback, --on-success, --on-failure: 20 are over 16");
  EXPECT_EQ(with_flag_names("spec.callbacks[1].webhook.url: is no URL: No host part in the URL"),
            "callback 2 of --callback, --on-success, --on-failure: is no URL: No host part in the URL");
  EXPECT_EQ(with_flag_names("spec.callbacks[0].webhook.secret_name: there is none"),
            "--callback-secret: there is none");
  EXPECT_EQ(with_flag_names("spec.callbacks[0].follow_up: spec.task: 129 bytes are over 128"),
            "callback 1 of --callback, --on-success, --on-failure: task: 129 bytes are over 128");
  EXPECT_EQ(with_flag_names("spec.webhook.url: is no URL"), "target: is no URL");
  EXPECT_EQ(with_flag_names("spec: no task \"x\""), "target: no task \"x\"");
}

TEST(FlagNames, OfAScheduleAreThoseOfItsJobs) {
  EXPECT_EQ(with_flag_names("schedule.cron: is empty"), "--cron: is empty");
  EXPECT_EQ(with_flag_names("schedule.spec.needs: 20 are over 16"), "--needs: 20 are over 16");
  EXPECT_EQ(with_flag_names("schedule: spec.timeouts.run_ms: 5 is too much"), "--timeout: 5 is too much");
  EXPECT_EQ(with_flag_names("schedule: items[0].command.cwd: is not absolute"), "--cwd: is not absolute");
  EXPECT_EQ(with_flag_names("schedule.item: 99999 bytes are over 65536"), "words: 99999 bytes are over 65536");
}

TEST(FlagNames, AreOnlyThoseThatWereGiven) {
  const auto given = [](const std::string& flag) { return flag == "--after-ok"; };
  EXPECT_EQ(with_flag_names("spec.dependencies[1].job_id: no jobs 8, 9", given), "--after-ok: no jobs 8, 9");
  EXPECT_EQ(with_flag_names("spec.queue: is empty", given), "--queue: is empty") << "a default may be refused, too";
  const auto none = [](const std::string&) { return false; };
  EXPECT_EQ(with_flag_names("spec.dependencies[1].job_id: no job 8", none),
            "--after, --after-ok, --after-failed, --after-any: no job 8");
}

TEST(FlagNames, LeaveOtherWordsAlone) {
  for (const char* message : {"", "no job 7", "no queue \"spec.queue\"", "spec.labels: cannot be honoured yet",
                              "the words spec.queue: are in the middle"}) {
    EXPECT_EQ(with_flag_names(message), message);
  }
}

}  // namespace
}  // namespace futured::cli
