// LocalPools: the pools of this machine, as the loop sees them: offers and questions go in, typed events come out.
//
// The loop's thread only. Knows channels, descriptors and the spawner, so that nobody above has to.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/fd.h"
#include "base/id.h"
#include "base/pool_terms.h"
#include "base/result.h"
#include "base/time.h"
#include "daemon/pool/worker_loops.h"
#include "worker/channel/channel.h"
#include "worker/channel/host_end.h"

namespace futured::pool {

struct PoolConfig {
  std::string name;
  std::uint32_t slots = 1;
  SlotId first_slot;  // its slots are first_slot, first_slot + 1, …
  PoolTerms terms;
  std::vector<std::pair<std::string, std::string>> env;
  std::uint32_t workers_min = 0;  // kept when idle; of slots / terms.slots_per_worker()
  Duration idle{0};               // after which the others go
  SlotId first_spare = {};        // slots of workers beyond its size, in a row too
  std::uint32_t spares = 0;

  // Whole workers' slots, its own or spare ones.
  [[nodiscard]] bool has(SlotId slot) const {
    return (slot.value >= first_slot.value && slot.value - first_slot.value < slots) || is_spare(slot);
  }
  [[nodiscard]] bool is_spare(SlotId slot) const {
    return slot.value >= first_spare.value && slot.value - first_spare.value < spares;
  }
  [[nodiscard]] bool runs_commands() const { return terms.mode == PoolMode::kCommand; }
};

struct Task {
  std::string name;
  std::string version;
};

// What happened. Views are valid for the call.
struct PoolReady {
  std::string pool;
  std::vector<Task> tasks;   // in the order of their indices
  bool is_reloaded = false;  // workers that are there have the tasks of before
};
struct PoolFailed {
  std::string pool;
  std::string message;
  bool is_reload = false;  // of what was to take the pool's place: that goes on as before
};
struct WorkerStarted {
  SlotId slot;
  std::uint32_t generation = 0;
  std::int32_t pid = 0;
  std::uint64_t memory_bytes_max = 0;  // of this worker with all that it starts; 0: its pool's
};
enum class OutOfMemory : std::uint8_t {
  kNo,
  kLikely,  // it died of a SIGKILL that was not ours, and the kernel has killed for memory since it began
  kYes,     // its control group says so, or it was seen over its pool's limit
};
// The worker and all that it had started are gone; every response that it had published was handed out before.
struct WorkerEnded {
  SlotId slot;
  std::uint32_t generation = 0;
  std::optional<Fence> taken;  // taken, and without a DONE; of a worker of many runs, the one that it was at
  Instant taken_at;
  std::vector<channel::Head> newly_taken;  // of a worker of many runs
  std::int32_t exit_code = 0;
  std::int32_t signal = 0;  // 0: it exited
  std::uint64_t peak_rss_bytes = 0;
  std::int64_t cpu_us = 0;
  OutOfMemory out_of_memory = OutOfMemory::kNo;
  bool is_lost = false;       // for no fault of what it ran: with its spawner, or for what another slot of it did
  bool is_neighbour = false;  // of these, the latter
  std::string broken;         // not empty: it was killed for what it wrote into its channel
  std::string not_started;    // not empty: it could not be forked, and this is why
  std::string over_limit;     // not empty: it went over a limit of its pool; "killed …", naming it
};
// The spawner itself died, and its workers end with it. WorkerEnded follows for each when reattach() has found the next
// spawner, which sees the last of them dead before it serves anybody.
struct SpawnerLost {
  std::string why;
};

class PoolHandler {
 public:
  virtual ~PoolHandler() = default;
  virtual void on(const PoolReady& event) = 0;
  virtual void on(const PoolFailed& event) = 0;
  virtual void on(const WorkerStarted& event) = 0;
  virtual void on(const WorkerEnded& event) = 0;
  virtual void on(const SpawnerLost& event) = 0;
  // Responses of a worker (channel::Response of host_end.h); emits and progress likewise.
  virtual void on(SlotId slot, channel::Done& done) = 0;
  virtual void on(SlotId slot, const channel::Emit& emit) = 0;
  virtual void on(SlotId slot, const channel::Progress& progress) = 0;
  // To be answered with LocalPools::answer(), now or later.
  virtual void on(SlotId slot, const channel::Call& call) = 0;
};

struct SlotCursor {
  SlotId slot;
  channel::Cursor cursor;
};

struct Offer {
  SlotId slot;
  Fence fence;
  std::uint32_t task = 0;
  bool follow = false;               // EMIT output as it comes
  std::string_view payload;          // encoded parts
  std::span<const int> descriptors;  // of the payload's segments; still the caller's
  Duration run_timeout{0};           // told to the task; 0: none
};

// A run found in a channel when this daemon attached.
struct RecoveredRun {
  SlotId slot;
  Fence fence;
  Instant taken_at;
  bool done = false;  // its DONE will be handed out by poll()
};

struct WorkerFigures {
  SlotId slot;
  std::uint32_t generation = 0;
  std::int32_t pid = 0;
  bool alive = false;
  WallTime started_at;
  std::uint64_t jobs_done = 0;
};

// What was seen of a pool since this daemon's start; of a duration the last one, 0 for none. A zygote that the spawner
// starts again by itself, after a failure, is not timed.
struct PoolFigures {
  Duration zygote_start{};      // from START_POOL to POOL_READY
  Duration fork{};              // from START_WORKER to WORKER_STARTED, while the zygote was there
  std::uint64_t jobs_done = 0;  // by all its workers
};

struct LocalPoolsSetup {
  std::string state_directory;
  std::string spawner_program;  // started when none serves the state directory; empty: never start one
  std::string zygote_program;   // of every pool
  std::int64_t spawner_idle_exit_s = 0;
};

class LocalPools {
 public:
  explicit LocalPools(LocalPoolsSetup setup);
  ~LocalPools();
  LocalPools(const LocalPools&) = delete;
  LocalPools& operator=(const LocalPools&) = delete;

