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

namespace futured::runtime {

namespace {

// No allocation and no stdio below: this also runs in a signal handler.

struct Pid {
  pid_t value = 0;
  bool found = false;
};

Pid take_number(std::string_view& text) {
  while (!text.empty() && (text.front() < '0' || text.front() > '9')) text.remove_prefix(1);
  Pid pid;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    pid.value = pid.value * 10 + (text.front() - '0');
    pid.found = true;
    text.remove_prefix(1);
  }
  return pid;
}

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
  for (Pid pid = take_number(text); pid.found; pid = take_number(text)) kill(pid.value, SIGKILL);
  return true;
}

// "/proc/self/task/<name><suffix>" without stdio.
struct Path {
  explicit Path(const char* directory, const char* name, const char* suffix) {
    for (const char* piece : {directory, name, suffix}) {
      const std::size_t length = std::min(std::strlen(piece), sizeof text - 1 - size);
      std::memcpy(text + size, piece, length);
      size += length;
    }
    text[size] = '\0';
  }
  char text[128] = {};
  std::size_t size = 0;
};

template <typename Visit>
void for_each_number_in(const char* directory, Visit visit) {
  const int handle = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle < 0) return;
  alignas(8) char buffer[4096];
  for (;;) {
    const long size = syscall(SYS_getdents64, handle, buffer, sizeof buffer);
    if (size <= 0) break;
    for (long at = 0; at < size;) {
      unsigned short length;
      std::memcpy(&length, buffer + at + 16, sizeof length);
      const char* name = buffer + at + 19;  // after inode, offset, length and type of a linux_dirent64
      if (name[0] >= '0' && name[0] <= '9') visit(name);
      at += length;
    }
  }
  close(handle);
}

pid_t parent_of(const char* pid) {
  const int file = open(Path("/proc/", pid, "/stat").text, O_RDONLY | O_CLOEXEC);
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
    listed = kill_listed(Path("/proc/self/task/", thread, "/children").text) || listed;
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
