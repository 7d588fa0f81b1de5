// What the loop tells its callers. All are called on the loop's thread and must return at once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/spool_file.h"
#include "daemon/core/effects.h"
#include "daemon/core/rows.h"

namespace futured {

struct EndedJob {
  JobId id;
  const Ending* ending = nullptr;  // lives as long as the batch it lies in
};

// Half-open range of ids.
struct JobRange {
  std::uint64_t first = 0;
  std::uint64_t end = 0;

  [[nodiscard]] bool contains(JobId id) const { return id.value >= first && id.value < end; }
  [[nodiscard]] std::uint64_t size() const { return end - first; }
};

// Takes the ends of jobs that it watches, each once, after they are on disk.
class OutcomeSink {
 public:
  virtual ~OutcomeSink() = default;
  virtual void ended(const std::shared_ptr<const Batch>& batch, std::vector<EndedJob> jobs) = 0;
  // These jobs were made of a submit of this sink, and are on disk. Before the submit is answered.
  virtual void accepted(JobRange) {}
  // A submit of this sink was answered with kPause, and there is room again.
  virtual void resume() {}
};

struct Accepted {
  JobId first;  // of the jobs that were made; their ids are consecutive
  std::uint32_t count = 0;
  // Only when an idempotency key had made some of the batch's jobs before:
  std::vector<JobId> ids;                // of every item
  std::vector<std::uint32_t> old_items;  // ascending indices; nothing is told to the batch's sink of their jobs
};

using SubmitReply = std::function<void(const Result<Accepted>&)>;
using CancelReply = std::function<void(const Result<JobState>&)>;
using RegisterReply = std::function<void(const Result<CallbackId>&)>;
using ReplayReply = std::function<void(std::uint64_t)>;
using QueueReply = std::function<void(const Result<QueueRow>&)>;
using ScheduleReply = std::function<void(const Result<ScheduleRow>&)>;
using PurgeReply = std::function<void(const Result<std::uint64_t>&)>;  // how many were cancelled
using MoveReply = std::function<void(const Result<effect::Moved>&)>;
using DeleteReply = std::function<void(const Status&)>;
using SemaphoreReply = std::function<void(const Status&)>;
using ClearReply = std::function<void(std::uint64_t)>;  // how many entries were removed
using EventReply = std::function<void(const Status&)>;

// Output of a running job, as it comes.
struct OutputChunk {
  Fence fence;
  std::uint32_t stream = 0;  // 1 stdout, 2 stderr, 3 chunks of a task, 4 its log
  std::uint64_t offset = 0;
  std::string_view data;      // valid for the call
  SpoolUser spool_user = {};  // who writes the attempt's spool files
};

// How far a running job is, as its task says. Of the worker: neither number nor text is to be trusted.
struct JobProgress {
  Fence fence;
  std::uint64_t done = 0;
  std::uint64_t total = 0;  // 0: not known
  std::string_view message;

  [[nodiscard]] double fraction() const {
    return total == 0 ? 0 : static_cast<double>(std::min(done, total)) / static_cast<double>(total);
  }
};

class OutputSink {
 public:
  virtual ~OutputSink() = default;
  virtual void chunk(const OutputChunk& chunk) = 0;
  virtual void progress(const JobProgress&) {}
  // The attempt's last sign of life, when somebody has looked.
  virtual void alive(const Fence&, WallTime) {}
  // The job has ended, and that is on disk. Nothing follows.
  virtual void ended(JobId job) = 0;
};

}  // namespace futured
