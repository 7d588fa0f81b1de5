// TaskStreams: what a task writes beside its result: the chunks that it emits, and its log. Sent to the daemon as it
// comes, and kept for the report.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "futured/context.h"
#include "worker/channel/worker_end.h"
#include "worker/runtime/output_capture.h"

namespace futured::runtime {

// Any thread of the task. Costs nothing until something is written. `end` and `run` outlive it.
class TaskStreams {
 public:
  TaskStreams(channel::WorkerEnd& end, const channel::Run& run, const std::string& spool_directory)
      : end_(end), run_(run), spool_directory_(spool_directory) {}

  // Waits while the daemon has no room, and counts as alive meanwhile. Throws Stopped when a stop comes while it waits.
  void emit(std::string_view bytes);
  // From now on emit() keeps what the daemon has no room for, and who follows the job misses that much.
  void never_wait() { waits_ = false; }
  // One line: time, level, message. Never waits: what the daemon has no room for now is told with the report.
  void log(LogLevel level, std::string_view message);

  // After the task: adds what was kept to its encoded result. Costs an fdatasync for each that is long.
  void append_to(std::string& encoded);
  // A file is open for what was too long for memory.
  [[nodiscard]] bool has_file() const;

 private:
  struct Stream {
    std::uint32_t number;
    std::optional<OutputCapture> capture;
  };

  OutputCapture& capture_of(Stream& stream, std::string_view name);

  channel::WorkerEnd& end_;
  const channel::Run& run_;
  const std::string& spool_directory_;
  bool waits_ = true;
  std::mutex mutex_;  // chunks of several threads follow one another whole
  Stream chunks_{3, {}};
  Stream log_{4, {}};
};

}  // namespace futured::runtime
