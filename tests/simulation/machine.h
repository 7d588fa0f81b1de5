// Machine: the simulated spawner, channels and workers. It outlives daemons, as the real ones do, and keeps the
// contract of daemon/pool: what a worker published is read before its end is told, a slot's next worker starts when all
// reports are released, and a record that was not published does not exist.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "daemon/core/effects.h"
#include "tests/simulation/oracle.h"
#include "tests/simulation/random.h"

namespace futured::simulation {

// What can go wrong with workers, and how often; drawn anew for each history.
struct WorkerFaults {
  std::uint64_t fail_per_mille = 0;
  std::uint64_t crash_per_mille = 0;  // in the middle of a job, or between its end and its report
  std::uint64_t hang_per_mille = 0;
  std::uint64_t deaf_per_mille = 0;        // ignores its stop
  std::uint64_t silent_per_mille = 0;      // gives no sign of life
  std::uint64_t hungry_per_mille = 0;      // has too little memory: dies of it, or tells so
  std::uint64_t long_per_mille = 0;        // takes seconds
  std::uint64_t idle_crash_per_mille = 0;  // of each step
  std::uint64_t wait_per_mille = 0;        // waits for other jobs first
  std::size_t ring_records = 64;
};

// What the task of a run asks about jobs that it waits for.
struct Call {
  SlotId slot;
  Fence fence;
  std::uint64_t number = 0;
  std::uint32_t wait = 0;
  bool gives_up = false;
  std::vector<JobId> jobs;
};

struct Report {
  Fence fence;
  bool succeeded = false;
  bool final = false;
  Instant started;
  Instant finished;
  std::string result;
  std::string error_class;              // of a failure
  std::optional<Duration> retry_after;  // that it asks for
  bool out_of_memory = false;           // the failure
};

struct Notice {
  enum class Kind { kStarted, kEnded } kind = Kind::kStarted;
  SlotId slot;
  std::uint32_t generation = 0;
  std::uint64_t memory_bytes_max = 0;  // kStarted; 0: its pool's
  bool over_memory = false;            // kEnded: of that
};

class Machine {
 public:
  // `runs_at_once`: of each slot.
  Machine(std::vector<std::size_t> runs_at_once, WorkerFaults faults, Random& random, Oracle& oracle);

  // ---- The daemon's side. ----
  struct Recovered {
    SlotId slot;
    Fence fence;
    Instant taken_at;
    bool done = false;
  };
  // A new daemon attaches: offers that nobody took are revoked; of the notices, those of ends not told remain.
  std::vector<Recovered> attach();
  // Workers that this daemon takes over: alive, or dead and not yet told to be.
  [[nodiscard]] std::vector<Notice> live() const;
  void start(SlotId slot, std::uint64_t memory_bytes_max = 0);
  void kill(SlotId slot);
  void stop(SlotId slot, const Fence& fence);
  bool offer(SlotId slot, const Fence& fence);
  void publish();
  bool revoke(SlotId slot, const Fence& fence);
  [[nodiscard]] std::optional<Instant> alive_at(SlotId slot, const Fence& fence, Instant now) const;
  struct Head {
    Fence fence;
    bool taken = false;
    Instant taken_at;
  };
  [[nodiscard]] std::optional<Head> head(SlotId slot) const;
  // Of a slot that runs many: those that are taken; and the one that its worker was at when it died.
  [[nodiscard]] std::vector<Head> taken(SlotId slot) const;
  [[nodiscard]] std::optional<Fence> culprit(SlotId slot) const { return at(slot).culprit; }
  [[nodiscard]] std::optional<Notice> next_notice();
  [[nodiscard]] bool has_notices() const { return !notices_.empty(); }
  // The next report that this daemon has not read; null: none now.
  [[nodiscard]] const Report* read(SlotId slot);
  [[nodiscard]] std::uint64_t cursor(SlotId slot) const { return at(slot).read_until; }
  [[nodiscard]] bool is_released(SlotId slot) const { return at(slot).released == at(slot).read_until; }
  void release(SlotId slot, std::uint64_t cursor);
  // The next call that this daemon has not read.
  [[nodiscard]] std::optional<Call> next_call();
  [[nodiscard]] bool has_calls() const { return !calls_.empty(); }
  void answer(SlotId slot, const Fence& fence, std::uint64_t call, bool is_open, Instant now);
  void nudge(SlotId slot, const Fence& fence);

