// Progress: a bar on standard error, redrawn in place.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "futured/client.h"

namespace futured::cli {

class Progress {
 public:
  // Without `shown` it costs nothing. `total` 0: not known until all_submitted().
  Progress(bool shown, std::uint64_t total) : shown_(shown), total_(total), counts_(std::make_shared<Counts>()) {}

  // From the submitting thread.
  void submitted(const client::Future& future);
  void all_submitted();

  // From the printing thread: waits for the end, redrawing.
  void wait_for(const client::Future& future);
  // Makes room for a line of output.
  void clear();
  // A line of its own on standard error. From any thread.
  void tell(const std::string& message);

 private:
  void draw();
  void clear_locked();

  struct Counts {
    std::atomic<std::uint64_t> submitted{0};
    std::atomic<std::uint64_t> ended{0};
    std::atomic<bool> all_submitted{false};
  };
  const bool shown_;
  const std::uint64_t total_;
  std::shared_ptr<Counts> counts_;  // callbacks outlive a map that was interrupted
  std::mutex mutex_;                // of what standard error shows; guards drawn_
  bool drawn_ = false;
};

}  // namespace futured::cli
