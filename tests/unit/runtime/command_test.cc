// Commands, in a real command worker.
#include <signal.h>

#include <fstream>
#include <sstream>

#include "base/limits.h"
#include "segment/memory.h"
#include "tests/unit/runtime/fixture.h"

namespace futured::runtime {
namespace {

class CommandTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(zygote_.become_ready()) << zygote_.failure;
    EXPECT_TRUE(zygote_.tasks.empty());
    worker_ = zygote_.fork_worker(slot_);
  }

  static std::string payload_of(const Command& command) {
    std::string payload;
    const std::string encoded = encode_command(command);
    append_part(payload, {.content_type = kCommandType, .bytes = encoded});
    return payload;
  }
  RunRequest request_of(const std::string& payload) { return channel::request(next_++, payload); }

  Ended run(const Command& command, std::string_view input = {}) {
    std::string payload = payload_of(command);
    if (!input.empty()) append_part(payload, {.bytes = input});
    return daemon_.run(request_of(payload));
  }
  Ended shell(const std::string& script) { return run({{"sh", "-c", script}, {}, {}}); }

  // Waits for a file that a command makes, as a sign of life.
  static std::string await(const std::string& path) {
    for (const Instant until = monotonic_now() + std::chrono::milliseconds(kDeadlineMs); monotonic_now() < until;) {
      std::ostringstream all;
      all << std::ifstream(path).rdbuf();
      if (all.str().ends_with('\n')) return all.str().substr(0, all.str().size() - 1);
      usleep(1000);
    }
    ADD_FAILURE() << path << " did not appear";
    return {};
  }
  static std::string content_of(const std::string& path) {
    std::ostringstream all;
    all << std::ifstream(path).rdbuf();
    return all.str();
  }

  TemporaryDirectory spool_;
  ZygoteProcess zygote_{{"--mode", "command", "--spool", spool_.path}};
  TestSlot slot_;
  Daemon daemon_{slot_};
  pid_t worker_ = 0;
  std::uint64_t next_ = 1;
};

TEST_F(CommandTest, KeepsBothStreamsApart) {
  const Ended ended = shell("echo out; echo err >&2");
  EXPECT_EQ(ended.status, DoneStatus::kSucceeded) << ended.message;
  ASSERT_EQ(ended.parts().size(), 2u);
  EXPECT_EQ(ended.parts()[0].content_type, kStdoutType);
  EXPECT_EQ(ended.part(0), "out\n");
  EXPECT_EQ(ended.parts()[1].content_type, kStderrType);
  EXPECT_EQ(ended.part(1), "err\n");
  EXPECT_GT(ended.peak_rss_bytes, 0u);
  EXPECT_TRUE(ended.emitted.empty()) << "a short command's output is sent once";
}

TEST_F(CommandTest, ExitCodeAndSignalAreTold) {
  const Ended code = shell("exit 3");
  EXPECT_EQ(code.status, DoneStatus::kCommandFailed);
  EXPECT_EQ(code.exit_code, 3);
  EXPECT_EQ(code.message, "exit code 3");
  const Ended signal = shell("kill -SEGV $$");
  EXPECT_EQ(signal.status, DoneStatus::kCommandFailed);
  EXPECT_EQ(signal.signal, SIGSEGV);
  EXPECT_EQ(signal.message, "killed by signal 11 (Segmentation fault)");
}

TEST_F(CommandTest, WhatCannotBeStartedSaysWhy) {
  const Ended missing = run({{"no-such-program-anywhere"}, {}, {}});
  EXPECT_EQ(missing.status, DoneStatus::kStartFailed);
  EXPECT_EQ(missing.error_class, "ProgramNotFound");
  EXPECT_EQ(missing.message, "program not found in PATH: no-such-program-anywhere");
  EXPECT_TRUE(missing.no_retry);
  EXPECT_EQ(run({{"/no/such/program"}, {}, {}}).error_class, "ProgramNotFound");
  EXPECT_EQ(run({{"/etc/passwd"}, {}, {}}).error_class, "NotExecutable");
  EXPECT_EQ(run({{"/tmp"}, {}, {}}).error_class, "NotExecutable");
  EXPECT_EQ(run({{"true"}, {}, "/no/such/directory"}).error_class, "InvalidCommand");
  EXPECT_EQ(run({{}, {}, {}}).error_class, "InvalidCommand");
  EXPECT_EQ(run({{""}, {}, {}}).error_class, "InvalidCommand");
  EXPECT_EQ(run({{"true"}, {"NOVALUE"}, {}}).error_class, "InvalidCommand");
  EXPECT_EQ(daemon_.run(request_of("\x09 rubbish")).status, DoneStatus::kBadPayload);
  EXPECT_EQ(daemon_.run(request_of("")).status, DoneStatus::kBadPayload);
  EXPECT_EQ(daemon_.run(request_of(text("true"))).status, DoneStatus::kBadPayload);

  TemporaryDirectory directory;
  const std::string script = directory.path + "/script";
  std::ofstream(script) << "#!/no/such/interpreter\n";
  ASSERT_EQ(chmod(script.c_str(), 0755), 0);
  EXPECT_EQ(run({{script}, {}, {}}).message, "the interpreter of " + script + " is not found");

  EXPECT_EQ(shell("echo still works").part(0), "still works\n");
}

