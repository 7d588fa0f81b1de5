#include <sys/syscall.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "base/time.h"
#include "tests/unit/spawner/client.h"

namespace futured::spawner {
namespace {

// Waits until the process ignores the signal. False: it did not within 30 s.
bool comes_to_ignore(pid_t pid, int signal) {
  const std::uint64_t bit = std::uint64_t{1} << (signal - 1);
  for (const Instant until = monotonic_now() + std::chrono::seconds(30); monotonic_now() < until; ::usleep(1'000)) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("SigIgn:") && (std::stoull(line.substr(7), nullptr, 16) & bit) != 0) return true;
    }
  }
  return false;
}

// Every promise holds with cgroups, where this machine lets us have them, and without.
class SpawnerTest : public ::testing::TestWithParam<bool> {
 protected:
  [[nodiscard]] std::vector<std::string> arguments(std::vector<std::string> more = {}) const {
    if (!GetParam()) more.emplace_back("--no-cgroup");
    return more;
  }

  // A pool of one worker, in slot 1.
  channel::HostEnd start_one(Client& client) {
    client.start_pool(1, {TEST_ZYGOTE});
    client.start_worker(1, 1);
    auto started = client.expect(MessageType::kWorkerStarted);
    worker_ = started->as<WorkerStarted>();
    return attach(*started);
  }

