#include <signal.h>
#include <sys/prctl.h>

#include <fstream>

#include "tests/unit/runtime/fixture.h"

namespace futured::runtime {
namespace {

RunRequest call(std::uint64_t job, std::uint32_t task, std::string_view payload = {}) {
  RunRequest request = channel::request(job, payload);
  request.task = task;
  return request;
}

std::string file_of(pid_t pid, const char* name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Zygote, TellsItsTasksThenThatItIsReady) {
  ZygoteProcess zygote({"--mode", "process"});
  ASSERT_TRUE(zygote.become_ready()) << zygote.failure;
  EXPECT_EQ(zygote.ready.mode, static_cast<std::uint32_t>(zygote::Mode::kProcess));
  EXPECT_EQ(zygote.ready.task_count, zygote.tasks.size());
  EXPECT_EQ(zygote.ready.threads, 1u);
  for (const char* name :
       {"noop", "echo", "sleep", "sha256", "sum", "fail", "fail_until", "spin", "crash", "sum_squares"}) {
    EXPECT_EQ(zygote.tasks.count(name), 1u) << name;
  }
}

TEST(Zygote, LoadsTasksFromAPlugin) {
  ZygoteProcess zygote({"--mode", "process", "--plugin", FUTURED_PLUGIN});
  ASSERT_TRUE(zygote.become_ready()) << zygote.failure;
  EXPECT_EQ(zygote.versions["byte_histogram"], "1");
  TestSlot slot;
  Daemon daemon(slot);
  zygote.fork_worker(slot);

  const Ended greeting = daemon.run(call(1, zygote.tasks.at("greet"), text("World") + json("2")));
  EXPECT_EQ(greeting.part(0), "Hello, World!\nHello, World!\n") << greeting.message;
  // An exception that the plugin threw is known here by its type.
  const Ended negative = daemon.run(call(2, zygote.tasks.at("greet"), text("World") + json("-1")));
  EXPECT_EQ(negative.status, DoneStatus::kTaskError);
  EXPECT_EQ(negative.error_class, "NegativeCount");
  EXPECT_TRUE(negative.no_retry);

  const Ended histogram = daemon.run(call(3, zygote.tasks.at("byte_histogram"), bytes("abca")));
  ASSERT_EQ(histogram.parts().size(), 1u);
  EXPECT_EQ(histogram.parts()[0].content_type, "application/x-futured-array; dtype=uint64; shape=256");
  std::uint64_t count_of_a = 0;
  std::memcpy(&count_of_a, histogram.part(0).data() + 8 * 'a', 8);
  EXPECT_EQ(count_of_a, 2u);

  const Ended countdown = daemon.run(call(4, zygote.tasks.at("count_down"), json("3")));
  EXPECT_EQ(countdown.emitted.at(3), "3\n2\n1\n");
  EXPECT_EQ(countdown.progress, 2u);
  EXPECT_EQ(countdown.part(0), "lift-off on attempt 1");
}

TEST(Zygote, SaysWhyAPluginIsNoGood) {
  ZygoteProcess missing({"--mode", "process", "--plugin", "/nonexistent.so"});
  EXPECT_FALSE(missing.become_ready());
  EXPECT_NE(missing.failure.find("/nonexistent.so"), std::string::npos) << missing.failure;

  TemporaryDirectory directory;
  const std::string copy = directory.path + "/copy.so";
  std::filesystem::copy_file(FUTURED_PLUGIN, copy);
  ZygoteProcess twice({"--mode", "process", "--plugin", FUTURED_PLUGIN, "--plugin", copy});
  EXPECT_FALSE(twice.become_ready());
  EXPECT_NE(twice.failure.find("is defined already by"), std::string::npos) << twice.failure;

  const std::string garbage = directory.path + "/garbage.so";
  std::ofstream(garbage) << "this is no shared object";
  ZygoteProcess wrong({"--mode", "process", "--plugin", garbage});
  EXPECT_FALSE(wrong.become_ready());
  EXPECT_NE(wrong.failure.find("garbage.so"), std::string::npos) << wrong.failure;
  EXPECT_NE(wrong.wait_for_exit(), 0);
}

TEST(Zygote, RefusesACommandLineThatMakesNoSense) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {}, {"--mode"}, {"--mode", "wild"}, {"--unknown"}, {"--mode", "process", "--plugin"}}) {
    ZygoteProcess zygote(arguments);
    EXPECT_EQ(WEXITSTATUS(zygote.wait_for_exit()), 2);
  }
}

TEST(Zygote, EndsWhenItsSpawnerHangsUp) {
  ZygoteProcess zygote({"--mode", "process"});
  ASSERT_TRUE(zygote.become_ready());
  zygote.hang_up();
  EXPECT_EQ(zygote.wait_for_exit(), 0);
}

TEST(Zygote, EndsOnAPacketThatIsNoRequest) {
  ZygoteProcess zygote({"--mode", "process"});
  ASSERT_TRUE(zygote.become_ready());
  zygote.send("no request");
  EXPECT_NE(zygote.wait_for_exit(), 0);
}

