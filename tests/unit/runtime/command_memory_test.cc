// A command that is killed for want of memory, with a file in the place of /proc/vmstat.
#include <sys/prctl.h>
#include <sys/wait.h>

#include <fstream>

#include "tests/unit/runtime/fixture.h"
#include "worker/runtime/command_mode.h"

namespace futured::runtime {
namespace {

class CommandMemoryTest : public ::testing::Test {
 protected:
  CommandMemoryTest() {
    std::ofstream(vmstat_) << "oom_kill 4\n";
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    auto end = slot_.worker();
    slot_.lifeline_write.reset();
    CommandOptions options;
    options.memory_kills.vmstat = vmstat_;
    ::_exit(run_command_worker(end, options));
  }
  ~CommandMemoryTest() override {
    slot_.lifeline_write.reset();
    ::waitpid(pid_, nullptr, 0);
  }

  Ended shell(const std::string& script) {
    std::string payload;
    const std::string encoded = encode_command({{"sh", "-c", script}, {}, {}});
    append_part(payload, {.content_type = kCommandType, .bytes = encoded});
    return daemon_.run(channel::request(next_++, payload));
  }

  TemporaryDirectory directory_;
  std::string vmstat_ = directory_.path + "/vmstat";
  TestSlot slot_;
  pid_t pid_ = -1;
  Daemon daemon_{slot_};
  std::uint64_t next_ = 1;
};

TEST_F(CommandMemoryTest, AKillWhileTheKernelKilledForMemoryIsToldAsLikelyThat) {
  const Ended ended = shell("echo oom_kill 5 >" + vmstat_ + "; kill -9 $$");
  EXPECT_EQ(ended.status, DoneStatus::kOutOfMemory);
  EXPECT_EQ(ended.signal, SIGKILL);
  EXPECT_TRUE(ended.message.starts_with("likely: killed by signal 9")) << ended.message;
  EXPECT_NE(ended.message.find("want of memory"), std::string::npos) << ended.message;
}

TEST_F(CommandMemoryTest, AnyOtherKillIsASignal) {
  EXPECT_EQ(shell("kill -9 $$").status, DoneStatus::kCommandFailed);
  EXPECT_EQ(shell("echo oom_kill 5 >" + vmstat_ + "; kill -TERM $$").status, DoneStatus::kCommandFailed);
  EXPECT_EQ(shell("echo oom_kill 6 >" + vmstat_ + "; exit 137").status, DoneStatus::kCommandFailed);
}

}  // namespace
}  // namespace futured::runtime
