// memory_max and processes_max on real workers, as this machine's control groups keep them, and as sampling does.
#include <string>
#include <vector>

#include "tests/unit/spawner/client.h"

namespace futured::spawner {
namespace {

constexpr std::uint64_t kMiB = 1024 * 1024;

class LimitsTest : public ::testing::TestWithParam<bool> {
 protected:
  LimitsTest()
      : spawner_(folder_.path(), GetParam() ? std::vector<std::string>{} : std::vector<std::string>{"--no-cgroup"}),
        client_(folder_.path(), 1),
        welcome_(client_.expect(MessageType::kWelcome)->as<Welcome>()) {}

  channel::HostEnd start(std::uint32_t slot = 1, std::uint64_t memory_bytes_max = 0) {
    client_.start_worker(1, slot, memory_bytes_max);
    auto started = client_.expect(MessageType::kWorkerStarted);
    EXPECT_EQ(started->as<WorkerStarted>().memory_bytes_max, memory_bytes_max);
    return attach(*started);
  }
  [[nodiscard]] bool samples_memory() const { return welcome_.memory_by == static_cast<std::uint32_t>(Means::kProc); }
  [[nodiscard]] bool samples_processes() const {
    return welcome_.processes_by == static_cast<std::uint32_t>(Means::kProc);
  }
  void expect_end_over(Limit limit, std::uint32_t slot = 1, const std::string& named = "") {
    const auto ended = client_.expect(MessageType::kWorkerEnded)->as<WorkerEnded>();
    EXPECT_EQ(ended.slot, slot);
    EXPECT_EQ(ended.limit, static_cast<std::uint32_t>(limit));
    const bool is_memory = limit == Limit::kMemory;
    EXPECT_EQ(ended.out_of_memory, static_cast<std::uint32_t>(is_memory ? OutOfMemory::kYes : OutOfMemory::kNo));
    EXPECT_EQ(WTERMSIG(ended.wait_status), SIGKILL);
    const std::string message = ended.message;
    const std::string word = !named.empty() ? named : is_memory ? "memory_max" : "processes_max";
    EXPECT_NE(message.find(word), std::string::npos) << message;
    const bool is_sampled = is_memory ? samples_memory() : samples_processes();
    EXPECT_EQ(message.find("sampled every 250 ms") != std::string::npos, is_sampled) << message;
  }

