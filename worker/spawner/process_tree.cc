#include "worker/spawner/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <set>

#include "base/fd.h"

namespace futured::spawner {

namespace {

constexpr int kPassesMax = 200;  // looks at a tree that does not come to rest before it is killed as it is

[[nodiscard]] std::optional<std::string> read_file(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) return {};
  std::string text;
  char buffer[16 * 1024];
  for (;;) {
    const ssize_t got = ::read(file.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
  }
  return text;
}

[[nodiscard]] std::vector<pid_t> numbers_in_folder(const std::string& path) {
  std::vector<pid_t> numbers;
  DIR* folder = ::opendir(path.c_str());
  if (folder == nullptr) return numbers;
  while (const dirent* entry = ::readdir(folder)) {
    const pid_t number = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (number > 0) numbers.push_back(number);
  }
  ::closedir(folder);
  return numbers;
}

[[nodiscard]] std::string proc(pid_t pid, const char* name) { return "/proc/" + std::to_string(pid) + "/" + name; }

// Of any thread that lives: the first one has none any more once it has ended.
[[nodiscard]] std::string environment_of(pid_t pid, const ProcessStat& stat) {
  if (stat.state != 'Z') return read_file(proc(pid, "environ")).value_or("");
  for (const pid_t thread : threads_of(pid)) {
    auto text = read_file(proc(pid, "task/") + std::to_string(thread) + "/environ");
    if (text && !text->empty()) return std::move(*text);
  }
  return {};
}

// For kernels without /proc/PID/task/TID/children.
[[nodiscard]] std::vector<pid_t> children_by_scan(pid_t parent) {
  std::vector<pid_t> children;
  for (const pid_t pid : numbers_in_folder("/proc")) {
    if (const auto stat = read_stat(pid); stat && stat->parent == parent) children.push_back(pid);
  }
  return children;
}

// The processes met by one kill_trees, each held by a pidfd so that no signal goes astray.
class Herd {
 public:
  void add(pid_t pid) {
    if (pid <= 1 || pid == ::getpid() || !pids_.insert(pid).second) return;
    Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!pidfd.is_open()) return;
    const auto stat = read_stat(pid);
    if (!stat || is_dead(*stat)) return;
    signal(pidfd, SIGSTOP);
    members_.push_back({pid, std::move(pidfd)});
  }

  // True when a pass over all members' children found nobody new and everybody stopped.
  [[nodiscard]] bool is_at_rest() {
    const std::size_t before = members_.size();
    bool stopped = true;
    for (std::size_t i = 0; i < members_.size(); ++i) {
      const pid_t parent = members_[i].pid;
      const auto stat = read_stat(parent);
      stopped = stopped && (!stat || stat->state == 'T' || stat->state == 't' || stat->state == 'Z');
      for (const pid_t child : children_of(parent)) {
        const auto seen = read_stat(child);
        if (seen && pids_.contains(seen->parent)) add(child);
      }
    }
    return stopped && members_.size() == before;
  }

  std::size_t kill() {
    for (const Member& member : members_) signal(member.pidfd, SIGKILL);
    return members_.size();
  }

 private:
  struct Member {
    pid_t pid;
    Fd pidfd;
  };
  static void signal(const Fd& pidfd, int number) {
    (void)::syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0);
  }
  std::vector<Member> members_;
  std::set<pid_t> pids_;
};

}  // namespace

std::optional<ProcessStat> read_stat(pid_t pid) {
  const auto text = read_file(proc(pid, "stat"));
  if (!text) return {};
  const std::size_t name_end = text->rfind(')');  // the name may hold anything, parentheses and spaces included
  if (name_end == std::string::npos) return {};
  ProcessStat stat;
  int parent = 0;
  unsigned threads = 0;
  unsigned long long start_time = 0;
  const int fields = std::sscanf(text->c_str() + name_end + 1,
                                 " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %u %*d %llu",
                                 &stat.state, &parent, &threads, &start_time);
  if (fields != 4) return {};
  stat.parent = parent;
  stat.threads = threads;
  stat.start_time = start_time;
  return stat;
}

bool is_dead(const ProcessStat& stat) { return stat.state == 'X' || (stat.state == 'Z' && stat.threads <= 1); }

std::vector<pid_t> threads_of(pid_t pid) { return numbers_in_folder(proc(pid, "task")); }

std::vector<pid_t> children_of(pid_t pid) {
  static const bool has_lists = ::access("/proc/thread-self/children", F_OK) == 0;
  if (!has_lists) return children_by_scan(pid);
  std::vector<pid_t> children;
  for (const pid_t thread : numbers_in_folder(proc(pid, "task"))) {
    const auto list = read_file(proc(pid, "task/") + std::to_string(thread) + "/children");
    if (!list) continue;
    const char* at = list->data();
    const char* end = at + list->size();
    while (at < end) {
      pid_t child = 0;
      const auto parsed = std::from_chars(at, end, child);
      if (parsed.ec != std::errc()) break;
      children.push_back(child);
      at = std::find_if(parsed.ptr, end, [](char c) { return c != ' '; });
    }
  }
  return children;
}

std::size_t kill_trees(std::span<const pid_t> roots) {
  Herd herd;
  for (const pid_t root : roots) herd.add(root);
  for (int pass = 0; pass < kPassesMax && !herd.is_at_rest(); ++pass) ::sched_yield();
  return herd.kill();
}

void kill_headless(std::span<const pid_t> pids) {
  for (const pid_t pid : pids) {
    const Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    const auto stat = read_stat(pid);
    if (!pidfd.is_open() || !stat || stat->state != 'Z' || is_dead(*stat)) continue;
    (void)::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
  }
}

std::vector<pid_t> find_by_environment(const std::string& entry) {
  std::set<pid_t> own;
  for (pid_t pid = ::getpid(); pid > 1;) {
    own.insert(pid);
    const auto stat = read_stat(pid);
    pid = stat ? stat->parent : 0;
  }
  std::string with_end = entry;
  with_end.push_back('\0');
  std::vector<pid_t> found;
  for (const pid_t pid : numbers_in_folder("/proc")) {
    if (own.contains(pid)) continue;
    const auto stat = read_stat(pid);
    if (!stat || is_dead(*stat)) continue;
    const std::string environment = environment_of(pid, *stat);
    const std::size_t at = environment.find(with_end);
    if (at == std::string::npos || (at > 0 && environment[at - 1] != '\0')) continue;
    found.push_back(pid);
  }
  return found;
}

}  // namespace futured::spawner
