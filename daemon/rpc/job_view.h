// JobView: a job as people see it: what the store says, and what only the loop knows.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/rpc/front.h"

namespace futured::rpc {

// An attempt that was asked to stop, and runs.
struct StopView {
  CauseKind why = CauseKind::kNone;
  WallTime since;
  WallTime kill_at;
  bool is_killed = false;  // it was, and something of it is left
  std::string reason;      // of a cancel
};

struct LiveView {
  JobState state = JobState::kQueued;
  WallTime taken_at;  // kRunning
  WallTime alive_at;  // kRunning: its last sign of life; 0: not told
  std::uint32_t attempt = 0;
  Epoch epoch;
  std::int32_t worker_pid = 0;
  std::uint64_t memory_bytes_max = 0;  // of that worker; 0: no limit
  std::string worker;                  // pool and slot, "default/3"
  double progress = 0;                 // kRunning: as its task says
  std::string progress_message;
  std::optional<StopView> stop;  // kRunning
  std::vector<JobId> waits_for;  // kRunning: by its task
};

struct JobView {
  JobRecord record;
  std::string pool;
  std::optional<LiveView> live;  // of a job that has not ended
  bool is_delayed = false;       // it waits on disk for its time

  [[nodiscard]] JobState state() const {
    if (is_terminal(record.ending.state)) return record.ending.state;
    if (live) return live->state;
    return is_delayed ? JobState::kScheduled : JobState::kQueued;
  }
};

void to_api(const JobView& view, bool details, api::Job& out);

// The name of a user, or nothing. Asks the system once for each.
class UserNames {
 public:
  const std::string& of(std::uint32_t uid);

 private:
  std::map<std::uint32_t, std::string> names_;
};

// Adds what the loop knows, and calls back on the reader's thread. A job that the loop does not know any more has ended
// meanwhile: how is read again. `done` may be called at once when the reader has no room, with an error.
using ViewsReady = std::function<void(Result<std::vector<JobView>>)>;
void add_live(Front& front, std::vector<JobRecord> records, ViewsReady done);

// The pool that such a job goes to. Within Loop::look.
[[nodiscard]] std::string pool_of(const Front& front, const Loop& loop, const JobSpec& spec);
[[nodiscard]] std::string worker_name(const Loop& loop, SlotId slot);

}  // namespace futured::rpc