TEST_F(CommandTest, EnvironmentDirectoryAndArgumentsArrive) {
  const Ended ended = run({{"sh", "-c", "echo $A $HOME; pwd; echo \"$1|$2\"", "sh", "one two", ""},
                           {"A=1", "HOME=/nowhere", "A=2"},
                           "/usr"});
  EXPECT_EQ(ended.part(0), "2 /nowhere\n/usr\none two|\n");
  EXPECT_EQ(shell("echo $FUTURED_JOB_ID.$FUTURED_ATTEMPT").part(0), "2.1\n");
}

TEST_F(CommandTest, ThePathIsThatOfTheCommand) {
  TemporaryDirectory directory;
  const std::string program = directory.path + "/mine";
  std::ofstream(program) << "#!/bin/sh\necho mine\n";
  ASSERT_EQ(chmod(program.c_str(), 0755), 0);
  EXPECT_EQ(run({{"mine"}, {"PATH=/nowhere:" + directory.path}, {}}).part(0), "mine\n");
  EXPECT_EQ(run({{"mine"}, {}, {}}).error_class, "ProgramNotFound");
}

TEST_F(CommandTest, StandardInputComesFromThePayload) {
  EXPECT_EQ(run({{"cat"}, {}, {}}, "to be copied").part(0), "to be copied");
  EXPECT_EQ(run({{"cat"}, {}, {}}).part(0), "");
  EXPECT_EQ(run({{"wc", "-c"}, {}, {}}, std::string(2'000'000, 'x')).part(0), "2000000\n");
}

TEST_F(CommandTest, StandardInputMayBeASegmentOrASliceOfOne) {
  const std::string_view content = "0123456789";
  const auto segment = make_segment("test", {reinterpret_cast<const std::byte*>(content.data()), content.size()});
  const int descriptor = segment->descriptor.get();
  const auto cat = [&](std::uint64_t begin, std::uint64_t end) {
    std::string payload = payload_of({{"cat"}, {}, {}});
    append_part(payload, {.kind = PartKind::kSegment, .segment = SegmentId{1}, .begin = begin, .end = end});
    RunRequest request = request_of(payload);
    request.descriptors = {&descriptor, 1};
    return daemon_.run(request);
  };
  EXPECT_EQ(cat(0, 10).part(0), content);
  EXPECT_EQ(cat(0, 10).part(0), content) << "the file position is nobody else's";
  EXPECT_EQ(cat(3, 6).part(0), "345");
  EXPECT_EQ(cat(3, 11).status, DoneStatus::kWorkerError);
}

TEST_F(CommandTest, NothingOfTheWorkerLeaksIntoTheCommand) {
  EXPECT_EQ(shell("ls /proc/self/fd | tr '\\n' ' '").part(0), "0 1 2 3 ");  // 3: ls reads the directory
  const std::string status = run({{"cat", "/proc/self/status"}, {}, {}}).part(0);
  for (const char* line :
       {"SigBlk:\t0000000000000000\n", "SigIgn:\t0000000000000000\n", "SigCgt:\t0000000000000000\n"}) {
    EXPECT_NE(status.find(line), std::string::npos) << status;
  }
}

TEST_F(CommandTest, AWatchedCommandIsFollowedWhileItRuns) {
  TemporaryDirectory directory;
  const std::string gate = directory.path + "/gate";
  ASSERT_EQ(mkfifo(gate.c_str(), 0600), 0);
  const std::string payload = payload_of({{"sh", "-c", "echo first; read x <" + gate + "; echo second >&2"}, {}, {}});
  RunRequest request = request_of(payload);
  request.follow = true;
  daemon_.offer(request);
  channel::Response response;
  ASSERT_TRUE(daemon_.read(response));
  const auto& emit = std::get<channel::Emit>(response);
  EXPECT_EQ(emit.stream, 1u);
  EXPECT_EQ(emit.data, "first\n");
  std::ofstream(gate) << "go\n";  // it could only come while the command still waited
  const Ended ended = daemon_.wait();
  EXPECT_EQ(ended.emitted.at(2), "second\n");
  EXPECT_EQ(ended.part(0), "first\n");
  EXPECT_EQ(ended.part(1), "second\n");
}

