#include "daemon/loop/stacks.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"

namespace futured {

std::string take_stacks(const std::string& spool_directory, const Fence& fence) {
  const std::string path = spool_directory + "/" + std::to_string(fence.job.value) + "." +
                           std::to_string(fence.epoch.value) + "." + std::to_string(fence.attempt) + ".stacks";
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file.is_open()) return {};
  std::string text;
  struct stat there {};
  if (::fstat(file.get(), &there) == 0 && S_ISREG(there.st_mode)) {
    text.resize(limits::kStacksBytesMax);
    const ssize_t got = ::pread(file.get(), text.data(), text.size(), 0);
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  }
  (void)::unlink(path.c_str());
  return text;
}

}  // namespace futured