  TempFolder folder_;
  WorkerStarted worker_{};
};

INSTANTIATE_TEST_SUITE_P(Confinement, SpawnerTest, ::testing::Values(false, true),
                         [](const auto& parameter) { return parameter.param ? "Cgroup" : "Walk"; });

TEST_P(SpawnerTest, APoolSaysItsTasksAndItsWorkersRun) {
  SpawnerProcess spawner(folder_.path(), arguments());
  Client client(folder_.path(), 1);
  const auto welcome = client.expect(MessageType::kWelcome)->as<Welcome>();
  EXPECT_EQ(welcome.pid, spawner.pid());
  EXPECT_NE(welcome.instance, 0u);
  client.expect(MessageType::kReplayed);
  channel::HostEnd host = start_one(client);
  EXPECT_STREQ(client.expect(MessageType::kPoolTask)->as<PoolTask>().name, "test.first");
  EXPECT_STREQ(client.expect(MessageType::kPoolTask)->as<PoolTask>().name, "test.second");
  EXPECT_EQ(client.expect(MessageType::kPoolReady)->as<PoolReady>().task_count, 2u);
  EXPECT_EQ(worker_.generation, 1u);
  run(host, 1, "echo hello");
  EXPECT_EQ(result_of(host), "hello");
}

TEST_P(SpawnerTest, AWorkersExitAndSignalAreToldWithTheirFigures) {
  SpawnerProcess spawner(folder_.path(), arguments());
  Client client(folder_.path(), 1);
  channel::HostEnd host = start_one(client);
  run(host, 1, "exit 7");
  auto ended = client.expect(MessageType::kWorkerEnded)->as<WorkerEnded>();
  EXPECT_EQ(ended.pid, worker_.pid);
  EXPECT_EQ(ended.cause, static_cast<std::uint32_t>(EndCause::kExited));
  EXPECT_TRUE(WIFEXITED(ended.wait_status));
  EXPECT_EQ(WEXITSTATUS(ended.wait_status), 7);
  EXPECT_GT(ended.peak_rss_bytes, 0u);

  client.start_worker(1, 1);
  auto started = client.expect(MessageType::kWorkerStarted);
  EXPECT_EQ(started->as<WorkerStarted>().generation, 2u);
  channel::HostEnd again = attach(*started);
  EXPECT_TRUE(again.recovered().empty()) << "a new generation begins with an empty channel";
  run(again, 2, "signal 12");
  ended = client.expect(MessageType::kWorkerEnded)->as<WorkerEnded>();
  EXPECT_EQ(ended.generation, 2u);
  EXPECT_TRUE(WIFSIGNALED(ended.wait_status));
  EXPECT_EQ(WTERMSIG(ended.wait_status), SIGUSR2);
}

TEST_P(SpawnerTest, AKillLeavesNothingOfTheTree) {
  SpawnerProcess spawner(folder_.path(), arguments());
  Client client(folder_.path(), 1);
  channel::HostEnd host = start_one(client);
  run(host, 1, "tree");
  const std::vector<pid_t> tree = pids_in(result_of(host));
  ASSERT_EQ(tree.size(), 4u);
  for (const pid_t pid : tree) EXPECT_TRUE(is_alive(pid));
  client.kill(1, 1);
  const auto ended = client.expect(MessageType::kWorkerEnded)->as<WorkerEnded>();
  EXPECT_EQ(ended.cause, static_cast<std::uint32_t>(EndCause::kKilled));
  for (const pid_t pid : tree) EXPECT_FALSE(is_alive(pid)) << pid;
  EXPECT_FALSE(is_alive(worker_.pid));
}

TEST_P(SpawnerTest, WhatAWorkerLeavesWhenItExitsIsKilledBeforeItsEndIsTold) {
  SpawnerProcess spawner(folder_.path(), arguments());
  Client client(folder_.path(), 1);
  channel::HostEnd host = start_one(client);
  run(host, 1, "leave");
  const auto response = next_response(host);
  const std::vector<pid_t> tree = pids_in(std::get<channel::Emit>(response).data);
  ASSERT_EQ(tree.size(), 4u);
  const auto ended = client.expect(MessageType::kWorkerEnded)->as<WorkerEnded>();
  EXPECT_EQ(ended.cause, static_cast<std::uint32_t>(EndCause::kExited));
  for (const pid_t pid : tree) EXPECT_FALSE(is_alive(pid)) << pid;
}

TEST_P(SpawnerTest, AKillWithGraceAsksFirst) {
  SpawnerProcess spawner(folder_.path(), arguments());
  Client client(folder_.path(), 1);
  channel::HostEnd host = start_one(client);
  run(host, 1, "sleep");
  client.kill(1, 1, 60'000);
  auto ended = client.expect(MessageType::kWorkerEnded)->as<WorkerEnded>();
  EXPECT_EQ(WTERMSIG(ended.wait_status), SIGTERM);

  client.start_worker(1, 1);
  auto started = client.expect(MessageType::kWorkerStarted);
  channel::HostEnd stubborn = attach(*started);
  run(stubborn, 2, "ignore");
  while (stubborn.head()->state != channel::RunState::kTaken) ::usleep(1'000);
  ASSERT_TRUE(comes_to_ignore(started->as<WorkerStarted>().pid, SIGTERM));
  client.kill(1, 2, 50);
  ended = client.expect(MessageType::kWorkerEnded)->as<WorkerEnded>();
  EXPECT_EQ(WTERMSIG(ended.wait_status), SIGKILL);
}

TEST_P(SpawnerTest, ARestartedDaemonGetsItsChannelsBackWithTheirContent) {
  SpawnerProcess spawner(folder_.path(), arguments());
  std::uint64_t instance = 0;
  {
    Client client(folder_.path(), 1);
    instance = client.expect(MessageType::kWelcome)->as<Welcome>().instance;
    channel::HostEnd host = start_one(client);
    run(host, 1, "echo kept");
    run(host, 2, "big 100000");
    run(host, 3, "sleep");
    while (host.find(fence(3))->state != channel::RunState::kTaken) ::usleep(1'000);
    client.start_worker(1, 2);
    auto second = client.expect(MessageType::kWorkerStarted);
    channel::HostEnd dying = attach(*second);
    run(dying, 4, "echo last words");
    EXPECT_EQ(result_of(dying), "last words");
    run(dying, 5, "exit 3");
    client.expect(MessageType::kWorkerEnded);
  }
  Client client(folder_.path(), 2);
  EXPECT_EQ(client.expect(MessageType::kWelcome)->as<Welcome>().instance, instance);
  EXPECT_STREQ(client.expect(MessageType::kPool)->as<Pool>().name, "test");
  EXPECT_EQ(client.expect(MessageType::kPoolReady)->as<PoolReady>().task_count, 2u);
  auto first = client.expect(MessageType::kWorkerStarted);
  EXPECT_EQ(first->as<WorkerStarted>().pid, worker_.pid);
  channel::HostEnd host = attach(*first);
  ASSERT_EQ(host.recovered().size(), 3u);
  EXPECT_EQ(host.recovered()[1].state, channel::RunState::kFinished) << "its report lies there";
  EXPECT_EQ(host.recovered()[2].fence, fence(3));
  EXPECT_EQ(result_of(host), "kept");
  EXPECT_EQ(result_of(host), std::string(100'000, 'b'));
  auto second = client.expect(MessageType::kWorkerStarted);
  channel::HostEnd dead = attach(*second);
  EXPECT_EQ(result_of(dead), "last words");
  const auto ended = client.expect(MessageType::kWorkerEnded)->as<WorkerEnded>();
  EXPECT_EQ(WEXITSTATUS(ended.wait_status), 3);
  client.expect(MessageType::kReplayed);
}

TEST_P(SpawnerTest, TheHigherEpochWins) {
  SpawnerProcess spawner(folder_.path(), arguments());
  Client first(folder_.path(), 5);
  first.expect(MessageType::kReplayed);
  Client older(folder_.path(), 4);
  EXPECT_NE(std::string(older.expect(MessageType::kRefused)->as<Refused>().message), "");
  EXPECT_TRUE(older.closes());
  Client newer(folder_.path(), 6);
  newer.expect(MessageType::kReplayed);
  EXPECT_TRUE(first.closes()) << "the older connection is closed";
}

TEST_P(SpawnerTest, APredecessorsProcessesAreDeadBeforeTheNextOneListens) {
  std::vector<pid_t> tree;
  std::uint64_t instance = 0;
  {
    SpawnerProcess spawner(folder_.path(), arguments());
    Client client(folder_.path(), 1);
    instance = client.expect(MessageType::kWelcome)->as<Welcome>().instance;
    channel::HostEnd host = start_one(client);
    run(host, 1, "tree");
    tree = pids_in(result_of(host));
    ASSERT_EQ(tree.size(), 4u);
    run(host, 2, "ignore");
    spawner.crash();
  }
  for (const pid_t pid : tree) ASSERT_TRUE(is_alive(pid)) << "the test needs leftovers";
  SpawnerProcess spawner(folder_.path(), arguments());
  Client client(folder_.path(), 2);
  EXPECT_NE(client.expect(MessageType::kWelcome)->as<Welcome>().instance, instance);
  tree.push_back(worker_.pid);
  for (const pid_t pid : tree) EXPECT_FALSE(is_alive(pid)) << pid;
  client.expect(MessageType::kReplayed);
}

TEST_P(SpawnerTest, AZygoteThatDiesIsReplacedAndItsWorkersGoOn) {
  SpawnerProcess spawner(folder_.path(), arguments());
  Client client(folder_.path(), 1);
  channel::HostEnd host = start_one(client);
  client.expect(MessageType::kPoolReady);
  std::ifstream stat("/proc/" + std::to_string(worker_.pid) + "/stat");
  std::string text;
  std::getline(stat, text);
  const pid_t zygote = std::atoi(text.c_str() + text.rfind(')') + 4);
  ASSERT_EQ(::kill(zygote, SIGKILL), 0);
  client.expect(MessageType::kPoolFailed);
  client.expect(MessageType::kPoolReady);
  run(host, 1, "echo still here");
  EXPECT_EQ(result_of(host), "still here");
  client.start_worker(1, 2);
  client.expect(MessageType::kWorkerStarted);
  run(host, 2, "exit 9");
  const auto ended = client.expect(MessageType::kWorkerEnded)->as<WorkerEnded>();
  EXPECT_EQ(ended.slot, 1u);
  EXPECT_EQ(WEXITSTATUS(ended.wait_status), 9) << "reaped by the spawner itself";
}

TEST_P(SpawnerTest, AZygoteThatCannotServeSaysWhy) {
  SpawnerProcess spawner(folder_.path(), arguments());
  Client client(folder_.path(), 1);
  struct Case {
    std::vector<std::string> argv;
    const char* says;
  };
  std::uint32_t pool = 0;
  for (const Case& bad : {Case{{TEST_ZYGOTE, "fail"}, "no such plugin"}, Case{{TEST_ZYGOTE, "crash"}, "ended"},
                          Case{{TEST_ZYGOTE, "wrong"}, "protocol"}, Case{{TEST_ZYGOTE, "threads"}, "threads"},
                          Case{{"/no/such/program"}, "No such file"}, Case{{}, "no program"}}) {
    client.start_pool(++pool, bad.argv);
    for (;;) {
      const auto failed = client.expect(MessageType::kPoolFailed)->as<PoolFailed>();
      if (failed.pool != pool) continue;  // an earlier one, tried again
      EXPECT_NE(std::string(failed.message).find(bad.says), std::string::npos) << failed.message;
      break;
    }
  }
  client.start_worker(99, 1);
  const auto ended = client.expect(MessageType::kWorkerEnded)->as<WorkerEnded>();
  EXPECT_EQ(ended.cause, static_cast<std::uint32_t>(EndCause::kStartFailed));
  EXPECT_STREQ(ended.message, "no such pool");
}

TEST_P(SpawnerTest, StoppedPoolsAndShutdownLeaveNothing) {
  pid_t pid = 0;
  SpawnerProcess spawner(folder_.path(), arguments());
  Client client(folder_.path(), 1);
  channel::HostEnd host = start_one(client);
  run(host, 1, "tree");
  std::vector<pid_t> tree = pids_in(result_of(host));
  StopPool stop{};
  stop.pool = 1;
  client.send(stop, MessageType::kStopPool);
  client.expect(MessageType::kWorkerEnded);
  client.expect(MessageType::kPoolStopped);
  for (const pid_t left : tree) EXPECT_FALSE(is_alive(left));

  client.start_pool(2, {TEST_ZYGOTE});
  client.start_worker(2, 2);
  auto started = client.expect(MessageType::kWorkerStarted);
  pid = started->as<WorkerStarted>().pid;
  client.send(Shutdown{}, MessageType::kShutdown);
  client.expect(MessageType::kWorkerEnded);
  EXPECT_EQ(spawner.wait(), 0);
  EXPECT_FALSE(is_alive(pid));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() + "/spawner.sock"));
  EXPECT_FALSE(std::filesystem::exists(folder_.path() + "/spawner.journal"));
}

TEST_P(SpawnerTest, WithoutADaemonItStaysWhileWorkRunsAndThenExits) {
  SpawnerProcess spawner(folder_.path(), arguments({"--idle-exit", "1"}));
  {
    Client client(folder_.path(), 1);
    channel::HostEnd host = start_one(client);
    run(host, 1, "sleep");
    while (host.head()->state != channel::RunState::kTaken) ::usleep(1'000);
  }
  ::usleep(1'500'000);
  ASSERT_TRUE(is_alive(spawner.pid())) << "left while a run went on";
  ::kill(worker_.pid, SIGKILL);
  EXPECT_EQ(spawner.wait(), 0);
}

TEST_P(SpawnerTest, ASecondSpawnerForAFolderIsRefused) {
  SpawnerProcess spawner(folder_.path(), arguments());
  Client client(folder_.path(), 1);
  client.expect(MessageType::kReplayed);
  SpawnerProcess second(folder_.path(), arguments());
  EXPECT_EQ(WEXITSTATUS(second.wait()), 3);
}

TEST_P(SpawnerTest, GarbageFromADaemonClosesOnlyItsConnection) {
  SpawnerProcess spawner(folder_.path(), arguments());
  {
    Client client(folder_.path(), 1);
    client.expect(MessageType::kReplayed);
    EXPECT_EQ(channel::send_packet(client.socket(), "what?"), channel::Sent::kYes);
    EXPECT_TRUE(client.closes());
  }
  Client client(folder_.path(), 1);
  client.expect(MessageType::kReplayed);
}

TEST_P(SpawnerTest, ReadinessIsToldToTheServiceManager) {
  const std::string path = folder_.path() + "/notify";
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path.c_str());
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
  SpawnerProcess spawner(folder_.path(), arguments());
  ::unsetenv("NOTIFY_SOCKET");
  pollfd wait{socket.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&wait, 1, Client::kPatienceMs), 1);
  char text[64] = {};
  ASSERT_GT(::recv(socket.get(), text, sizeof text - 1, 0), 0);
  EXPECT_STREQ(text, "READY=1");
}

}  // namespace
}  // namespace futured::spawner
