#include "worker/spawner/group_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <sstream>

#include "base/fd.h"
#include "base/own_groups.h"

namespace futured::spawner {

namespace {

[[nodiscard]] std::vector<std::string> folders_in(const std::string& path) {
  std::vector<std::string> folders;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code unknown;
    if (entry->is_directory(unknown) && !entry->is_symlink(unknown)) folders.push_back(entry->path());
  }
  return folders;
}

}  // namespace

int write_text(const std::string& path, const std::string& text) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
  if (!file.is_open()) return errno;
  const ssize_t written = ::write(file.get(), text.data(), text.size());
  if (written < 0) return errno;
  return written == static_cast<ssize_t>(text.size()) ? 0 : EIO;
}

std::vector<pid_t> processes_of(const std::string& group) {
  std::vector<pid_t> pids;
  std::istringstream own(read_text(group + "/cgroup.procs"));
  for (pid_t pid = 0; own >> pid;) pids.push_back(pid);
  for (const std::string& below : folders_in(group)) {
    for (const pid_t pid : processes_of(below)) pids.push_back(pid);
  }
  return pids;
}

bool remove_group(const std::string& group) {
  for (const std::string& below : folders_in(group)) remove_group(below);
  return ::rmdir(group.c_str()) == 0 || errno == ENOENT;
}

}  // namespace futured::spawner
