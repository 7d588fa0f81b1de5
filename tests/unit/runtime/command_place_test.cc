// Where a command begins and what limits it has, as its pool's terms say.
#include <sys/prctl.h>
#include <sys/wait.h>

#include <fstream>

#include "tests/unit/runtime/fixture.h"
#include "worker/runtime/command_mode.h"

namespace futured::runtime {
namespace {

class CommandPlaceTest : public ::testing::Test {
 protected:
  void begin(CommandOptions options) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    auto end = slot_.worker();
    slot_.lifeline_write.reset();
    auto directory = WorkDirectory::open(folder_.path, 1, {::geteuid(), ::getegid()});
    if (!directory || !directory->settle()) ::_exit(1);
    options.directory = &*directory;
    ::_exit(run_command_worker(end, options));
  }
  ~CommandPlaceTest() override {
    slot_.lifeline_write.reset();
    ::waitpid(pid_, nullptr, 0);
  }

  Ended shell(const std::string& script, const std::string& cwd = {}) {
    std::string payload;
    const std::string encoded = encode_command({{"sh", "-c", script}, {}, cwd});
    append_part(payload, {.content_type = kCommandType, .bytes = encoded});
    return daemon_.run(channel::request(next_++, payload));
  }
  [[nodiscard]] bool is_slot_empty() const { return std::filesystem::is_empty(folder_.path + "/slot-1"); }

  TemporaryDirectory folder_;
  TestSlot slot_;
  pid_t pid_ = -1;
  Daemon daemon_{slot_};
  std::uint64_t next_ = 1;
};

TEST_F(CommandPlaceTest, EachBeginsInAnEmptyDirectoryThatGoesWithIt) {
  begin({});
  for (const char* attempt : {"/slot-1/1.7.1\n", "/slot-1/2.7.1\n"}) {
    const Ended ended = shell("pwd; ls -A; touch file; mkdir -p a/b; (setsid sleep 1000 &)");
    EXPECT_EQ(ended.part(0), folder_.path + attempt) << ended.message;
    EXPECT_TRUE(is_slot_empty());
  }
  EXPECT_EQ(shell("touch left; exit 3").exit_code, 3);
  EXPECT_TRUE(is_slot_empty());
}

TEST_F(CommandPlaceTest, OneThatNamesItsDirectoryKeepsIt) {
  begin({});
  EXPECT_EQ(shell("pwd; touch kept", folder_.path).part(0), folder_.path + "\n");
  EXPECT_TRUE(std::filesystem::exists(folder_.path + "/kept"));
  const Ended wrong = shell("pwd", folder_.path + "/not-there");
  EXPECT_EQ(wrong.error_class, "InvalidCommand");
  EXPECT_TRUE(wrong.no_retry);
}

TEST_F(CommandPlaceTest, WhatCannotBeStartedLeavesNoDirectory) {
  begin({});
  std::string payload;
  const std::string encoded = encode_command({{"no-such-program"}, {}, {}});
  append_part(payload, {.content_type = kCommandType, .bytes = encoded});
  EXPECT_EQ(daemon_.run(channel::request(next_++, payload)).error_class, "ProgramNotFound");
  EXPECT_TRUE(is_slot_empty());
}

TEST_F(CommandPlaceTest, LimitsAreTheCommandsAndNotItsWorkers) {
  TemporaryDirectory spool;
  begin({.spool_directory = spool.path, .limits = {{"nofile", 32}, {"fsize", 4096}}});
  EXPECT_EQ(shell("ulimit -n; ulimit -Hn").part(0), "32\n32\n");
  // More than the command may write into a file, and more than the worker keeps in memory.
  const Ended loud = shell("head -c 100000 /dev/zero");
  EXPECT_EQ(loud.exit_code, 0) << loud.message;
  EXPECT_EQ(std::filesystem::file_size(spool.path + "/2.7.1.stdout"), 100'000u);
  EXPECT_NE(shell("head -c 100000 /dev/zero >file").exit_code, 0);
}

}  // namespace
}  // namespace futured::runtime
