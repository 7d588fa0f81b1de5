// The daemon's pools against a real spawner, with the real zygote, and with the tests' own where it must misbehave.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/command.h"
#include "base/payload.h"
#include "daemon/pool/local_pools.h"

namespace futured::pool {
namespace {

constexpr SlotId kSlot{1};

class TempFolder {
 public:
  TempFolder() {
    char name[] = "/tmp/futured-test-XXXXXX";
    path_ = ::mkdtemp(name);
    std::filesystem::create_directory(path_ + "/output");
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

bool is_alive(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(file, text)) return false;
  return text.substr(text.rfind(')') + 2, 1) != "Z";
}

struct SeenDone {
  SlotId slot;
  Fence fence;
  channel::DoneStatus status;
  std::int32_t exit_code;
  std::string result;
  std::size_t descriptors;
};

struct Recorder : PoolHandler {
  void on(const PoolReady& event) override { ready.push_back(event); }
  void on(const PoolFailed& event) override { failed.push_back(event); }
  void on(const WorkerStarted& event) override { started.push_back(event); }
  void on(const WorkerEnded& event) override { ended.push_back(event); }
  void on(const SpawnerLost& event) override { lost.push_back(event.why); }
  void on(SlotId slot, channel::Done& done) override {
    EXPECT_TRUE(ended.empty() || ended.back().slot != slot || !started.empty()) << "a DONE after its worker's end";
    dones.push_back({slot, done.fence, done.status, done.exit_code, std::string(done.result), done.descriptors.size()});
  }
  void on(SlotId, const channel::Emit& emit) override { emitted += emit.data; }
  void on(SlotId, const channel::Progress&) override {}
  void on(SlotId, const channel::Call& call) override { calls.push_back(call.id); }

  std::vector<PoolReady> ready;
  std::vector<PoolFailed> failed;
  std::vector<WorkerStarted> started;
  std::vector<WorkerEnded> ended;
  std::vector<std::string> lost;
  std::vector<SeenDone> dones;
  std::vector<channel::CallId> calls;
  std::string emitted;
};

Fence fence(std::uint64_t job, std::uint32_t epoch = 1) { return {JobId{job}, Epoch{epoch}, 1}; }

class PoolTest : public ::testing::Test {
 protected:
  ~PoolTest() override {
    if (pools_) (void)pools_->shut_down_spawner();
  }

  void open(std::uint32_t epoch, const char* zygote = FUTURED_ZYGOTE) {
    pools_.reset();  // as a dying daemon would: nothing is said to the spawner
    seen_ = {};
    pools_ = std::make_unique<LocalPools>(LocalPoolsSetup{folder_.path(), FUTURED_SPAWNER, zygote, 0});
    const Status attached = pools_->attach(Epoch{epoch});
    ASSERT_TRUE(attached.ok()) << attached.error().message;
  }
  void configure(bool commands = false, std::vector<std::pair<std::string, std::string>> env = {}) {
    PoolTerms terms;
    if (commands) terms.mode = PoolMode::kCommand;
    const Status configured = pools_->configure({PoolConfig{"default", 1, kSlot, terms, std::move(env)}});
    ASSERT_TRUE(configured.ok()) << configured.error().message;
  }
  void start() {
    pools_->start_worker("default", kSlot);
    wait([&] { return !seen_.started.empty(); }, "a worker to start");
  }

