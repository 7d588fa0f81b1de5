#include "daemon/loop/stacks.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"

namespace futured {

std::string take_stacks(const std::string& spool_directory, const Fence& fence, SpoolUser user) {
  const std::string name = std::to_string(fence.job.value) + "." + std::to_string(fence.epoch.value) + "." +
                           std::to_string(fence.attempt) + ".stacks";
  const auto left = open_spool_file(spool_directory, name, user);
  if (!left) return {};
  std::string text;
  struct stat there {};
  if (::fstat(left->file.get(), &there) == 0 && S_ISREG(there.st_mode)) {
    text.resize(limits::kStacksBytesMax);
    const ssize_t got = ::pread(left->file.get(), text.data(), text.size(), 0);
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  }
  (void)::unlink(left->path.c_str());
  return text;
}

}  // namespace futured
