#include "daemon/store/reserve_file.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include "base/fd.h"

namespace futured {

bool ReserveFile::fill() {
  if (filled_ || bytes_ == 0) return true;
  struct statvfs disk {};
  const std::string folder = path_.substr(0, path_.find_last_of('/') + 1);
  if (::statvfs(folder.empty() ? "." : folder.c_str(), &disk) != 0) return false;
  // Twice its size, or it would be filled and spent in turn.
  if (disk.f_bavail * disk.f_frsize < 2 * static_cast<std::uint64_t>(bytes_)) return false;
  const Fd file(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  // Blocks that are allocated but not written count against the file system like any other, and cost no writing.
  filled_ = file.is_open() && ::posix_fallocate(file.get(), 0, bytes_) == 0;
  // A part of it would take the last room from the very commits it is for.
  if (!filled_) (void)::unlink(path_.c_str());
  return filled_;
}

bool ReserveFile::spend() {
  if (!filled_) return false;
  filled_ = false;
  return ::unlink(path_.c_str()) == 0;
}

}  // namespace futured
