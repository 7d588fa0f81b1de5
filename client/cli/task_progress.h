// TaskProgress: how far one task says it is, and when it was alive: a line on standard error, redrawn in place. Nothing
// where that is no terminal.
#pragma once

#include <string>
#include <string_view>

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
  void draw(const client::Heartbeat& heartbeat);
  // Makes room for output. While its last line is unfinished nothing is drawn, as that would wipe it.
  void make_room_for(std::string_view output);
  void clear();

 private:
  void draw();

  const bool shown_;
  std::string progress_;
  std::string alive_;
  bool drawn_ = false;
  bool is_line_open_ = false;  // the output's
};

// "[#########.....................] 30 % reading", without the message's control characters.
[[nodiscard]] std::string progress_text(double fraction, const std::string& message);

}  // namespace futured::cli