  TempFolder folder_;
  SpawnerProcess spawner_;
  Client client_;
  Welcome welcome_;
};

INSTANTIATE_TEST_SUITE_P(Means, LimitsTest, ::testing::Values(false, true),
                         [](const auto& parameter) { return parameter.param ? "Cgroup" : "Sampling"; });

TEST_P(LimitsTest, WhoUsesNoMoreThanItsMemoryGoesOn) {
  client_.start_pool(1, {TEST_ZYGOTE}, 256 * kMiB);
  channel::HostEnd host = start();
  run(host, 1, "eat 64");
  EXPECT_EQ(result_of(host), "64");
  ::usleep(600'000);  // two looks, where it is sampled
  run(host, 2, "echo still here");
  EXPECT_EQ(result_of(host), "still here");
}

TEST_P(LimitsTest, WhoIsOverItsMemoryEndsAloneAndItsSlotServesOn) {
  client_.start_pool(1, {TEST_ZYGOTE}, 128 * kMiB);
  channel::HostEnd greedy = start(1);
  channel::HostEnd neighbour = start(2);
  run(greedy, 1, "eat 512");
  expect_end_over(Limit::kMemory);
  run(neighbour, 2, "echo unharmed");
  EXPECT_EQ(result_of(neighbour), "unharmed");
  channel::HostEnd next = start(1);
  run(next, 3, "eat 48");
  EXPECT_EQ(result_of(next), "48") << "what the last worker used is not charged to the next";
}

TEST_P(LimitsTest, AWorkerWithALimitOfItsOwnHasThatAndTheNextInItsSlotThePools) {
  client_.start_pool(1, {TEST_ZYGOTE}, 64 * kMiB);
  channel::HostEnd raised = start(1, 256 * kMiB);
  run(raised, 1, "eat 128");
  EXPECT_EQ(result_of(raised), "128");
  run(raised, 2, "eat 512");
  expect_end_over(Limit::kMemory, 1, "the raised limit of this attempt, 268435456 bytes");
  channel::HostEnd next = start(1);
  run(next, 3, "eat 128");
  expect_end_over(Limit::kMemory, 1, "the memory_max of its pool, 67108864 bytes");
}

TEST_P(LimitsTest, TheNextDaemonIsToldOfALimitOfItsOwn) {
  client_.start_pool(1, {TEST_ZYGOTE}, 64 * kMiB);
  channel::HostEnd raised = start(2, 256 * kMiB);
  Client next(folder_.path(), 2);
  EXPECT_EQ(next.expect(MessageType::kWorkerStarted)->as<WorkerStarted>().memory_bytes_max, 256 * kMiB);
}

// A kernel with v1 groups ends one process of the tree, and with v2 all of it, as sampling does.
TEST_P(LimitsTest, WhatAWorkerStartsCountsWithIt) {
  client_.start_pool(1, {TEST_ZYGOTE}, 128 * kMiB);
  channel::HostEnd host = start();
  run(host, 1, "eat_child 512");
  if (welcome_.memory_by != static_cast<std::uint32_t>(Means::kCgroup1)) return expect_end_over(Limit::kMemory);
  EXPECT_EQ(result_of(host), std::to_string(SIGKILL));
  run(host, 2, "exit 7");
  const auto ended = client_.expect(MessageType::kWorkerEnded)->as<WorkerEnded>();
  EXPECT_EQ(ended.limit, static_cast<std::uint32_t>(Limit::kNone)) << "its own end had nothing to do with that";
  EXPECT_EQ(ended.out_of_memory, static_cast<std::uint32_t>(OutOfMemory::kNo));
}

TEST_P(LimitsTest, NoMoreProcessesThanAllowed) {
  client_.start_pool(1, {TEST_ZYGOTE}, 0, 8);
  channel::HostEnd host = start();
  run(host, 1, "breed 40");
  if (samples_processes()) return expect_end_over(Limit::kProcesses);
  EXPECT_EQ(result_of(host), "7") << "itself is the eighth";
  client_.kill(1, 1);
  client_.expect(MessageType::kWorkerEnded);
  channel::HostEnd next = start();
  run(next, 2, "breed 3");
  EXPECT_EQ(result_of(next), "3") << "none of the last worker's is counted";
}

TEST_P(LimitsTest, APoolWithoutLimitsHasNone) {
  client_.start_pool(1, {TEST_ZYGOTE});
  channel::HostEnd host = start();
  run(host, 1, "eat 256");
  EXPECT_EQ(result_of(host), "256");
  run(host, 2, "breed 40");
  EXPECT_EQ(result_of(host), "40");
}

// Paths of the groups that the journal names.
std::vector<std::string> groups_in(const std::string& folder) {
  std::vector<std::string> groups;
  std::ifstream journal(folder + "/spawner.journal");
  for (std::string line; std::getline(journal, line);) {
    if (line.starts_with("group ")) groups.push_back(line.substr(6));
  }
  return groups;
}

TEST(Groups, NoneIsLeftByACrashOnceTheNextSpawnerServesNorByAnOrderlyEnd) {
  TempFolder folder;
  std::vector<std::string> groups;
  pid_t worker = 0;
  {
    SpawnerProcess spawner(folder.path());
    Client client(folder.path(), 1);
    client.start_pool(1, {TEST_ZYGOTE}, 512 * kMiB, 100);
    client.start_worker(1, 1);
    worker = client.expect(MessageType::kWorkerStarted)->as<WorkerStarted>().pid;
    groups = groups_in(folder.path());
    for (const std::string& group : groups) EXPECT_TRUE(std::filesystem::exists(group + "/slot-1")) << group;
    spawner.crash();
  }
  std::vector<std::string> next_groups;
  {
    SpawnerProcess spawner(folder.path());
    Client client(folder.path(), 2);
    client.expect(MessageType::kReplayed);
    EXPECT_FALSE(is_alive(worker));
    for (const std::string& group : groups) EXPECT_FALSE(std::filesystem::exists(group)) << group;
    next_groups = groups_in(folder.path());
    EXPECT_EQ(next_groups.size(), groups.size());
    client.start_pool(1, {TEST_ZYGOTE}, 512 * kMiB, 100);
    client.start_worker(1, 1);
    client.expect(MessageType::kWorkerStarted);
    client.send(Shutdown{}, MessageType::kShutdown);
    EXPECT_EQ(spawner.wait(), 0);
  }
  for (const std::string& group : next_groups) EXPECT_FALSE(std::filesystem::exists(group)) << group;
}

}  // namespace
}  // namespace futured::spawner
