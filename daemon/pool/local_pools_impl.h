// The inside of LocalPools; nobody else includes it.
//
// local_pools.cc has the channels, local_pools_spawner.cc what the spawner is asked for, local_pools_notices.cc what it
// tells.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <sys/epoll.h>

#include "daemon/pool/local_pools.h"
#include "daemon/pool/pool_slot.h"
#include "daemon/pool/spawner_link.h"

namespace futured::pool {

// A pool's figures and what they are made from.
struct PoolHistory {
  std::optional<Instant> asked_at;  // of the zygote; not once it has answered, well or not
  Instant ready_at;
  PoolFigures figures;  // jobs_done: by workers whose slots have others now
};

struct WantedWorker {
  std::string pool;
  std::uint64_t memory_bytes_max = 0;  // 0: the pool's
};

class LocalPools::Impl {
 public:
  explicit Impl(LocalPoolsSetup given) : setup(std::move(given)), epoll(epoll_create1(EPOLL_CLOEXEC)) {}

  [[nodiscard]] Status connect();
  [[nodiscard]] Status take(Notice notice, PoolHandler* handler);
  [[nodiscard]] Status start_pool(std::uint32_t number, const PoolConfig& config);
  void poll_link(PoolHandler& handler);
  void lose_spawner(const std::string& why, PoolHandler& handler);
  void start_if_due(PoolSlot& slot);
  void set_worker(const std::string& pool, spawner::StartWorker& message) const;
  void note_fork(const spawner::WorkerStarted& message);
  void kill_broken(PoolSlot& slot);
  void kill(PoolSlot& slot, std::uint32_t grace_ms);
  [[nodiscard]] PoolSlot& slot(SlotId id);
  [[nodiscard]] bool is_strange(const PoolSlot& slot) const;
  [[nodiscard]] const std::string* name_of(std::uint32_t number) const;
  [[nodiscard]] std::uint32_t newest_of(std::uint32_t place, const PoolConfig& config) const;
  void take_over(const std::string& name, std::uint32_t number);
  void stop_pool(std::uint32_t number);
  void stop_retired();

  LocalPoolsSetup setup;
  Fd epoll;
  std::optional<SpawnerLink> link;
  Epoch epoch;
  std::string instance;
  std::vector<PoolConfig> configs;
  std::map<std::string, std::uint32_t> numbers;             // of configured pools
  std::map<std::uint32_t, std::string> replayed;            // pools that the spawner had at attach
  std::map<std::uint32_t, std::string> reloading;           // pools that are to take the place of those of their names
  std::set<std::uint32_t> retired;                          // pools whose place was taken, until their workers are gone
  std::map<std::uint32_t, std::vector<Task>> tasks_coming;  // before their READY
  std::map<std::uint32_t, std::vector<Task>> tasks_known;
  std::map<std::uint32_t, std::string> failed;     // of the replay: pools whose zygote is down
  std::map<std::string, std::vector<Task>> tasks;  // of configured pools that are ready
  std::vector<spawner::WorkerEnded> unseen;  // ends that follow from the spawner's, until its successor has seen them
  std::vector<std::unique_ptr<PoolSlot>> slots;      // [i] is SlotId i + 1
  std::map<std::uint32_t, WantedWorker> wanted;      // by slot: its next worker
  std::map<std::uint32_t, Instant> worker_asked_at;  // by slot, while its START_WORKER is under way
  std::map<std::uint32_t, PoolHistory> history;      // by the spawner's number: other settings, another history
  std::vector<RecoveredRun> recovered;
  std::set<PoolSlot*> touched;  // offered or stopped since the last publish
  const std::shared_ptr<WorkerLoops> loops = std::make_shared<WorkerLoops>();
  std::size_t next_polled = 0;
};

}  // namespace futured::pool
