#include "daemon/rpc/spooled_output.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "base/fd.h"
#include "base/limits.h"

namespace futured::rpc {

namespace {

// 0: there is no such file, or it is none. A worker may have put anything in its place.
std::uint64_t size_of(const Fd& file) {
  struct stat there {};
  if (::fstat(file.get(), &there) != 0 || !S_ISREG(there.st_mode)) return 0;
  return static_cast<std::uint64_t>(there.st_size);
}

}  // namespace

std::string spooled_output(const std::string& spool_directory, SpoolUser user, const Fence& fence, std::uint32_t stream,
                           std::uint64_t from, std::size_t bytes_max) {
  constexpr std::array<std::string_view, 4> kNames = {"stdout", "stderr", "emitted", "log"};
  if (stream < 1 || stream > kNames.size()) return {};
  const std::string name = std::to_string(fence.job.value) + "." + std::to_string(fence.epoch.value) + "." +
                           std::to_string(fence.attempt) + "." + std::string(kNames[stream - 1]);
  const auto opened = open_spool_file(spool_directory, name, user);
  if (!opened) return {};
  const Fd& file = opened->file;
  const std::uint64_t size = size_of(file);
  if (from >= size) return {};
  std::string bytes(std::min<std::uint64_t>(bytes_max, size - from), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::pread(file.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(from + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  // Once it is full its second half is written over, and put in order at the end.
  const std::uint64_t size_then = size_of(file);
  const bool is_in_order = size_then >= size && size_then < limits::kOutputBytesMax;
  constexpr std::uint64_t kHeadBytes = limits::kOutputBytesMax / 2;
  bytes.resize(is_in_order ? done : std::min<std::uint64_t>(done, kHeadBytes - std::min(from, kHeadBytes)));
  return bytes;
}

}  // namespace futured::rpc