TEST(Worker, WaitsForTheSpawnersWord) {
  ZygoteProcess zygote({"--mode", "process"});
  ASSERT_TRUE(zygote.become_ready());
  TestSlot slot;
  Daemon daemon(slot);
  zygote.fork_worker(slot, false);
  daemon.offer(call(1, zygote.tasks.at("noop")));
  // No word, no touch: the run is still offered when the worker has gone for want of one.
  slot.lifeline_write.reset();
  const auto exited = zygote.receive_as<zygote::Exited>();
  EXPECT_EQ(exited.header.type, static_cast<std::uint32_t>(zygote::MessageType::kExited));
  EXPECT_EQ(exited.wait_status, 0);
  EXPECT_EQ(daemon.host().head()->state, channel::RunState::kOffered);
}

TEST(Worker, HasASessionAndNothingOfTheZygotes) {
  ZygoteProcess zygote({"--mode", "process"});
  ASSERT_TRUE(zygote.become_ready());
  TestSlot slot;
  Daemon daemon(slot);
  const pid_t pid = zygote.fork_worker(slot);
  ASSERT_EQ(daemon.run(call(1, zygote.tasks.at("noop"))).status, DoneStatus::kSucceeded);
  EXPECT_EQ(getsid(pid), pid);
  const std::string status = file_of(pid, "status");
  EXPECT_NE(status.find("SigBlk:\t0000000000000000"), std::string::npos) << status;
  EXPECT_NE(status.find("SigIgn:\t0000000000000000"), std::string::npos) << status;
  EXPECT_NE(status.find("Name:\tfut-worker/1"), std::string::npos) << status;
  // Its zygote's connection and signals are not among what it holds.
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    EXPECT_EQ(std::filesystem::read_symlink(entry.path()).string().find("signalfd"), std::string::npos);
  }
}

TEST(Worker, EndsWithItsLifelineWhenIdleAndWhenBusy) {
  ZygoteProcess zygote({"--mode", "process"});
  ASSERT_TRUE(zygote.become_ready());
  for (const bool busy : {false, true}) {
    TestSlot slot;
    Daemon daemon(slot);
    const pid_t pid = zygote.fork_worker(slot);
    if (busy) {
      daemon.offer(call(1, zygote.tasks.at("spin"), json("60000")));
      while (daemon.host().head()->state != channel::RunState::kTaken) sched_yield();
    } else {
      ASSERT_EQ(daemon.run(call(1, zygote.tasks.at("noop"))).status, DoneStatus::kSucceeded);
    }
    slot.lifeline_write.reset();
    const auto exited = zygote.receive_as<zygote::Exited>();
    EXPECT_EQ(exited.pid, pid);
    EXPECT_EQ(exited.wait_status, 0) << busy;
  }
}

TEST(Worker, DeathIsReportedAsItHappened) {
  ZygoteProcess zygote({"--mode", "process"});
  ASSERT_TRUE(zygote.become_ready());
  struct Way {
    const char* how;
    int signal;
    int code;
  };
  for (const Way& way :
       {Way{"abort", SIGABRT, 0}, Way{"segv", SIGSEGV, 0}, Way{"kill", SIGKILL, 0}, Way{"exit", 0, 3}}) {
    TestSlot slot;
    Daemon daemon(slot);
    const pid_t pid = zygote.fork_worker(slot);
    daemon.offer(call(1, zygote.tasks.at("crash"), text(way.how)));
    const auto exited = zygote.receive_as<zygote::Exited>();
    EXPECT_EQ(exited.pid, pid);
    EXPECT_EQ(WIFSIGNALED(exited.wait_status) ? WTERMSIG(exited.wait_status) : 0, way.signal) << way.how;
    EXPECT_EQ(WIFEXITED(exited.wait_status) ? WEXITSTATUS(exited.wait_status) : 0, way.code) << way.how;
    EXPECT_GT(exited.peak_rss_bytes, 0u);
    EXPECT_EQ(daemon.host().head()->state, channel::RunState::kTaken);
  }
}

TEST(Worker, ManyWorkersOfOneZygoteDoNotMix) {
  ZygoteProcess zygote({"--mode", "process"});
  ASSERT_TRUE(zygote.become_ready());
  std::vector<std::unique_ptr<TestSlot>> slots;
  std::vector<std::unique_ptr<Daemon>> daemons;
  for (int i = 0; i < 4; ++i) {
    slots.push_back(std::make_unique<TestSlot>());
    daemons.push_back(std::make_unique<Daemon>(*slots.back()));
    zygote.fork_worker(*slots.back());
  }
  for (std::uint64_t i = 0; i < 4; ++i) {
    const Ended ended = daemons[i]->run(call(i + 1, zygote.tasks.at("echo"), text(std::to_string(i))));
    EXPECT_EQ(ended.part(0), std::to_string(i));
  }
}

}  // namespace
}  // namespace futured::runtime
