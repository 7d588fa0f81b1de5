#include "worker/spawner/journal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/time.h"
#include "worker/spawner/cgroup.h"
#include "worker/spawner/process_tree.h"

namespace futured::spawner {

namespace {

constexpr std::size_t kCompactBytes = 256 * 1024;
constexpr std::string_view kGroup = "group ";

struct Leftovers {
  std::uint64_t instance = 0;
  std::vector<std::string> groups;
  std::vector<JournalEntry> entries;
};

// "instance HEX", a "group PATH" line for each hierarchy, then "PID START" lines. A line cut by a crash names a process
// that never got to run.
[[nodiscard]] Leftovers read_journal(const std::string& path) {
  Leftovers left;
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return left;
  std::istringstream head(line);
  std::string word;
  head >> word >> std::hex >> left.instance;
  while (std::getline(file, line)) {
    if (file.eof()) break;
    if (line.starts_with(kGroup)) {
      left.groups.push_back(line.substr(kGroup.size()));
      continue;
    }
    JournalEntry entry;
    if (std::istringstream(line) >> entry.pid >> entry.start_time) left.entries.push_back(entry);
  }
  return left;
}

[[nodiscard]] std::vector<pid_t> living(const Leftovers& left) {
  std::vector<pid_t> pids;
  for (const JournalEntry& entry : left.entries) {
    const auto stat = read_stat(entry.pid);
    if (stat && stat->start_time == entry.start_time && !is_dead(*stat)) pids.push_back(entry.pid);
  }
  if (left.instance != 0) {
    for (const pid_t pid : find_by_environment(instance_entry(left.instance))) pids.push_back(pid);
  }
  return pids;
}

// Until one of them is dead, at most a moment: its zombie may be somebody else's to reap, and then no event comes.
void wait_for_a_death(const std::vector<pid_t>& pids) {
  std::vector<Fd> held;
  std::vector<pollfd> waits;
  for (const pid_t pid : pids) {
    held.emplace_back(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (held.back().is_open()) waits.push_back({held.back().get(), POLLIN, 0});
  }
  (void)::poll(waits.data(), waits.size(), 10);
}

}  // namespace

std::string instance_entry(std::uint64_t instance) {
  char text[64];
  std::snprintf(text, sizeof text, "FUTURED_INSTANCE=%016llx", static_cast<unsigned long long>(instance));
  return text;
}

Status Journal::kill_leftovers(const std::string& path) {
  Leftovers left = read_journal(path);
  const Instant until = monotonic_now() + std::chrono::milliseconds(kLeftoverMs);
  for (;;) {
    std::erase_if(left.groups,
                  [&](const std::string& group) { return CgroupTree::remove_leftover(group, left.instance); });
    const std::vector<pid_t> pids = living(left);
    if (left.groups.empty() && pids.empty()) return {};
    if (monotonic_now() > until) {
      return Error{
          ErrorCode::kFailedPrecondition,
          "processes of an earlier spawner do not die" +
              (pids.empty() ? ": cgroup " + left.groups.front() : ", such as pid " + std::to_string(pids.front()))};
    }
    (void)kill_trees(pids);
    wait_for_a_death(pids);
  }
}

Result<Journal> Journal::create(const std::string& path, std::uint64_t instance,
                                const std::vector<std::string>& groups) {
  Journal journal;
  journal.path_ = path;
  char head[64];
  std::snprintf(head, sizeof head, "instance %016llx\n", static_cast<unsigned long long>(instance));
  journal.head_ = head;
  for (const std::string& group : groups) journal.head_.append(kGroup).append(group) += '\n';
  const std::string fresh = path + ".new";
  journal.file_ = Fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  if (!journal.file_.is_open()) return system_error("open " + fresh);
  const auto size = static_cast<ssize_t>(journal.head_.size());
  if (::write(journal.file_.get(), journal.head_.data(), journal.head_.size()) != size) {
    return system_error("write " + fresh);
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0) return system_error("rename " + fresh);
  journal.bytes_ = journal.head_.size();
  return journal;
}

Status Journal::add(const JournalEntry& entry) {
  const std::string line = std::to_string(entry.pid) + " " + std::to_string(entry.start_time) + "\n";
  if (::write(file_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    return system_error("write " + path_);
  }
  bytes_ += line.size();
  return {};
}

void Journal::compact(const std::vector<JournalEntry>& living) {
  if (bytes_ < kCompactBytes) return;
  const std::string fresh = path_ + ".new";
  Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  if (!file.is_open()) return;  // the long one is still right
  std::string text = head_;
  for (const JournalEntry& entry : living) {
    text += std::to_string(entry.pid) + " " + std::to_string(entry.start_time) + "\n";
  }
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return;
  if (::rename(fresh.c_str(), path_.c_str()) != 0) return;
  file_ = std::move(file);
  bytes_ = text.size();
}

void Journal::remove() { ::unlink(path_.c_str()); }

}  // namespace futured::spawner
