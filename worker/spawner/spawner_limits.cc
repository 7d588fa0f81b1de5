// What a worker and all that it starts may use: kept by control groups, and by looking where there is none.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <string>

#include "base/out_of_memory.h"
#include "worker/spawner/spawner.h"
#include "worker/spawner/tree_usage.h"

namespace futured::spawner {

namespace {

constexpr Duration kSampleEvery = std::chrono::milliseconds(kSampleEveryMs);

[[nodiscard]] bool samples_memory(const SlotState& slot) {
  return slot.limits.memory_bytes_max != 0 && !slot.confined.memory;
}

[[nodiscard]] bool samples_processes(const SlotState& slot) {
  return slot.limits.processes_max != 0 && !slot.confined.processes;
}

[[nodiscard]] bool is_sampled(const SlotState& slot) {
  const bool lives = slot.state == SlotState::State::kRunning || slot.state == SlotState::State::kTerming;
  return lives && !slot.exited && (samples_memory(slot) || samples_processes(slot));
}

[[nodiscard]] std::string how_it_was_seen() {
  return " (sampled every " + std::to_string(kSampleEveryMs) + " ms: no control group could keep the limit)";
}

[[nodiscard]] std::string memory_limit_of(const SlotState& slot) {
  return (slot.own_memory_bytes_max != 0 ? "the raised limit of this attempt, " : "the memory_max of its pool, ") +
         std::to_string(slot.limits.memory_bytes_max) + " bytes";
}

// By a SIGKILL, as far as is known.
[[nodiscard]] bool was_killed(const SlotState& slot) {
  return slot.wait_status == -1 || (WIFSIGNALED(slot.wait_status) && WTERMSIG(slot.wait_status) == SIGKILL);
}

}  // namespace

void Spawner::confine(SlotState& slot, const WorkerLimits& limits) {
  slot.limits = limits;
  slot.confined = groups_.confine(group_of(slot), slot.pid, limits);
  slot.memory_before = groups_.memory_events(group_of(slot), limits.memory_bytes_max);
  slot.kills_around_before = memory_kills(kills_around_);
  if (samples_memory(slot) || samples_processes(slot)) {
    sample_at_ = std::min(sample_at_, monotonic_now() + kSampleEvery);
  }
}

// The one poll of this program: no event tells what a tree uses. It ends with the last worker that needs it.
void Spawner::sample(Instant now) {
  bool again = false;
  for (auto& [id, slot] : slots_) {
    if (!is_sampled(slot)) continue;
    sample(slot);
    again = again || is_sampled(slot);
  }
  // From the end of this look: one that takes long must not take all of our time.
  sample_at_ = again ? std::max(now, monotonic_now()) + kSampleEvery : Instant::never();
}

void Spawner::sample(SlotState& slot) {
  const WorkerLimits kept{samples_memory(slot) ? slot.limits.memory_bytes_max : 0,
                          samples_processes(slot) ? slot.limits.processes_max : 0};
  const TreeUsage used = usage_of_tree(slot.pid, kept);
  if (kept.processes_max != 0 && used.threads > kept.processes_max) {
    slot.over = Limit::kProcesses;
    slot.over_what = "killed with " + std::to_string(used.threads) +
                     " or more processes and threads, over the processes_max of its pool, " +
                     std::to_string(kept.processes_max) + how_it_was_seen();
  } else if (kept.memory_bytes_max != 0 && used.memory_bytes > kept.memory_bytes_max) {
    slot.over = Limit::kMemory;
    slot.over_what = "killed with " + std::to_string(used.memory_bytes) + " bytes or more in memory, over " +
                     memory_limit_of(slot) + how_it_was_seen();
  } else {
    return;
  }
  begin_kill(slot);
}

// A kill inside the group is its worker's end only if that was killed: v1 ends one process of a tree that is over its
// limit, and if that is a command, its worker tells of it and goes on. The machine may have been out of memory as well:
// only a group that was at its own limit is told to have been over it.
void Spawner::judge_memory(SlotState& slot, WorkerEnded& message) const {
  OutOfMemory out = slot.over == Limit::kMemory ? OutOfMemory::kYes : OutOfMemory::kNo;
  if (was_killed(slot) && !slot.kill_asked && slot.over == Limit::kNone) {
    const MemoryEvents now = groups_.memory_events(group_of(slot), slot.limits.memory_bytes_max);
    if (now.kills > slot.memory_before.kills) {
      out = OutOfMemory::kYes;
      if (now.at_max > slot.memory_before.at_max) {
        slot.over = Limit::kMemory;
        slot.over_what = "killed by the kernel, over " + memory_limit_of(slot) + " (counted by its control group)";
      }
    } else if (slot.wait_status != -1 && !slot.confined.memory &&
               memory_kills(kills_around_) > slot.kills_around_before) {
      out = OutOfMemory::kLikely;
    }
  }
  message.out_of_memory = static_cast<std::uint32_t>(out);
}

}  // namespace futured::spawner
