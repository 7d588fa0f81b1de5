// PrivateDaemon: a daemon of fut's own in a temporary folder, for a measurement; the user's own is left alone.
#pragma once

#include <sys/types.h>

#include <mutex>
#include <string>

#include "base/fd.h"

namespace futured::cli::cheatsheet {

// Safe from any thread, so that Ctrl-C can end it while another thread starts it. When fut itself is killed, the daemon
// ends with its spawner after a minute without work; the folder stays.
class PrivateDaemon {
 public:
  PrivateDaemon() = default;
  ~PrivateDaemon() { end(); }
  PrivateDaemon(const PrivateDaemon&) = delete;
  PrivateDaemon& operator=(const PrivateDaemon&) = delete;

  // Returns its address, once it answers. Throws client::Unavailable, also when it was ended before.
  [[nodiscard]] std::string start();
  // Ends daemon, spawner and workers, and removes the folder. Waits for a start that is under way. Says what is left.
  void end();

 private:
  std::mutex mutex_;  // guards what follows
  bool ended_ = false;
  std::string folder_;
  pid_t pid_ = 0;
  Fd daemon_;  // pidfds: a number may be another's by then
  Fd spawner_;
};

}  // namespace futured::cli::cheatsheet