TEST_F(CommandTest, OutputOfALongCommandIsSentEvenIfNobodyWatchedAtItsStart) {
  TemporaryDirectory directory;
  const std::string gate = directory.path + "/gate";
  ASSERT_EQ(mkfifo(gate.c_str(), 0600), 0);
  daemon_.offer(request_of(payload_of({{"sh", "-c", "echo first; read x <" + gate}, {}, {}})));
  channel::Response response;
  ASSERT_TRUE(daemon_.read(response));
  EXPECT_EQ(std::get<channel::Emit>(response).data, "first\n");
  std::ofstream(gate) << "go\n";
  EXPECT_EQ(daemon_.wait().status, DoneStatus::kSucceeded);
}

TEST_F(CommandTest, LongOutputIsSpooledWhole) {
  const Ended ended = shell("seq 1 20000; echo end >&2");
  ASSERT_EQ(ended.status, DoneStatus::kSucceeded) << ended.message;
  const std::string type(ended.parts()[0].content_type);
  EXPECT_EQ(type, "application/x-futured-stdout; file=\"1.7.1.stdout\"; total=108894");
  EXPECT_EQ(ended.part(0).size(), limits::kOutputTailBytes);
  EXPECT_TRUE(ended.part(0).ends_with("\n19999\n20000\n"));
  EXPECT_EQ(ended.part(1), "end\n");
  const std::string whole = content_of(spool_.path + "/1.7.1.stdout");
  EXPECT_EQ(whole.size(), 108894u);
  EXPECT_TRUE(whole.starts_with("1\n2\n3\n"));
  std::string emitted;
  for (const auto& [stream, bytes] : ended.emitted) emitted += bytes;
  EXPECT_TRUE(emitted.starts_with("1\n2\n3\n"));
}

TEST_F(CommandTest, TwoStreamsThatTogetherAreTooLongShareTheReport) {
  const Ended ended = shell("head -c 10000 /dev/zero; head -c 12000 /dev/zero >&2");
  EXPECT_EQ(ended.part(0).size(), 10000u);
  EXPECT_NE(std::string(ended.parts()[1].content_type).find("file=\"1.7.1.stderr\""), std::string::npos);
  EXPECT_EQ(content_of(spool_.path + "/1.7.1.stderr").size(), 12000u);
}

TEST_F(CommandTest, OutputBeyondTheBoundKeepsHeadAndTail) {
  const Ended ended = shell("echo BEGIN; head -c 80000000 /dev/zero; echo END");
  ASSERT_EQ(ended.status, DoneStatus::kSucceeded);
  const std::string type(ended.parts()[0].content_type);
  const std::size_t total = 80'000'010;
  EXPECT_NE(type.find("total=" + std::to_string(total)), std::string::npos) << type;
  EXPECT_NE(type.find("dropped=" + std::to_string(total - limits::kOutputBytesMax)), std::string::npos) << type;
  EXPECT_NE(type.find("at=" + std::to_string(limits::kOutputBytesMax / 2)), std::string::npos) << type;
  const std::string kept = content_of(spool_.path + "/1.7.1.stdout");
  EXPECT_EQ(kept.size(), limits::kOutputBytesMax);
  EXPECT_TRUE(kept.starts_with("BEGIN\n"));
  EXPECT_TRUE(kept.ends_with("END\n"));
}

TEST_F(CommandTest, OutputThatCannotBeKeptIsToldWithTheOutcome) {
  std::filesystem::remove(spool_.path);
  const Ended well = shell("seq 1 20000");
  EXPECT_EQ(well.status, DoneStatus::kSucceeded);
  EXPECT_EQ(well.exit_code, 0);
  EXPECT_TRUE(well.message.starts_with("standard output is incomplete: open " + spool_.path)) << well.message;
  EXPECT_NE(std::string(well.parts()[0].content_type).find("total=108894; dropped="), std::string::npos);
  EXPECT_TRUE(well.part(0).starts_with("1\n2\n3\n"));

  const Ended ill = shell("seq 1 20000 >&2; exit 3");
  EXPECT_EQ(ill.status, DoneStatus::kCommandFailed);
  EXPECT_EQ(ill.error_class, "CommandFailed");
  EXPECT_EQ(ill.exit_code, 3);
  EXPECT_TRUE(ill.message.starts_with("exit code 3; standard error is incomplete: ")) << ill.message;
}

