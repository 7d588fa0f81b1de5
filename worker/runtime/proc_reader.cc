#include "worker/runtime/proc_reader.h"

#include <sys/stat.h>

#include <cerrno>

namespace futured::runtime {

std::string_view read_proc(const char* path, std::span<char> buffer) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  std::size_t size = 0;
  while (size < buffer.size()) {
    const ssize_t got = read(file, buffer.data() + size, buffer.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  const int saved = errno;
  close(file);
  errno = saved;
  return {buffer.data(), size};
}

// A directory has a link for itself, one from above, and one for each directory in it.
std::uint32_t count_threads() {
  struct stat status {};
  if (stat("/proc/self/task", &status) != 0 || status.st_nlink < 3) return 1;
  return static_cast<std::uint32_t>(status.st_nlink - 2);
}

ProcNumber take_number(std::string_view& text) {
  while (!text.empty() && (text.front() < '0' || text.front() > '9')) text.remove_prefix(1);
  ProcNumber number;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    number.value = number.value * 10 + (text.front() - '0');
    number.found = true;
    text.remove_prefix(1);
  }
  return number;
}

}  // namespace futured::runtime
