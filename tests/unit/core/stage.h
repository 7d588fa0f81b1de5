// Stage: a scheduler on a bench. Steps events, moves the clock by hand and tells, line by line, everything that was
// sent, so that a test states what happened and that nothing else did.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

using Lines = std::vector<std::string>;

struct StageSetup {
  std::vector<PoolSetup> pools{{"default", false, 1}};
  std::vector<QueueSetup> queues;
  std::size_t window_bytes = 0;
  Snapshot snapshot{};
  LoadAnswer live{};
  bool workers_ready = true;
  std::map<std::string, std::shared_ptr<const Zone>> zones{};  // of the snapshot's schedules
  Moment now{{1'000'000'000}, {1'700'000'000'000'000}};
};

class Stage {
 public:
  explicit Stage(StageSetup setup = {});

  // One turn: the events, then TurnEnd, then the commit. Says what was sent.
  Lines turn(std::vector<Event> events = {});
  // Events that the loop steps without an end of turn: no work is handed out and nothing is committed.
  void step(const Event& event);
  // Ends the turn that step() began.
  Lines finish() { return turn({}); }
  // The clock moves, with a turn for every timer on the way.
  Lines pass(Duration time);

  // A batch of `count` jobs; its token is taken from the same sequence as every other.
  Event submit(const JobSpec& spec = work(), std::uint32_t count = 1, std::size_t payload_bytes = 8);
  Event cancel(std::uint64_t job, std::uint32_t uid = 1000);
  Event hurried_cancel(std::uint64_t job);  // that does not wait for the end
  Event done(std::uint64_t job, event::DoneStatus status = event::DoneStatus::kSucceeded, bool do_not_retry = false);
  Event failed(std::uint64_t job) { return done(job, event::DoneStatus::kFailed); }
  // A report of the worker about an attempt by its number, current or not.
  Event done_of(std::uint32_t slot, std::uint64_t job, std::uint32_t attempt);
  Event head(std::uint32_t slot, std::uint64_t job, Duration ago = Duration(0));
  Event nothing_taken(std::uint32_t slot) { return event::Head{SlotId{slot}, std::nullopt, Instant{}}; }
  Event revoked(std::uint64_t job, bool revoked);
  Event slot_ready(std::uint32_t slot, std::uint64_t memory_bytes_max = 0);
  // The task of the job's latest attempt tells how far it is.
  Event reports(std::uint64_t job, double fraction, std::string_view message);
  // The worker takes the job: from now on the stage answers for the slot's head until a report or the worker's end.
  void take(std::uint32_t slot, std::uint64_t job) { busy_[slot] = {job, now.at}; }
  // A sign of life of the job's attempt, as its channel tells whenever the scheduler asks.
  void beat(std::uint64_t job, Duration ahead = Duration(0)) { alive_[job] = now.at + ahead; }
  // The worker died; `taken`: the job it was in, 0 for none.
  Event slot_ended(std::uint32_t slot, std::uint64_t taken = 0);
  Event adopt(std::uint32_t slot, Fence fence, bool done = false);

  // A spec of the task "work" in the queue "default".
  static JobSpec work();
  static JobSpec in_queue(std::string queue);

  // Row changes since the last call, in words.
  Lines rows();
  // How the job ended; null if it has not.
  [[nodiscard]] const Ending* ending(std::uint64_t job) const;
  [[nodiscard]] Lines attempts(std::uint64_t job) const;

  std::unique_ptr<Scheduler> scheduler;
  Effects effects;
  Moment now{{1'000'000'000}, {1'700'000'000'000'000}};
  std::vector<Effects> history;  // of every turn
  std::vector<Claim> claims;     // asked and not yet taken by the test
  std::uint64_t token = 0;       // the last one given out
  int pulses = 0;                // asked for and answered

 private:
  [[nodiscard]] Fence fence_of(std::uint64_t job) const;

  Epoch epoch_;
  std::map<std::uint64_t, Fence> fences_;  // of each job's latest attempt
  std::vector<std::uint32_t> generations_;
  struct Busy {
    std::uint64_t job = 0;
    Instant since;
  };
  std::map<std::uint32_t, Busy> busy_;      // by slot
  std::map<std::uint64_t, Instant> alive_;  // by job
  std::size_t rows_told_ = 0;               // of history
  std::vector<std::unique_ptr<Cause>> causes_;
};

// What the effects ask of the world, rows apart.
[[nodiscard]] Lines told(const Effects& effects);
[[nodiscard]] Lines told(const Batch& rows);

}  // namespace futured