  // ---- The world's side. ----
  // A worker, or the spawner for it, gets a moment. True: something happened.
  bool step(SlotId slot, Instant now);
  // When step() of any slot will next do something by itself; never(): nothing is under way.
  [[nodiscard]] Instant next_step(Instant now) const;
  void crash();    // the whole machine, or the spawner: all workers and channels are gone
  void recover();  // no further faults; what hangs comes to an end
  [[nodiscard]] std::uint32_t slots() const { return static_cast<std::uint32_t>(slots_.size()); }
  [[nodiscard]] std::string instance() const { return "spawner-" + std::to_string(instance_); }
  [[nodiscard]] std::size_t crashes() const { return crashes_; }

 private:
  enum class State { kOffered, kTaken, kRevoked };
  struct Run {
    Fence fence;
    State state = State::kOffered;
    bool published = false;
    bool stop_asked = false;
    Instant taken_at;
    // The plan, drawn when it is taken.
    Instant ends_at;
    enum class End { kSucceed, kFail, kFailForGood, kCrash, kDieOfMemory, kWantMemory } end = End::kSucceed;
    bool deaf = false;
    bool beats = false;      // all the time
    bool ends_well = false;  // when it is stopped
    // It waits for these first. It asks, has asked, sleeps until it is nudged, and asks again.
    enum class Waiting { kNo, kToAsk, kAsked, kSleeps, kGivesUp } waiting = Waiting::kNo;
    std::vector<JobId> waits_for;
    Duration length{0};  // then
    std::uint64_t calls = 0;
    bool is_nudged = false;
    bool is_patient = true;
  };
  enum class Worker { kNone, kStarting, kAlive, kKilled, kDead };
  struct Slot {
    SlotId id;
    std::size_t runs_at_once = 1;
    std::optional<Fence> culprit;
    Worker worker = Worker::kNone;
    std::uint32_t generation = 0;
    bool start_wanted = false;
    bool end_told = true;                // to the daemon that is attached
    bool over_memory = false;            // how it died
    std::uint64_t memory_bytes_max = 0;  // of its worker; 0: its pool's
    std::uint64_t next_memory_bytes_max = 0;
    std::deque<Run> ring;
    std::deque<Report> reports;    // not released
    std::uint64_t released = 0;    // reports before it are gone
    std::uint64_t read_until = 0;  // of the daemon that is attached
  };

  [[nodiscard]] Slot& at(SlotId slot) { return slots_[slot.value - 1]; }
  [[nodiscard]] const Slot& at(SlotId slot) const { return slots_[slot.value - 1]; }
  [[nodiscard]] Run* find(SlotId slot, const Fence& fence);
  [[nodiscard]] bool asks(Slot& slot, Run& run);
  [[nodiscard]] Run* next_of(Slot& slot, Instant now);
  void take(Slot& slot, Run& run, Instant now);
  void finish(Slot& slot, Run& run, Instant now);
  void die(Slot& slot, bool over_memory = false);
  void start_if_due(Slot& slot);

  std::vector<Slot> slots_;
  std::deque<Notice> notices_;
  std::deque<Call> calls_;
  WorkerFaults faults_;
  bool recovering_ = false;
  std::uint64_t instance_ = 1;
  std::size_t crashes_ = 0;
  Random& random_;
  Oracle& oracle_;
};

}  // namespace futured::simulation
