#include "worker/spawner/tree_usage.h"

#include <charconv>
#include <set>
#include <string>
#include <vector>

#include "base/own_groups.h"
#include "worker/spawner/process_tree.h"

namespace futured::spawner {

namespace {

constexpr std::size_t kProcessesMax = 32'768;  // looked at in one tree

// Of a line "NAME:   NUMBER [kB]".
[[nodiscard]] std::optional<std::uint64_t> field(std::string_view text, std::string_view name) {
  for (std::size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    const std::size_t end = at + name.size();
    const bool is_whole = (at == 0 || text[at - 1] == '\n') && end < text.size() && text[end] == ':';
    if (!is_whole) continue;
    const std::size_t digit = text.find_first_not_of(" \t", end + 1);
    std::uint64_t number = 0;
    if (digit == std::string_view::npos) return {};
    const auto parsed = std::from_chars(text.data() + digit, text.data() + text.size(), number);
    if (parsed.ec != std::errc()) return {};
    return number;
  }
  return {};
}

[[nodiscard]] std::string in_proc(pid_t pid, const char* file) {
  return read_text("/proc/" + std::to_string(pid) + "/" + file);
}

[[nodiscard]] bool is_over(std::uint64_t used, std::uint64_t most) { return most != 0 && used > most; }

struct Member {
  pid_t pid;  // or another thread of it
  ProcessUsage usage;
};

// A first thread that has ended tells nothing of the memory that the others go on with.
[[nodiscard]] Member look_at(pid_t pid) {
  const ProcessUsage usage = parse_status(in_proc(pid, "status"));
  if (usage.memory_bytes != 0 || usage.threads <= 1) return {pid, usage};
  for (const pid_t thread : threads_of(pid)) {
    const ProcessUsage seen = parse_status(in_proc(thread, "status"));
    if (seen.memory_bytes != 0) return {thread, seen};
  }
  return {pid, usage};
}

// The share of a page is not known before all who have it are; what a process has in full is. So the cheap figure tells
// of most trees that they are within their limit, and only of the others each process is asked.
[[nodiscard]] std::uint64_t shares_of(const std::vector<Member>& members, std::uint64_t bytes_max) {
  std::uint64_t bytes = 0;
  for (const Member& member : members) {
    bytes += parse_rollup(in_proc(member.pid, "smaps_rollup")).value_or(member.usage.memory_bytes);
    if (is_over(bytes, bytes_max)) break;
  }
  return bytes;
}

}  // namespace

ProcessUsage parse_status(std::string_view status) {
  const std::uint64_t kib = field(status, "VmRSS").value_or(0) + field(status, "VmSwap").value_or(0);
  return {kib * 1024, static_cast<std::uint32_t>(field(status, "Threads").value_or(0))};
}

std::optional<std::uint64_t> parse_rollup(std::string_view rollup) {
  const auto kib = field(rollup, "Pss");
  if (!kib) return {};
  return (*kib + field(rollup, "SwapPss").value_or(0)) * 1024;
}

TreeUsage usage_of_tree(pid_t root, const WorkerLimits& limits) {
  TreeUsage tree;
  std::vector<Member> members;
  std::vector<pid_t> waiting{root};
  std::set<pid_t> met{root};  // one that changes its parent meanwhile is met again
  while (!waiting.empty() && members.size() < kProcessesMax && !is_over(tree.threads, limits.processes_max)) {
    const pid_t pid = waiting.back();
    waiting.pop_back();
    const Member member = look_at(pid);
    if (member.usage.threads == 0) continue;  // gone
    members.push_back(member);
    tree.memory_bytes += member.usage.memory_bytes;
    tree.threads += member.usage.threads;
    for (const pid_t child : children_of(pid)) {
      if (met.insert(child).second) waiting.push_back(child);
    }
  }
  if (is_over(tree.memory_bytes, limits.memory_bytes_max)) {
    tree.memory_bytes = shares_of(members, limits.memory_bytes_max);
  }
  return tree;
}

}  // namespace futured::spawner
