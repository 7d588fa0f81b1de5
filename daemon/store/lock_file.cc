#include "daemon/store/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <cstring>

namespace futured {
namespace {

std::string holder_in(int file) {
  char text[32];
  const ssize_t size = ::pread(file, text, sizeof text, 0);
  std::string pid(text, size > 0 ? static_cast<std::size_t>(size) : 0);
  pid.resize(std::min(pid.find_first_not_of("0123456789"), pid.size()));
  return pid.empty() ? "another process" : "process " + pid;
}

Error cannot_open(const std::string& path, int number) {
  const ErrorCode code = number == ENOENT || number == ENOTDIR                    ? ErrorCode::kNotFound
                         : number == ENOSPC || number == EDQUOT                   ? ErrorCode::kResourceExhausted
                         : number == EACCES || number == EPERM || number == EROFS ? ErrorCode::kPermissionDenied
                                                                                  : ErrorCode::kInternal;
  const char* way_out = code == ErrorCode::kNotFound            ? "; create its directory, or name another"
                        : code == ErrorCode::kResourceExhausted ? "; free space on its file system"
                        : code == ErrorCode::kPermissionDenied
                            ? "; the daemon's user must be able to write its directory"
                            : "";
  return {code, "cannot create the lock file " + path + ": " + std::strerror(number) + way_out};
}

}  // namespace

Result<LockFile> LockFile::take(const std::string& path) {
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.is_open()) return cannot_open(path, errno);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return system_error("flock " + path);
    return Error{ErrorCode::kFailedPrecondition,
                 "it is in use by " + holder_in(file.get()) + ", which holds " + path +
                     "; stop that daemon, or give this one a state directory of its own"};
  }
  // Only the error of the next one reads it: a full disk may keep it empty.
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(file.get(), 0) == 0) (void)!::pwrite(file.get(), pid.data(), pid.size(), 0);
  return LockFile(std::move(file));
}

}  // namespace futured
