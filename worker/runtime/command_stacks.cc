#include "worker/runtime/command_stacks.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <vector>

#include "base/limits.h"
#include "worker/runtime/proc_reader.h"

namespace futured::runtime {

namespace {

// One file of /proc, without the newline at its end; or why it cannot be read.
std::string text_of(const std::string& path) {
  std::array<char, 4096> buffer{};
  errno = 0;
  const std::string_view text = read_proc(path.c_str(), buffer);
  if (text.empty() && errno != 0) return "not readable: " + std::string(std::strerror(errno));
  return std::string(text.substr(0, text.find_last_not_of('\n') + 1));
}

pid_t parent_of(const std::string& process) {
  const std::string stat = text_of("/proc/" + process + "/stat");
  // "pid (name) state ppid": the name may hold anything.
  std::string_view rest = stat;
  rest.remove_prefix(std::min(rest.size(), rest.rfind(')') + 1));
  return take_number(rest).value;
}

std::vector<std::string> descendants_of(pid_t root) {
  std::multimap<pid_t, std::string> children;
  for_each_number_in("/proc", [&](const char* name) { children.emplace(parent_of(name), name); });
  std::vector<std::string> found;
  std::vector<pid_t> open{root};
  while (!open.empty()) {
    const auto [from, to] = children.equal_range(open.back());
    open.pop_back();
    for (auto child = from; child != to; ++child) {
      found.push_back(child->second);
      open.push_back(static_cast<pid_t>(std::stol(child->second)));
    }
  }
  return found;
}

std::string indented(const std::string& text) {
  std::string lines = "      ";
  for (const char c : text) lines += c == '\n' ? std::string("\n      ") : std::string(1, c);
  return lines + "\n";
}

void add_process(const std::string& process, std::string& text) {
  std::string words = text_of("/proc/" + process + "/cmdline");
  for (char& c : words) {
    if (c == '\0') c = ' ';
  }
  text += "process " + process + " " + words + "\n";
  const std::string threads = "/proc/" + process + "/task";
  for_each_number_in(threads.c_str(), [&](const char* thread) {
    const std::string folder = threads + "/" + thread;
    text += std::string("  thread ") + thread + " " + text_of(folder + "/comm") + "\n";
    text += "    waits in: " + text_of(folder + "/wchan") + "\n";
    text += "    system call: " + text_of(folder + "/syscall") + "\n";
    text += "    kernel stack:\n" + indented(text_of(folder + "/stack"));
  });
}

}  // namespace

std::string stacks_below(pid_t root) {
  std::string text;
  const std::vector<std::string> processes = descendants_of(root);
  for (std::size_t i = 0; i < processes.size(); ++i) {
    if (text.size() > limits::kStacksBytesMax / 2) {
      text += std::to_string(processes.size() - i) + " more processes are left out\n";
      break;
    }
    add_process(processes[i], text);
  }
  text.resize(std::min(text.size(), limits::kStacksBytesMax));
  return text;
}

}  // namespace futured::runtime
