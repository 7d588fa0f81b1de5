#include "worker/runtime/descendants.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "worker/runtime/proc_reader.h"

namespace futured::runtime {

namespace {

// No allocation and no stdio below: this also runs in a signal handler.

// Sends SIGKILL to the children that one file of the form "1 2 3 " names. A list longer than the buffer is killed in
// part; the caller comes again. False: there is no such file.
bool kill_listed(const char* path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  char buffer[4096];
  const ssize_t size = read(file, buffer, sizeof buffer);
  close(file);
  if (size <= 0) return true;
  std::string_view text(buffer, static_cast<std::size_t>(size));
  // The last number may be cut in two when the buffer is full.
  if (text.size() == sizeof buffer) text = text.substr(0, text.rfind(' ') + 1);
  for (ProcNumber pid = take_number(text); pid.found; pid = take_number(text)) kill(pid.value, SIGKILL);
  return true;
}

pid_t parent_of(const char* pid) {
  const int file = open(ProcPath("/proc/", pid, "/stat").text(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  char buffer[512];
  const ssize_t size = read(file, buffer, sizeof buffer);
  close(file);
  if (size <= 0) return 0;
  // "pid (name) state ppid": the name may hold anything, so from its last parenthesis on.
  std::string_view text(buffer, static_cast<std::size_t>(size));
  text.remove_prefix(std::min(text.size(), text.rfind(')') + 1));
  return take_number(text).value;
}

void kill_children() {
  bool listed = false;
  for_each_number_in("/proc/self/task", [&](const char* thread) {
    listed = kill_listed(ProcPath("/proc/self/task/", thread, "/children").text()) || listed;
  });
  if (listed) return;
  // A kernel without CONFIG_PROC_CHILDREN.
  const pid_t self = getpid();
  for_each_number_in("/proc", [&](const char* name) {
    if (parent_of(name) != self) return;
    std::string_view text(name);
    kill(take_number(text).value, SIGKILL);
  });
}

}  // namespace

void Usage::add(const rusage& one) {
  const auto ns = [](const timeval& time) {
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_usec) * 1000;
  };
  cpu_ns += ns(one.ru_utime) + ns(one.ru_stime);
  peak_rss_bytes = std::max(peak_rss_bytes, static_cast<std::uint64_t>(one.ru_maxrss) * 1024);
}

void end_descendants(Usage& usage) {
  rusage one{};
  for (;;) {
    const pid_t ended = wait4(-1, nullptr, WNOHANG | __WALL, &one);
    if (ended > 0) {
      usage.add(one);
    } else if (ended < 0 && errno != EINTR) {
      return;  // ECHILD
    } else if (ended == 0) {
      // Children that fork while we kill are caught in the next round: orphaned, they are ours.
      kill_children();
      if (wait4(-1, nullptr, __WALL, &one) > 0) usage.add(one);
    }
  }
}

}  // namespace futured::runtime
