#include "base/own_groups.h"

#include <charconv>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

namespace futured {

namespace {

[[nodiscard]] std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = text.find(separator);
    if (end != 0) parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return parts;
}

// The kernel writes space, tab, line break and backslash of a path as three octal digits.
[[nodiscard]] std::string unescaped(std::string_view path) {
  std::string plain;
  for (std::size_t i = 0; i < path.size(); ++i) {
    unsigned code = 0;
    const char* const digits = path.data() + i + 1;
    if (path[i] == '\\' && i + 3 < path.size() && std::from_chars(digits, digits + 3, code, 8).ptr == digits + 3) {
      plain.push_back(static_cast<char>(code));
      i += 3;
    } else {
      plain.push_back(path[i]);
    }
  }
  return plain;
}

struct Mount {
  std::string root;  // which group is seen at `point`
  std::string point;
  std::string_view type;     // "cgroup", "cgroup2"
  std::string_view options;  // of the file system: names of the v1 controllers among them
};

// "36 35 98:0 ROOT POINT OPTIONS [TAG…] - TYPE SOURCE OPTIONS", as proc_pid_mountinfo(5) has it.
[[nodiscard]] std::optional<Mount> parse_mount(std::string_view line) {
  const std::size_t dash = line.find(" - ");
  if (dash == std::string_view::npos) return {};
  const auto before = split(line.substr(0, dash), ' ');
  const auto behind = split(line.substr(dash + 3), ' ');
  if (before.size() < 6 || behind.size() < 3) return {};
  return Mount{unescaped(before[3]), unescaped(before[4]), behind[0], behind[2]};
}

[[nodiscard]] bool has_option(std::string_view options, std::string_view wanted) {
  for (const std::string_view option : split(options, ',')) {
    if (option == wanted) return true;
  }
  return false;
}

// The group's path in its hierarchy, of a line "NUMBER:CONTROLLERS:PATH"; v2 has no controllers there.
[[nodiscard]] std::optional<std::string_view> group_in(std::string_view cgroup, std::string_view controller) {
  for (const std::string_view line : split(cgroup, '\n')) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string_view::npos || second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const bool found = controller.empty() ? line.starts_with("0::") : has_option(controllers, controller);
    if (found) return line.substr(second + 1);
  }
  return {};
}

// A mount may show a part of the hierarchy only; a group outside of it cannot be reached there.
[[nodiscard]] std::string folder_of(const Mount& mount, std::string_view group) {
  if (mount.root != "/") {
    if (!group.starts_with(mount.root)) return {};
    group.remove_prefix(mount.root.size());
    if (!group.empty() && group.front() != '/') return {};
  }
  if (group == "/.." || group.starts_with("/../")) return {};  // above the root of our cgroup namespace
  return group == "/" ? mount.point : mount.point + std::string(group);
}

}  // namespace

OwnGroups find_own_groups(std::string_view mountinfo, std::string_view cgroup) {
  OwnGroups own;
  const auto take = [&](const Mount& mount, std::string_view controller, std::string& folder) {
    const auto group = group_in(cgroup, controller);
    if (folder.empty() && group) folder = folder_of(mount, *group);
  };
  for (const std::string_view line : split(mountinfo, '\n')) {
    const auto mount = parse_mount(line);
    if (!mount) continue;
    if (mount->type == "cgroup2") take(*mount, "", own.unified);
    if (mount->type != "cgroup") continue;
    if (has_option(mount->options, "memory")) take(*mount, "memory", own.memory);
    if (has_option(mount->options, "pids")) take(*mount, "pids", own.pids);
  }
  return own;
}

OwnGroups find_own_groups() {
  return find_own_groups(read_text("/proc/self/mountinfo"), read_text("/proc/self/cgroup"));
}

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool has_word(std::string_view list, std::string_view word) {
  for (const std::string_view line : split(list, '\n')) {
    for (const std::string_view each : split(line, ' ')) {
      if (each == word) return true;
    }
  }
  return false;
}

std::uint64_t number_behind(std::string_view lines, std::string_view name) {
  for (const std::string_view line : split(lines, '\n')) {
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ' ') continue;
    std::uint64_t number = 0;
    const std::string_view digits = line.substr(name.size() + 1);
    (void)std::from_chars(digits.data(), digits.data() + digits.size(), number);
    return number;
  }
  return 0;
}

}  // namespace futured