TEST_F(CommandTest, AStopEndsTheWholeGroup) {
  TemporaryDirectory directory;
  const std::string sign = directory.path + "/pids";
  const std::string script = "trap '' USR1; sleep 60 & echo $$ $! > " + sign + "; wait";
  const std::string payload = payload_of({{"sh", "-c", script}, {}, {}});
  const RunRequest request = request_of(payload);
  daemon_.offer(request);
  const std::string pids = await(sign);
  daemon_.stop(request.fence);
  const Ended ended = daemon_.wait();
  EXPECT_EQ(ended.status, DoneStatus::kStopped);
  EXPECT_EQ(ended.signal, SIGTERM);
  pid_t shell_pid = 0;
  pid_t sleep_pid = 0;
  std::istringstream(pids) >> shell_pid >> sleep_pid;
  EXPECT_EQ(kill(shell_pid, 0), -1);
  EXPECT_EQ(kill(sleep_pid, 0), -1);
}

TEST_F(CommandTest, ACommandMayEndInItsOwnWayWhenStopped) {
  TemporaryDirectory directory;
  const std::string sign = directory.path + "/ready";
  const std::string payload = payload_of(
      {{"sh", "-c", "trap 'echo bye; exit 7' TERM; echo go > " + sign + "; while :; do sleep 0.01; done"}, {}, {}});
  const RunRequest request = request_of(payload);
  daemon_.offer(request);
  (void)await(sign);
  daemon_.stop(request.fence);
  const Ended ended = daemon_.wait();
  EXPECT_EQ(ended.status, DoneStatus::kStopped);
  EXPECT_EQ(ended.exit_code, 7);
  EXPECT_EQ(ended.part(0), "bye\n");
}

TEST_F(CommandTest, WhatACommandLeavesBehindIsKilledBeforeItsReport) {
  TemporaryDirectory directory;
  const std::string sign = directory.path + "/pid";
  // In a session of its own and orphaned twice over, with both pipes held open.
  const Ended ended = shell("setsid sh -c 'sh -c \"echo \\$\\$ > " + sign + "; exec sleep 60\" &' & while [ ! -s " +
                            sign + " ]; do sleep 0.01; done; echo done");
  EXPECT_EQ(ended.status, DoneStatus::kSucceeded) << ended.message;
  EXPECT_EQ(ended.part(0), "done\n");
  EXPECT_LT(ended.took, std::chrono::seconds(15));
  const pid_t left = std::stoi(await(sign));
  EXPECT_EQ(kill(left, 0), -1) << "process " << left << " still runs";
}

TEST_F(CommandTest, TheLifelineEndsWorkerAndCommand) {
  TemporaryDirectory directory;
  const std::string sign = directory.path + "/pid";
  const std::string payload = payload_of({{"sh", "-c", "trap '' TERM HUP; echo $$ > " + sign + "; sleep 60"}, {}, {}});
  daemon_.offer(request_of(payload));
  const pid_t command = std::stoi(await(sign));
  slot_.lifeline_write.reset();
  const auto exited = zygote_.receive_as<zygote::Exited>();
  EXPECT_EQ(exited.pid, worker_);
  EXPECT_EQ(exited.wait_status, 0);
  EXPECT_EQ(kill(command, 0), -1);
  EXPECT_EQ(daemon_.host().head()->state, channel::RunState::kTaken) << "it was not reported as if it had failed";
}

TEST_F(CommandTest, SigtermEndsTheRunAndThenTheWorker) {
  TemporaryDirectory directory;
  const std::string sign = directory.path + "/pid";
  const std::string payload = payload_of({{"sh", "-c", "echo $$ > " + sign + "; sleep 60"}, {}, {}});
  daemon_.offer(request_of(payload));
  (void)await(sign);
  ASSERT_EQ(kill(worker_, SIGTERM), 0);
  EXPECT_EQ(daemon_.wait().status, DoneStatus::kStopped);
  EXPECT_EQ(zygote_.receive_as<zygote::Exited>().wait_status, 0);
}

TEST_F(CommandTest, ManyCommandsInARow) {
  const std::string payload = payload_of({{"true"}, {}, {}});
  std::vector<RunRequest> requests;
  for (int i = 0; i < 200; ++i) {
    requests.push_back(request_of(payload));
    daemon_.offer(requests.back());
  }
  for (int i = 0; i < 200; ++i) EXPECT_EQ(daemon_.wait().status, DoneStatus::kSucceeded);
  // No descriptor is left over.
  std::size_t open = 0;
  for ([[maybe_unused]] const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(worker_) + "/fd")) {
    ++open;
  }
  EXPECT_LT(open, 15u);
}

}  // namespace
}  // namespace futured::runtime
