// Schedules: what fires when, and what is kept of it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "daemon/core/cron.h"
#include "daemon/core/types.h"
#include "daemon/core/zone.h"

namespace futured {

// What becomes of firings that were missed. Values are stored.
enum class CatchUp : std::uint8_t {
  kSkip = 0,  // nothing
  kOne = 1,   // the newest one is made up for
  kAll = 2,   // all of them, up to catch_up_max, the newest ones
};

// What becomes of a firing while the job of the last one has not ended. Values are stored.
enum class Overlap : std::uint8_t {
  kAllow = 0,    // it is made all the same
  kSkip = 1,     // it is dropped
  kQueue = 2,    // it waits for that job's end
  kReplace = 3,  // that job is cancelled, and this one is made when it has ended
};

// A schedule as it is stored, replaced by name. Every firing up to `seen_at` was decided: made, dropped, or `waiting`.
// So a commit that holds this row and a firing's job makes that job exactly once.
struct ScheduleRow {
  std::string name;
  std::uint32_t owner = 0;  // uid of who put it; its jobs are theirs
  std::string cron;         // empty: every
  Duration every{0};        // from `anchor` on
  std::string zone;         // IANA name; empty: UTC
  CatchUp catch_up = CatchUp::kSkip;
  std::uint32_t catch_up_max = 0;
  Overlap overlap = Overlap::kAllow;
  Duration jitter{0};  // it fires up to so long after its time; by how much, name and time decide
  bool paused = false;
  SpecId spec;
  std::string payload;  // encoded parts
  WallTime anchor;
  WallTime seen_at;
  WallTime last_at;               // of the last job that was made; 0: none yet
  JobId last_job;                 // that job
  std::vector<WallTime> waiting;  // ascending
  bool is_removed = false;        // of a change: the schedule goes

  bool operator==(const ScheduleRow&) const = default;
};

struct StoredSchedule {
  ScheduleRow row;
  bool last_is_open = false;  // last_job has not ended
};

// When a schedule fires.
class Timing {
 public:
  // `zone` is that of the row.
  [[nodiscard]] static Result<Timing> of(const ScheduleRow& row, std::shared_ptr<const Zone> zone);

  // The first time after `after`; nothing: there is none.
  [[nodiscard]] std::optional<WallTime> next(WallTime after) const;
  // The newest in (after, until]; nothing: there is none.
  [[nodiscard]] std::optional<WallTime> newest(WallTime after, WallTime until) const;
  // So many of the newest in (after, until], ascending.
  [[nodiscard]] std::vector<WallTime> newest(WallTime after, WallTime until, std::size_t count_max) const;

 private:
  std::optional<Cron> cron_;
  std::shared_ptr<const Zone> zone_;
  Duration every_{0};
  WallTime anchor_;
};

// When the firing of that time is made: at it, or up to the jitter later.
[[nodiscard]] WallTime due_at(const ScheduleRow& row, WallTime firing);

}  // namespace futured
