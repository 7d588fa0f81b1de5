#include "client/cli/progress.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "client/cli/cli.h"

namespace futured::cli {

namespace {

constexpr client::Milliseconds kRedraw(100);
constexpr std::size_t kBarWidth = 30;

}  // namespace

void Progress::submitted(const client::Future& future) {
  if (!shown_) return;
  ++counts_->submitted;
  future.add_done_callback([counts = counts_](const client::Future&) { ++counts->ended; });
}

void Progress::all_submitted() { counts_->all_submitted = true; }

void Progress::wait_for(const client::Future& future) {
  if (!shown_) return;
  const client::Future futures[] = {future};
  while (client::wait(futures, client::WaitFor::kAllCompleted, kRedraw).done.empty()) draw();
}

void Progress::draw() {
  const std::uint64_t ended = counts_->ended;
  const std::uint64_t submitted = counts_->submitted;
  const std::uint64_t total = counts_->all_submitted ? submitted : std::max(total_, submitted);
  const bool known = counts_->all_submitted || total_ != 0;
  std::string line = "\r[";
  const std::size_t filled = total == 0 ? 0 : std::min<std::size_t>(kBarWidth, kBarWidth * ended / total);
  line.append(filled, '#').append(kBarWidth - filled, '.');
  line += "] " + std::to_string(ended) + "/" + std::to_string(total) + (known ? "" : "+") + "\x1b[K";
  const std::lock_guard guard(mutex_);
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
  drawn_ = true;
}

void Progress::clear() {
  const std::lock_guard guard(mutex_);
  clear_locked();
}

void Progress::tell(const std::string& message) {
  const std::lock_guard guard(mutex_);
  clear_locked();
  complain(message);
}

void Progress::clear_locked() {
  if (!drawn_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace futured::cli