  // Connects to the spawner of the state directory, or starts it (detached). HELLO with `epoch`; takes over every slot
  // that is still there. Blocking, bounded to 10 s. Before any thread or gRPC is started.
  [[nodiscard]] Status attach(Epoch epoch);
  [[nodiscard]] const std::string& spawner_instance() const;
  [[nodiscard]] std::int32_t spawner_pid() const;
  // After SpawnerLost: connects to the next spawner, or starts it; its pools and the workers asked for meanwhile
  // follow. Blocking, bounded to 10 s. FAILED_PRECONDITION: it is the same spawner, whose workers only a restart can
  // take over.
  [[nodiscard]] Status reattach();
  // Starts pools that are not running, restarts those whose configuration changed.
  [[nodiscard]] Status configure(const std::vector<PoolConfig>& pools);

  // Loads the pool's plugins anew, in another zygote. PoolReady or PoolFailed follows, and says that it is of this.
  // From then on the pool's next workers are of the new one; those that are there go on until they are killed, and the
  // old zygote goes with the last of them. FAILED_PRECONDITION: one is under way, or there is no spawner now.
  [[nodiscard]] Status reload(const std::string& pool);

  // Runs that were TAKEN (or done but not released) under earlier daemons. Offered ones have been revoked by attach().
  [[nodiscard]] std::vector<RecoveredRun> recovered() const;
  // Slots with a live worker, found at attach.
  [[nodiscard]] std::vector<WorkerStarted> live() const;

  // An epoll descriptor that is readable when poll() has something to do.
  [[nodiscard]] int fd() const;
  // For a start, while nobody can be told of jobs yet: waits for the spawner's notices and hands out what they say of
  // pools. What workers did is kept for poll().
  void wait_notices(PoolHandler& handler, int timeout_ms);
  // Workers of pools that are configured no more, or otherwise, are still being killed.
  [[nodiscard]] bool has_strangers() const;
  // By pool: why its zygote cannot serve, as the spawner told while it was attached to.
  [[nodiscard]] std::map<std::string, std::string> failures() const;
  // Hands out what has happened: at most about `responses_max` responses, all spawner notices. True: there is more.
  bool poll(PoolHandler& handler, std::size_t responses_max);
  // Before sleeping on fd(): false when poll() would find something.
  [[nodiscard]] bool arm();

  // `memory_bytes_max`: of this worker with all that it starts; 0: the pool's.
  void start_worker(const std::string& pool, SlotId slot, std::uint64_t memory_bytes_max = 0);
  [[nodiscard]] bool offer(const Offer& offer);  // false: no room, or no worker there now
  void publish();                                // shows all offers and stops made since; one wake-up a slot
  [[nodiscard]] bool revoke(SlotId slot, const Fence& fence);
  [[nodiscard]] std::optional<channel::Head> head(SlotId slot);
  // Of a worker of many runs: those that it was not known to have taken.
  [[nodiscard]] std::vector<channel::Head> newly_taken(SlotId slot);
  void stop(SlotId slot, const Fence& fence, channel::StopReason reason);
  // Answers a call of a worker, and wakes it. The slot may have another worker by now.
  void answer(SlotId slot, const channel::CallId& call, const channel::Answer& answer);
  // Tells a run that what it waits for may be there.
  void nudge(SlotId slot, const Fence& fence);
  // The last sign of life of a run that was taken and is not finished.
  [[nodiscard]] std::optional<Instant> alive_at(SlotId slot, const Fence& fence) const;
  // Kills the worker of the slot and its whole tree: at once, or after it had limits::kStacksMs to tell its stacks
  // (docs/formats/stacks.md). WorkerEnded follows when nothing is left.
  enum class Last { kNothing, kStacks };
  void kill(SlotId slot, Last last = Last::kNothing);

  // Slots with responses that are read and not released, each with its cursor.
  [[nodiscard]] std::vector<SlotCursor> cursors() const;
  [[nodiscard]] bool has_unreleased() const;
  void release(const SlotCursor& cursor);

  [[nodiscard]] std::vector<WorkerFigures> workers() const;
  // Any thread.
  [[nodiscard]] std::shared_ptr<const WorkerLoops> worker_loops() const;
  [[nodiscard]] PoolFigures figures(const std::string& pool) const;
  [[nodiscard]] const std::map<std::string, std::vector<Task>>& tasks() const;  // by pool, of ready ones

  // The spawner kills everything and exits. Blocking, bounded to 10 s.
  [[nodiscard]] Status shut_down_spawner();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace futured::pool
