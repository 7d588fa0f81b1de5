// What a process that changes itself for good saw after it: in a fork of the test.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string>

namespace futured::runtime {

// What `look` returns there; "died" when it did not come to that.
inline std::string in_child(const std::function<std::string()>& look) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string seen = look();
    const bool told = ::write(ends[1], seen.data(), seen.size()) == static_cast<ssize_t>(seen.size());
    ::_exit(told ? 0 : 1);
  }
  ::close(ends[1]);
  std::string seen;
  char buffer[4096];
  for (ssize_t size; (size = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    seen.append(buffer, static_cast<std::size_t>(size));
  }
  ::close(ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status == 0 ? seen : "died";
}

inline bool is_root() { return ::geteuid() == 0; }

}  // namespace futured::runtime