  // Polls as the loop does, sleeping on fd() only.
  void wait(const std::function<bool()>& done, const char* what) {
    const Instant until = monotonic_now() + std::chrono::seconds(30);
    while (!done()) {
      if (pools_->poll(seen_, 1000) || done() || !pools_->arm()) continue;
      pollfd sleeper{pools_->fd(), POLLIN, 0};
      ::poll(&sleeper, 1, 30'000);
      if (monotonic_now() > until) FAIL() << "waited in vain for " << what;
    }
  }
  void wait_dones(std::size_t count) {
    wait([&] { return seen_.dones.size() >= count; }, "outcomes");
  }
  // A start makes no event: the loop looks at a head when it has been silent, and so does this.
  void wait_taken() {
    const Instant until = monotonic_now() + std::chrono::seconds(30);
    while (pools_->head(kSlot)->state != channel::RunState::kTaken && monotonic_now() < until) ::usleep(1'000);
  }
  void release() {
    for (const SlotCursor& cursor : pools_->cursors()) pools_->release(cursor);
  }

  [[nodiscard]] std::uint32_t task(const std::string& name) const {
    const auto& tasks = pools_->tasks().at("default");
    const auto at = std::ranges::find(tasks, name, &Task::name);
    EXPECT_NE(at, tasks.end()) << name;
    return static_cast<std::uint32_t>(at - tasks.begin());
  }
  void run(std::uint64_t job, std::string_view payload, std::uint32_t task = 0, std::uint32_t epoch = 1) {
    EXPECT_TRUE(pools_->offer({kSlot, fence(job, epoch), task, true, payload, {}}));
    pools_->publish();
  }

  TempFolder folder_;
  std::unique_ptr<LocalPools> pools_;
  Recorder seen_;
};

std::string one_part(std::string_view bytes) {
  std::string encoded;
  append_part(encoded, {.bytes = bytes});
  return encoded;
}

TEST_F(PoolTest, ATaskRunsInAForkedWorkerAndItsResultComesBack) {
  open(1);
  configure();
  start();
  EXPECT_EQ(pools_->workers()[0].pid, seen_.started[0].pid);
  const std::string small = one_part("hello");
  const std::string large = one_part(std::string(300'000, 'l'));
  run(1, small, task("echo"));
  run(2, large, task("echo"));
  wait_dones(2);
  EXPECT_EQ(seen_.dones[0].fence, fence(1));
  EXPECT_EQ(seen_.dones[0].status, channel::DoneStatus::kSucceeded);
  EXPECT_EQ(seen_.dones[0].result, small);
  EXPECT_EQ(seen_.dones[1].result, large);
  EXPECT_TRUE(pools_->has_unreleased());
  release();
  EXPECT_FALSE(pools_->has_unreleased());
}

TEST_F(PoolTest, ManyRunsKeepTheirOrder) {
  open(1);
  configure();
  start();
  const std::uint32_t noop = task("noop");
  constexpr std::uint64_t kJobs = 20'000;
  std::uint64_t offered = 0;
  while (seen_.dones.size() < kJobs) {
    while (offered < kJobs && pools_->offer({kSlot, fence(offered + 1), noop, false, {}, {}})) ++offered;
    pools_->publish();
    const std::size_t before = seen_.dones.size();
    wait([&] { return seen_.dones.size() > before; }, "an outcome");
    release();
  }
  for (std::uint64_t i = 0; i < kJobs; ++i) ASSERT_EQ(seen_.dones[i].fence, fence(i + 1));
}

TEST_F(PoolTest, ACommandRunsAndItsOutputIsFollowed) {
  open(1);
  configure(true);
  start();
  run(1, one_part(""), 0);  // no command at all
  std::string payload;
  const std::string command = encode_command({{"/bin/sh", "-c", "echo out; exit 3"}, {}, {}});
  append_part(payload, {.content_type = kCommandType, .bytes = command});
  run(2, payload, 0);
  wait_dones(2);
  EXPECT_EQ(seen_.dones[0].status, channel::DoneStatus::kBadPayload);
  EXPECT_EQ(seen_.dones[1].status, channel::DoneStatus::kCommandFailed);
  EXPECT_EQ(seen_.dones[1].exit_code, 3);
  EXPECT_EQ(seen_.emitted, "out\n");
}

TEST_F(PoolTest, AWorkersDeathIsToldAfterItsLastWordsAndTheSlotIsUsedAgain) {
  open(1, TEST_ZYGOTE);
  configure();
  start();
  run(1, "echo last words");
  run(2, "exit 5");
  wait([&] { return !seen_.ended.empty(); }, "the worker's end");
  ASSERT_EQ(seen_.dones.size(), 1u);
  EXPECT_EQ(seen_.dones[0].result, "last words");
  EXPECT_EQ(seen_.ended[0].taken, fence(2));
  EXPECT_EQ(seen_.ended[0].exit_code, 5);
  EXPECT_FALSE(pools_->offer({kSlot, fence(3), 0, false, "echo", {}}));

  pools_->start_worker("default", kSlot);
  for (int i = 0; i < 5; ++i) (void)pools_->poll(seen_, 1000);
  EXPECT_EQ(seen_.started.size(), 1u) << "the channel is not emptied before its last words are committed";
  release();
  wait([&] { return seen_.started.size() == 2; }, "the next worker");
  EXPECT_EQ(seen_.started[1].generation, 2u);
  run(3, "echo again");
  wait_dones(2);
  EXPECT_EQ(seen_.dones[1].result, "again");
}

TEST_F(PoolTest, AKillEndsTheWholeTree) {
  open(1, TEST_ZYGOTE);
  configure();
  start();
  run(1, "tree");
  wait_dones(1);
  std::istringstream words(seen_.dones[0].result);
  std::vector<pid_t> tree;
  for (pid_t pid; words >> pid;) tree.push_back(pid);
  ASSERT_EQ(tree.size(), 4u);
  run(2, "ignore");
  pools_->kill(kSlot);
  wait([&] { return !seen_.ended.empty(); }, "the worker's end");
  for (const pid_t pid : tree) EXPECT_FALSE(is_alive(pid)) << pid;
  EXPECT_EQ(seen_.ended[0].signal, SIGKILL);
}

TEST_F(PoolTest, AWorkerThatScribblesIsKilledAndNamed) {
  open(1, TEST_ZYGOTE);
  configure();
  start();
  run(1, "garbage");
  wait([&] { return !seen_.ended.empty(); }, "the worker's end");
  EXPECT_FALSE(seen_.ended[0].broken.empty());
  EXPECT_EQ(seen_.ended[0].taken, fence(1));
  release();
  pools_->start_worker("default", kSlot);
  wait([&] { return seen_.started.size() == 2; }, "the next worker");
  run(2, "echo clean");
  wait_dones(1);
  EXPECT_EQ(seen_.dones[0].result, "clean");
}

TEST_F(PoolTest, AWorkerThatWritesOfferedOverTakenIsKilledAndItsRunIsCharged) {
  open(1, TEST_ZYGOTE);
  configure();
  start();
  run(1, "untake");
  wait_taken();
  pools_->stop(kSlot, fence(1), channel::StopReason::kCancel);
  pools_->publish();
  wait([&] { return !seen_.emitted.empty(); }, "the word that it is done");
  EXPECT_FALSE(pools_->revoke(kSlot, fence(1))) << "it would run twice at once";
  wait([&] { return !seen_.ended.empty(); }, "the worker's end");
  EXPECT_FALSE(seen_.ended[0].broken.empty());
  EXPECT_EQ(seen_.ended[0].taken, fence(1));
}

TEST_F(PoolTest, TheNextDaemonTakesOverWhatRunsAndWhatWasNotCommitted) {
  open(1, TEST_ZYGOTE);
  configure();
  start();
  const std::string instance = pools_->spawner_instance();
  const pid_t worker = seen_.started[0].pid;
  run(1, "echo one");
  run(2, "echo two");
  run(3, "big 200000");
  run(4, "sleep");
  run(5, "echo never");
  wait_dones(3);
  wait_taken();

  open(2, TEST_ZYGOTE);
  EXPECT_EQ(pools_->spawner_instance(), instance);
  configure();
  EXPECT_EQ(pools_->tasks().at("default").size(), 2u) << "known without asking the zygote again";
  ASSERT_EQ(pools_->live().size(), 1u);
  EXPECT_EQ(pools_->live()[0].pid, worker);
  std::vector<std::pair<Fence, bool>> runs;
  for (const RecoveredRun& run : pools_->recovered()) runs.emplace_back(run.fence, run.done);
  EXPECT_EQ(runs, (std::vector<std::pair<Fence, bool>>{
                      {fence(4), false}, {fence(1), true}, {fence(2), true}, {fence(3), true}}))
      << "taken and answered ones; what was only offered has been taken back";
  EXPECT_TRUE(pools_->cursors().empty()) << "nothing may be released before it was handed out";
  wait_dones(3);
  EXPECT_EQ(seen_.dones[0].result, "one");
  EXPECT_EQ(seen_.dones[2].result, std::string(200'000, 'b'));
  release();
  pools_->kill(kSlot);
  wait([&] { return !seen_.ended.empty(); }, "the worker's end");
  EXPECT_EQ(seen_.ended[0].taken, fence(4));
}

TEST_F(PoolTest, ACallThatWasNotAnsweredIsHandedToTheNextDaemonAndAnsweredThere) {
  open(1, TEST_ZYGOTE);
  configure();
  start();
  run(1, "call 2");
  const channel::CallId first{fence(1), 1};
  const channel::CallId second{fence(1), 2};
  wait([&] { return seen_.calls.size() == 1; }, "the first call");
  EXPECT_EQ(seen_.calls[0], first);
  EXPECT_FALSE(pools_->has_unreleased()) << "an open call is not released, and no commit is to be spent on it";
  pools_->answer(kSlot, first, {.job = JobId{71}});
  EXPECT_TRUE(pools_->has_unreleased());
  wait([&] { return seen_.calls.size() == 2; }, "the second call");

  open(2, TEST_ZYGOTE);  // which finds both, for the answer to the first was not released
  configure();
  EXPECT_TRUE(pools_->cursors().empty()) << "nothing may be released before it was handed out";
  wait([&] { return seen_.calls.size() == 1; }, "the call that is open");
  EXPECT_EQ(seen_.calls[0], second);
  pools_->answer(kSlot, first, {.job = JobId{99}});
  pools_->answer(kSlot, second, {.job = JobId{72}});
  wait_dones(1);
  EXPECT_EQ(seen_.dones[0].result, "71 72 ");
  release();
  EXPECT_FALSE(pools_->has_unreleased());
  pools_->kill(kSlot);
  wait([&] { return !seen_.ended.empty(); }, "the worker's end");
}

TEST_F(PoolTest, TheNextDaemonIsHandedWhatARunEmittedWhileNoneWasThere) {
  open(1);
  configure(true);
  start();
  std::string payload;
  const std::string command = encode_command({{"/bin/sh", "-c", "echo out; echo err >&2; exec sleep 1000"}, {}, {}});
  append_part(payload, {.content_type = kCommandType, .bytes = command});
  run(1, payload);
  const Instant until = monotonic_now() + std::chrono::seconds(30);
  while (pools_->arm()) {  // until it is there; and nobody reads it
    pollfd sleeper{pools_->fd(), POLLIN, 0};
    ::poll(&sleeper, 1, 30'000);
    ASSERT_LT(monotonic_now().ns, until.ns);
  }

  open(2);
  configure(true);
  wait([&] { return seen_.emitted.size() == 8; }, "both streams");
  EXPECT_NE(seen_.emitted.find("out\n"), std::string::npos);
  EXPECT_NE(seen_.emitted.find("err\n"), std::string::npos);
  pools_->kill(kSlot);
  wait([&] { return !seen_.ended.empty(); }, "the worker's end");
  EXPECT_EQ(seen_.ended[0].taken, fence(1));
}

TEST_F(PoolTest, APoolWhoseSettingsChangedIsReplaced) {
  open(1);
  configure(false, {{"COLOUR", "red"}});
  start();
  const pid_t first = seen_.started[0].pid;
  open(2);
  configure(false, {{"COLOUR", "blue"}});
  EXPECT_TRUE(pools_->live().empty());
  pools_->start_worker("default", kSlot);
  wait([&] { return !seen_.started.empty(); }, "the new pool's worker");
  EXPECT_FALSE(is_alive(first));
  EXPECT_NE(seen_.started[0].pid, first);
}

TEST_F(PoolTest, AWorkerWithALimitOfItsOwnIsToldWithItAlsoToTheNextDaemon) {
  constexpr std::uint64_t kLimit = 512 * 1024 * 1024;
  const auto limited = [&] {
    PoolTerms terms;
    terms.memory_bytes_max = kLimit / 2;
    const Status configured = pools_->configure({PoolConfig{"default", 1, kSlot, terms, {}}});
    ASSERT_TRUE(configured.ok()) << configured.error().message;
  };
  open(1);
  limited();
  pools_->start_worker("default", kSlot, kLimit);
  wait([&] { return !seen_.started.empty(); }, "a worker to start");
  EXPECT_EQ(seen_.started[0].memory_bytes_max, kLimit);
  open(2);
  limited();
  ASSERT_EQ(pools_->live().size(), 1u);
  EXPECT_EQ(pools_->live()[0].memory_bytes_max, kLimit);
  pools_->kill(kSlot);
  pools_->start_worker("default", kSlot);
  wait([&] { return !seen_.started.empty(); }, "the next worker");
  EXPECT_EQ(seen_.started[0].memory_bytes_max, 0u) << "its pool's";
}

TEST_F(PoolTest, AZygoteThatCannotServeIsToldWithItsReason) {
  open(1, "/no/such/zygote");
  configure();
  wait([&] { return !seen_.failed.empty(); }, "the failure");
  EXPECT_EQ(seen_.failed[0].pool, "default");
  EXPECT_NE(seen_.failed[0].message.find("No such file"), std::string::npos) << seen_.failed[0].message;
}

TEST_F(PoolTest, ASpawnerThatDiesIsNoticedAndTheNextOneClearsUp) {
  open(1, TEST_ZYGOTE);
  configure();
  start();
  const std::string instance = pools_->spawner_instance();
  const pid_t worker = seen_.started[0].pid;
  run(1, "ignore");
  wait_taken();
  ASSERT_EQ(::kill(pools_->spawner_pid(), SIGKILL), 0);
  wait([&] { return !seen_.lost.empty(); }, "the loss");
  EXPECT_TRUE(seen_.ended.empty()) << "nobody has seen the worker dead";
  ASSERT_TRUE(pools_->reattach().ok());
  EXPECT_NE(pools_->spawner_instance(), instance);
  EXPECT_FALSE(is_alive(worker));
  wait([&] { return !seen_.ended.empty(); }, "the worker's end");
  ASSERT_EQ(seen_.ended.size(), 1u);
  EXPECT_EQ(seen_.ended[0].taken, fence(1));
  EXPECT_TRUE(seen_.ended[0].is_lost);
}

TEST_F(PoolTest, AnOlderDaemonIsRefused) {
  open(5);
  LocalPools older({folder_.path(), FUTURED_SPAWNER, FUTURED_ZYGOTE, 0});
  const Status attached = older.attach(Epoch{4});
  ASSERT_FALSE(attached.ok());
  EXPECT_NE(attached.error().message.find("epoch"), std::string::npos) << attached.error().message;
}

}  // namespace
}  // namespace futured::pool
