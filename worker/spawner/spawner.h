// The spawner: starts zygotes, has workers forked into slots, confines them, kills their trees, and tells one daemon.
//
// Single-threaded, one epoll. It outlives the daemon; everything that it tells is told again to the next one.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "worker/spawner/connection.h"
#include "worker/spawner/journal.h"
#include "worker/spawner/slot_groups.h"
#include "worker/spawner/state.h"
#include "worker/spawner/vault.h"

namespace futured::spawner {

struct Options {
  std::string state_folder;
  Duration idle_exit{0};  // without a daemon and without work; 0: never
  bool use_cgroup = true;
};

class Spawner {
 public:
  // Takes over the state folder, kills what an earlier spawner left, and listens. Errors name what is in the way.
  [[nodiscard]] static Result<std::unique_ptr<Spawner>> create(const Options& options);

  // Until SHUTDOWN, SIGTERM or the idle time; nothing it started is alive when it returns.
  void run();

 private:
  // What an epoll event is about: the kind in the upper half, an id in the lower.
  enum class Kind : std::uint32_t { kListener = 1, kSignals, kGreeting, kDaemon, kVault, kZygote, kWorker };

  explicit Spawner(const Options& options) : options_(options) {}
  [[nodiscard]] Status open();
  void raise_descriptor_limit();
  [[nodiscard]] Status lock();
  [[nodiscard]] Status listen();
  [[nodiscard]] Status watch(int descriptor, std::uint32_t events, Kind kind, std::uint32_t id);
  [[nodiscard]] int sleep_ms(Instant now) const;
  void on_event(Kind kind, std::uint32_t id, std::uint32_t events);
  void on_time(Instant now);

  // The daemon (spawner_daemon.cc).
  void accept_daemon();
  void greet(int socket);
  void read_daemon();
  [[nodiscard]] bool handle(std::string_view bytes);
  void watch_for_room(Connection& connection, Kind kind, bool& watched);
  void read_vault();
  void welcome();
  void tell(std::string_view bytes, std::span<const int> descriptors = {});
  void drop_daemon(std::string_view why);
  void tell_pool(const PoolState& pool);
  void tell_started(const SlotState& slot);
  void start_pool(const StartPool& message, std::string_view strings);
  void start_worker(const StartWorker& message);
  void kill_worker(const Kill& message);
  void stop_pool(PoolState& pool);
  void shut_down();

  // Pools (spawner_pools.cc).
  void start_zygote(PoolState& pool);
  void read_zygote(PoolState& pool);
  [[nodiscard]] bool on_zygote(PoolState& pool, std::string_view bytes, std::vector<Fd>& descriptors);
  void on_ready(PoolState& pool);
  void zygote_lost(PoolState& pool, std::string_view why);
  void on_fork_failed(SlotState& slot, int error_number);
  void forget_stopped_pools();
  void fork_into(PoolState& pool, SlotState& slot);

  // Slots (spawner_slots.cc).
  [[nodiscard]] Status prepare(SlotState& slot);
  [[nodiscard]] Status renew_sockets(SlotState& slot);
  void on_forked(PoolState& pool, const zygote::Forked& message, Fd pidfd);
  void on_exited(SlotState& slot, int wait_status, std::uint64_t peak_rss_bytes, std::uint64_t cpu_ns);
  void fail_start(SlotState& slot, std::string_view why);
  void begin_kill(SlotState& slot);
  void go_on_killing(SlotState& slot);
  void go_on_killing_all();
  void finish(SlotState& slot);
  void reap();
  [[nodiscard]] std::vector<pid_t> orphans() const;
  // The slots of one worker: the one that leads, and all of them.
  [[nodiscard]] SlotState& lead_of(const SlotState& slot) { return slots_.at(slot.first); }
  template <typename Visit>
  void for_each_of(const SlotState& slot, const Visit& visit) {
    for (std::uint32_t id = slot.first, end = slot.first + slot.count; id < end; ++id) {
      if (const auto found = slots_.find(id); found != slots_.end()) visit(found->second);
    }
  }
  [[nodiscard]] bool is_all_waiting(const SlotState& slot);
  void tell_end(SlotState& slot, const WorkerEnded& figures, bool is_neighbour);
  [[nodiscard]] SlotState* find(std::uint32_t slot, std::uint32_t generation);
  [[nodiscard]] std::string group_of(const SlotState& slot) const { return "slot-" + std::to_string(slot.id); }
  [[nodiscard]] bool has_work() const;
  [[nodiscard]] bool is_all_gone() const;

  // Limits (spawner_limits.cc).
  void confine(SlotState& slot, const WorkerLimits& limits);
  void sample(Instant now);
  void sample(SlotState& slot);
  void judge_memory(SlotState& slot, WorkerEnded& message) const;

  Options options_;
  rlimit descriptors_before_{};
  std::uint64_t instance_ = 0;
  Fd lock_;
  Fd epoll_;
  Fd signals_;
  Fd listener_;
  SlotGroups groups_;
  MemoryKillSources kills_around_;        // of workers that no memory controller counts by themselves
  Instant sample_at_ = Instant::never();  // while a worker lives with a limit that no group keeps
  std::optional<Journal> journal_;

  std::map<int, Fd> greetings_;  // accepted, no HELLO yet
  std::optional<Connection> daemon_;
  bool daemon_watched_for_room_ = false;
  std::optional<Connection> vault_user_;
  bool vault_watched_for_room_ = false;
  Vault vault_;
  std::uint32_t epoch_ = 0;
  Instant idle_since_;

  std::map<std::uint32_t, PoolState> pools_;
  std::map<std::uint32_t, SlotState> slots_;
  bool stopping_ = false;
};

}  // namespace futured::spawner
