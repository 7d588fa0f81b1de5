// Outputs: what running jobs have written so far, and how far they say they are, for those who follow it live.
//
// A convenience, not the record: the whole output comes with the job's end. What does not fit is dropped from the
// front, and a follower sees that as a gap, which the worker's own file may fill before.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/loop/sinks.h"

namespace futured {

// The loop's thread only.
class Outputs {
 public:
  void add(const OutputChunk& chunk);
  void progress(const JobProgress& progress);
  void alive(const Fence& fence, WallTime at);
  // What the task of a running job said last; empty views of nothing when it said nothing. Valid until the next change.
  [[nodiscard]] JobProgress progress_of(JobId job) const;
  // What is kept of an attempt's output, as the parts of a result: for one whose worker cannot report any more.
  [[nodiscard]] std::string salvaged(const Fence& fence) const;
  // Gives `sink` what is kept of the job's output, and then what follows.
  void follow(JobId job, const std::shared_ptr<OutputSink>& sink);
  void forget(JobId job, const OutputSink* sink);
  // The ends in `batch` are on disk.
  void publish(const Batch& batch);

 private:
  struct Stream {
    std::uint64_t begin = 0;  // offset of the first byte kept
    std::string kept;
  };
  struct Running {
    Fence fence;
    SpoolUser spool_user;
    std::map<std::uint32_t, Stream> streams;
    std::uint64_t done = 0;
    std::uint64_t total = 0;
    std::string message;  // of its progress

    [[nodiscard]] JobProgress progress() const { return {fence, done, total, message}; }
    [[nodiscard]] bool has_progress() const { return total != 0 || !message.empty(); }
  };

  Running& running(const Fence& fence);
  void end(JobId job);

  std::unordered_map<JobId, Running> running_;
  std::unordered_map<JobId, std::vector<std::shared_ptr<OutputSink>>> followers_;
  std::size_t kept_bytes_ = 0;
};

}  // namespace futured
