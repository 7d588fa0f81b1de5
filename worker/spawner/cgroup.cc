#include "worker/spawner/cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/fd.h"

namespace futured::spawner {

namespace {

[[nodiscard]] std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

[[nodiscard]] bool write_text(const std::string& path, const std::string& text) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file.is_open() && ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// Where this process's own v2 group is, by the mounts and /proc/self/cgroup; empty when nowhere.
[[nodiscard]] std::string own_group() {
  std::string mount;
  std::istringstream mounts(read_text("/proc/self/mountinfo"));
  for (std::string line; std::getline(mounts, line);) {
    const std::size_t dash = line.find(" - cgroup2 ");
    if (dash == std::string::npos) continue;
    std::istringstream fields(line);
    std::string skip;
    fields >> skip >> skip >> skip >> skip >> mount;
    break;
  }
  std::istringstream groups(read_text("/proc/self/cgroup"));
  for (std::string line; !mount.empty() && std::getline(groups, line);) {
    if (line.starts_with("0::")) return mount + (line.substr(3) == "/" ? "" : line.substr(3));
  }
  return {};
}

[[nodiscard]] bool is_populated(const std::string& group) {
  return read_text(group + "/cgroup.events").find("populated 1") != std::string::npos;
}

void remove_folders(const std::string& path) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(path, ignored)) {
    if (entry.is_directory(ignored)) ::rmdir(entry.path().c_str());
  }
  ::rmdir(path.c_str());
}

}  // namespace

std::optional<CgroupTree> CgroupTree::create(std::uint64_t instance) {
  const std::string own = own_group();
  if (own.empty()) return {};
  char name[32];
  std::snprintf(name, sizeof name, "/futured-%016llx", static_cast<unsigned long long>(instance));
  const std::string path = own + name;
  if (::mkdir(path.c_str(), 0755) != 0) return {};
  // Moving processes needs the right to write in the common ancestor too: try it with a child that is about to exist.
  if (::access((path + "/cgroup.kill").c_str(), W_OK) != 0 || ::access((own + "/cgroup.procs").c_str(), W_OK) != 0) {
    ::rmdir(path.c_str());
    return {};
  }
  return CgroupTree(path);
}

bool CgroupTree::remove_leftover(const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0) return true;
  (void)write_text(path + "/cgroup.kill", "1");
  if (is_populated(path)) return false;
  remove_folders(path);
  return true;
}

bool CgroupTree::add(const std::string& group, pid_t pid) const {
  const std::string folder = path_ + "/" + group;
  if (::mkdir(folder.c_str(), 0755) != 0 && errno != EEXIST) return false;
  return write_text(folder + "/cgroup.procs", std::to_string(pid));
}

bool CgroupTree::kill(const std::string& group) const {
  if (is_empty(group)) return true;
  (void)write_text(path_ + "/" + group + "/cgroup.kill", "1");
  return is_empty(group);
}

bool CgroupTree::is_empty(const std::string& group) const { return !is_populated(path_ + "/" + group); }

std::uint64_t CgroupTree::out_of_memory_kills(const std::string& group) const {
  std::istringstream events(read_text(path_ + "/" + group + "/memory.events"));
  std::uint64_t count = 0;
  for (std::string name; events >> name >> count;) {
    if (name == "oom_kill") return count;
  }
  return 0;
}

void CgroupTree::remove() const { remove_folders(path_); }

}  // namespace futured::spawner
