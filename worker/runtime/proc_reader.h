// Reading /proc without allocation and without stdio: for signal handlers, where neither may be.
#pragma once

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace futured::runtime {

// "/proc/self/task/<name><suffix>" and the like; cut at 127 bytes.
class ProcPath {
 public:
  ProcPath(std::string_view directory, std::string_view name, std::string_view suffix) {
    for (const std::string_view piece : {directory, name, suffix}) {
      const std::size_t length = std::min(piece.size(), sizeof text_ - 1 - size_);
      std::memcpy(text_ + size_, piece.data(), length);
      size_ += length;
    }
    text_[size_] = '\0';
  }
  [[nodiscard]] const char* text() const { return text_; }

 private:
  char text_[128] = {};
  std::size_t size_ = 0;
};

// What fits of the file; empty, with errno, when it cannot be read.
[[nodiscard]] std::string_view read_proc(const char* path, std::span<char> buffer);

// Of this process.
[[nodiscard]] std::uint32_t count_threads();

struct ProcNumber {
  pid_t value = 0;
  bool found = false;
};

// The next decimal number in `text`, which is passed.
[[nodiscard]] ProcNumber take_number(std::string_view& text);

// Calls `visit` with the name of each entry that begins with a digit.
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

}  // namespace futured::runtime
