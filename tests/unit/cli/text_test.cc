// The words that fut reads and writes.
#include "client/cli/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "base/limits.h"
#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/output.h"

namespace futured::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Durations, HaveUnits) {
  EXPECT_EQ(parse_duration("500ms", "--t").count(), 500);
  EXPECT_EQ(parse_duration("5", "--t").count(), 5'000);
  EXPECT_EQ(parse_duration("1.5h", "--t").count(), 5'400'000);
  EXPECT_EQ(parse_duration("2min", "--t").count(), 120'000);
  EXPECT_EQ(parse_duration("1h30m", "--t").count(), 5'400'000);
  EXPECT_EQ(parse_duration("1m500ms", "--t").count(), 60'500);
  EXPECT_EQ(parse_duration("366d", "--t").count(), 366LL * 86'400'000);
}

TEST(Durations, ThatAreNoneAreRefusedByName) {
  for (const char* word :
       {"", "soon", "-5s", "5 s", "5x", "1e400", "367d", "nan", "inf", "ms", "1h30", "1h-5m", "200d200d"}) {
    try {
      static_cast<void>(parse_duration(word, "--timeout"));
      FAIL() << word;
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr("--timeout"));
      EXPECT_THAT(error.what(), HasSubstr(word));
    }
  }
}

TEST(OneLine, TakesWhatATerminalWouldObey) {
  EXPECT_EQ(one_line("a\nb\x1b[31mc\x7f\t\xc3\xa4"), "a b?[31mc??\xc3\xa4");
}

TEST(OneLine, TakesC1ControlsToo) {
  EXPECT_EQ(one_line("a\xc2\x9b\x33\x31m"), "a?31m") << "a terminal obeys U+009B as it does ESC [";
  EXPECT_EQ(one_line("\xc2\xa0\xc2"), "\xc2\xa0\xc2") << "what is no control stays, whole or not";
}

TEST(HarmlessLines, KeepLineBreaksAndTabs) { EXPECT_EQ(harmless_lines("a\tb\n\x1b[2J\r\n"), "a\tb\n?[2J?\n"); }

TEST(LongText, IsCutBetweenCharacters) {
  EXPECT_EQ(cut_to("abcdef", 6), "abcdef");
  EXPECT_EQ(cut_to("abcdefg", 6), "abcde…");
  EXPECT_EQ(cut_to("äöüäöü", 6), "äöüäöü") << "twelve bytes, six characters";
  EXPECT_EQ(cut_to("äöüäöüä", 6), "äöüäö…");
  EXPECT_EQ(cut_to(std::string(100, '\x80'), 6).size(), 5 + std::string("…").size()) << "not UTF-8: bytes count";
}

TEST(LongText, KeepsBothEnds) {
  EXPECT_EQ(shortened("0123456789", 10), "0123456789");
  EXPECT_EQ(shortened("0123456789a", 10), "01234…789a");
  EXPECT_EQ(shortened("ääääääääääz", 10), "äääää…äääz");
  EXPECT_LT(shortened(std::string(100'000, '\xff'), 60).size(), 70u);
}

TEST(Durations, ThatWereAskedForAreToldExactly) {
  EXPECT_EQ(exact_duration_text(client::Milliseconds(0)), "0 s");
  EXPECT_EQ(exact_duration_text(client::Milliseconds(500)), "500 ms");
  EXPECT_EQ(exact_duration_text(client::Milliseconds(120'000)), "2 min");
  EXPECT_EQ(exact_duration_text(client::Milliseconds(5'400'001)), "1 h 30 min 1 ms");
  EXPECT_EQ(exact_duration_text(client::Milliseconds(366LL * 86'400'000)), "366 d");
}

TEST(Ids, MayBeRanges) { EXPECT_THAT(parse_ids({"7", "3-5"}), ElementsAre(7u, 3u, 4u, 5u)); }

TEST(Ids, ThatAreNoneAreRefused) {
  for (const char* word : {"", "x", "0", "-1", "5-3", "1-", "1-99999999999", "18446744073709551616", "1.5"}) {
    EXPECT_THROW(static_cast<void>(parse_ids({word})), UsageError) << word;
  }
}

TEST(Ids, AtTheTopOfTheNumbersEnd) {
  EXPECT_THAT(parse_ids({"18446744073709551614-18446744073709551615"}), ElementsAre(UINT64_MAX - 1, UINT64_MAX));
}

TEST(Arguments, FillEveryPlaceOrComeLast) {
  EXPECT_THAT(fill_in({"cp", "{}", "{}.bak"}, "a b"), ElementsAre("cp", "a b", "a b.bak"));
  EXPECT_THAT(fill_in({"echo"}, "x"), ElementsAre("echo", "x"));
  EXPECT_THAT(fill_in({"{}{}"}, "{}"), ElementsAre("{}{}")) << "an argument is not filled in again";
}

TEST(Arguments, OfACallCarryTheirType) {
  EXPECT_EQ(parse_argument("[1, 2]").content_type, client::kJsonType);
  EXPECT_EQ(parse_argument("plain words").content_type, client::kTextType);
  const std::string path = testing::TempDir() + "argument";
  std::ofstream(path) << "bytes";
  EXPECT_EQ(parse_argument("@" + path).bytes, "bytes");
  EXPECT_EQ(parse_argument("@" + path).content_type, "");
  EXPECT_THROW(static_cast<void>(parse_argument("@/no/such/file")), UsageError);
}

std::string problem_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(Arguments, ThatAreNoFilesAreNamedWithTheReason) {
  EXPECT_EQ(problem_of([] { static_cast<void>(parse_argument("@/")); }), "/: Is a directory");
  EXPECT_EQ(problem_of([] { static_cast<void>(parse_argument("@/no/such")); }), "/no/such: No such file or directory");
}

TEST(Arguments, WithoutAnEndAreReadNoFurtherThanTheBound) {
  EXPECT_THAT(problem_of([] { static_cast<void>(parse_argument("@/dev/zero")); }),
              HasSubstr("/dev/zero: over 4.0 MiB"));
}

TEST(Arguments, MayBeAsLargeAsTheBound) {
  const std::string path = testing::TempDir() + "largest";
  std::ofstream(path) << std::string(limits::kPayloadBytesMax, 'x');
  EXPECT_EQ(parse_argument("@" + path).bytes.size(), limits::kPayloadBytesMax);
}

TEST(Names, AreUtf8) {
  EXPECT_EQ(problem_of([] { require_utf8("--name", "caf\xc3\xa9"); }), "");
  for (const char* word : {"\xff", "\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80"}) {
    EXPECT_EQ(problem_of([&] { require_utf8("--name", word); }), "--name: not UTF-8") << word;
  }
}

TEST(Bytes, AreReadAsTheConfigurationHasThem) {
  EXPECT_EQ(parse_bytes("65536", "--x"), 65'536);
  EXPECT_EQ(parse_bytes("7B", "--x"), 7);
  EXPECT_EQ(parse_bytes("512MiB", "--x"), 536'870'912);
  EXPECT_EQ(parse_bytes("2TiB", "--x"), std::int64_t{2} << 40);
  for (const char* word :
       {"", "0", "-1", "MiB", "1MB", "1.5GiB", "1 GiB", "1GiBs", "9000000TiB", "99999999999999999999"}) {
    EXPECT_THAT(problem_of([&] { static_cast<void>(parse_bytes(word, "--x")); }),
                HasSubstr("--x: \"" + std::string(word) + "\" is no number of bytes"));
  }
}

TEST(Addresses, HaveOneOfThreeForms) {
  for (const char* address : {"unix:/run/s", "/run/s", "localhost:7711", "127.0.0.1:1", "[::1]:65535"}) {
    EXPECT_EQ(problem_of([&] { check_address(address); }), "") << address;
  }
  const std::string long_path = "/" + std::string(limits::kSocketPathBytesMax, 'x');
  for (const std::string& address :
       {std::string("nowhere"), std::string("unix:s"), std::string(":1"), std::string("a:0"), std::string("a:65536"),
        std::string("a:"), long_path, "unix:" + long_path}) {
    EXPECT_THAT(problem_of([&] { check_address(address); }), HasSubstr(address));
  }
}

TEST(Outputs, TellWhatWasDropped) {
  client::Outcome outcome;
  outcome.result.push_back({.content_type = "application/x-futured-stdout; total=100; dropped=90; at=5"});
  outcome.result.push_back(
      {.content_type = "application/x-futured-stderr; file=\"1.1.1.stderr\"; total=9; dropped=3; at=1"});
  outcome.result.push_back({.content_type = "application/x-futured-stderr; total=9"});
  outcome.result.push_back({.content_type = "text/plain; dropped=7"});
  EXPECT_EQ(dropped_bytes(outcome), 93u);
}

TEST(Json, LeavesOutWhatIsNotKnown) {
  client::Outcome outcome;
  outcome.finished_us = 5;
  EXPECT_FALSE(to_json(outcome).contains("submitted_us"));
  EXPECT_TRUE(to_json(outcome).contains("finished_us"));
  client::JobInfo job;
  job.attempt_history.emplace_back();
  EXPECT_FALSE(to_json(job, Detail::kListed).contains("payload_bytes"));
  EXPECT_TRUE(to_json(job).contains("payload_bytes"));
  EXPECT_FALSE(to_json(job)["attempt_history"][0].contains("worker"));
}

TEST(Json, HasEveryOptionOfAJob) {
  client::JobInfo job;
  client::JobOptions& options = job.options.emplace();
  options.timeouts = {.queue = client::Milliseconds(1),
                      .soft = client::Milliseconds(2),
                      .run = client::Milliseconds(3),
                      .heartbeat = client::Milliseconds(4),
                      .total = client::Milliseconds(5),
                      .grace = client::Milliseconds(6)};
  options.front = true;
  options.start_after = client::Milliseconds(7);
  options.start_at_us = 8;
  options.fairness_key = "fair";
  options.limit_key = "limit";
  options.needs = {{"gpu", 2}};
  options.after = {3};
  options.after_success = {4};
  options.depends_on = {{.batch = 5, .any_of_group = 1}};
  options.max_failures = 0;
  options.retention = client::Milliseconds(9);
  options.memory_bytes_max = 10;
  options.output_bytes_max = 11;
  options.parent_id = 12;
  options.callbacks = {client::CompletionCallback::follow_up("noop")};
  const Json spec = to_json(job)["spec"];
  EXPECT_EQ(spec["timeouts"].dump(),
            R"({"queue_ms":1,"soft_ms":2,"run_ms":3,"heartbeat_ms":4,"total_ms":5,"grace_ms":6})");
  for (const char* name : {"retries", "crashes_max", "front", "start_after_ms", "start_at_us", "fairness_key",
                           "limit_key", "needs", "after", "after_success", "depends_on", "max_failures", "retention_ms",
                           "memory_bytes_max", "output_bytes_max", "parent_id"}) {
    EXPECT_TRUE(spec.contains(name)) << name;
  }
  EXPECT_EQ(spec["callbacks"][0]["target"], "task:noop");
}

TEST(Quoting, IsThatOfAShell) {
  EXPECT_EQ(quoted({"echo", "a b", "it's", "", "x=1"}), "echo 'a b' 'it'\\''s' '' x=1");
  EXPECT_EQ(quoted({"bell\a"}), "'bell?'") << "no control characters reach the terminal";
}

TEST(Json, BytesThatAreNotUtf8AreBase64) {
  Json json;
  put_bytes(json, "data", "caf\xc3\xa9");
  put_bytes(json, "raw", std::string_view("\xff\x00\x01", 3));
  EXPECT_EQ(json["data"], "caf\xc3\xa9");
  EXPECT_EQ(json["raw_base64"], "/wAB");
  EXPECT_FALSE(json.contains("raw"));
}

TEST(Sizes, AreReadable) {
  EXPECT_EQ(bytes_text(100), "100 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(duration_text(1'500), "1 ms");
  EXPECT_EQ(duration_text(125'000'000), "2 min 5 s");
  EXPECT_EQ(duration_text(-5), "0 us");
}

std::string ended(client::JobState state, client::CauseKind kind, const std::string& message) {
  client::Outcome outcome;
  outcome.id = 7;
  outcome.state = state;
  outcome.cause.kind = kind;
  outcome.cause.message = message;
  outcome.cause.exit_code = kind == client::CauseKind::kCommandExit ? 3 : 0;
  outcome.cause.signal = kind == client::CauseKind::kCommandSignal ? 9 : 0;
  return ended_text(outcome);
}

TEST(Endings, SayOneThingOnce) {
  using client::CauseKind;
  using client::JobState;
  EXPECT_EQ(ended(JobState::kTimedOut, CauseKind::kTimeout, "ran longer than its run_timeout"),
            "job 7 TIMED_OUT: ran longer than its run_timeout");
  EXPECT_EQ(ended(JobState::kCancelled, CauseKind::kCancelled, "cancelled"), "job 7 CANCELLED");
  EXPECT_EQ(ended(JobState::kCancelled, CauseKind::kCancelled, "cancelled: Ctrl-C"), "job 7 CANCELLED: Ctrl-C");
  EXPECT_EQ(ended(JobState::kFailed, CauseKind::kCommandSignal, "killed by signal 9 (Killed)"),
            "job 7 FAILED: killed by signal 9 (Killed)");
  EXPECT_EQ(ended(JobState::kFailed, CauseKind::kCommandExit, "exit code 3; standard output is incomplete: no room"),
            "job 7 FAILED: exit code 3; standard output is incomplete: no room");
  EXPECT_EQ(ended(JobState::kFailed, CauseKind::kWorkerDied, "the worker was ended by signal 6"),
            "job 7 FAILED: the worker was ended by signal 6");
}

TEST(Endings, AMessageOfItsOwnIsBehindItsKind) {
  using client::CauseKind;
  using client::JobState;
  EXPECT_EQ(ended(JobState::kFailed, CauseKind::kOutOfMemory, "killed by the kernel"),
            "job 7 FAILED: out of memory: killed by the kernel");
  EXPECT_EQ(ended(JobState::kFailed, CauseKind::kCommandExit, ""), "job 7 FAILED: exit code 3");
}

TEST(Stops, SaySinceWhenWhyAndWhenTheyEnd) {
  client::StopInfo stop{.since_us = 1'700'000'000'000'000,
                        .kill_at_us = 1'700'000'010'000'000,
                        .why = client::CauseKind::kCancelled,
                        .reason = "not needed"};
  const std::string text = stop_text(stop);
  EXPECT_TRUE(text.starts_with("since " + time_text(stop.since_us))) << text;
  EXPECT_THAT(text, HasSubstr("will be killed at " + time_text(stop.kill_at_us)));
  EXPECT_THAT(text, HasSubstr(": not needed"));
  stop.killed = true;
  EXPECT_THAT(stop_text(stop), HasSubstr("being killed"));
}

TEST(Workers, AreShownWithTheFirstOfTheirJobs) {
  client::WorkerInfo worker;
  worker.jobs_max = 64;
  EXPECT_EQ(jobs_of_worker(worker), "0 of 64");
  worker.job_ids = {17, 18};
  worker.jobs_running = 2;
  EXPECT_EQ(jobs_of_worker(worker), "2 of 64: 17 18");
  worker.job_ids = {1, 2, 3, 4, 5};
  worker.jobs_running = 5;
  EXPECT_EQ(jobs_of_worker(worker), "5 of 64: 1 2 3 4 …");
}

}  // namespace
}  // namespace futured::cli
