// TaskProgress: how far one task says it is: a line on standard error, redrawn in place. Nothing where that is no
// terminal.
#pragma once

#include "futured/client.h"

namespace futured::cli {

class TaskProgress {
 public:
  TaskProgress();
  ~TaskProgress() { clear(); }
  TaskProgress(const TaskProgress&) = delete;
  TaskProgress& operator=(const TaskProgress&) = delete;

  [[nodiscard]] bool is_shown() const { return shown_; }
  void draw(const client::ProgressReport& report);
  // Makes room for output.
  void clear();

 private:
  const bool shown_;
  bool drawn_ = false;
};

// "[#########.....................] 30 % reading", without the message's control characters.
[[nodiscard]] std::string progress_text(double fraction, const std::string& message);

}  // namespace futured::cli
