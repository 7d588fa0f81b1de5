#include "client/cli/task_progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>

#include "client/cli/text.h"

namespace futured::cli {

namespace {

constexpr std::size_t kBarWidth = 30;
constexpr std::size_t kMessageBytesMax = 40;  // one line, whatever the terminal's width

}  // namespace

std::string progress_text(double fraction, const std::string& message) {
  const double shown = std::clamp(fraction, 0.0, 1.0);
  const auto filled = static_cast<std::size_t>(shown * kBarWidth);
  std::string text = "[" + std::string(filled, '#') + std::string(kBarWidth - filled, '.') + "] " +
                     std::to_string(static_cast<int>(shown * 100)) + " %";
  std::string note = message.substr(0, kMessageBytesMax);
  std::erase_if(note, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  if (!note.empty()) text += " " + note;
  return text;
}

TaskProgress::TaskProgress() : shown_(::isatty(STDERR_FILENO) != 0) {}

void TaskProgress::draw(const client::ProgressReport& report) {
  progress_ = progress_text(report.fraction, report.message);
  draw();
}

void TaskProgress::draw(const client::Heartbeat& heartbeat) {
  alive_ = "alive at " + clock_text(heartbeat.alive_us);
  draw();
}

void TaskProgress::draw() {
  if (!shown_ || is_line_open_) return;
  const char* const between = progress_.empty() || alive_.empty() ? "" : "  ";
  std::fputs(("\r" + progress_ + between + alive_ + "\x1b[K").c_str(), stderr);
  std::fflush(stderr);
  drawn_ = true;
}

void TaskProgress::make_room_for(std::string_view output) {
  clear();
  if (!output.empty()) is_line_open_ = output.back() != '\n';
}

void TaskProgress::clear() {
  if (!drawn_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace futured::cli
