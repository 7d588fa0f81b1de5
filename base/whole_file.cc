#include "base/whole_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>

namespace futured {

namespace {

constexpr std::size_t kWriteBytes = 8 * 1024 * 1024;  // of one system call
constexpr int kNamesMax = 100;                        // tried, past files that somebody else writes or left

Error write_error(const std::string& path, int error_number) {
  Error error = system_error("cannot write " + path, error_number);
  if (error_number == ENOSPC || error_number == EDQUOT) error.message += ": make room there and write it again";
  return error;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

// The rename itself is on disk only when its folder is. A folder that we may write to and not read, or a file system
// that cannot do this, leaves that to the kernel.
Status sync_folder_of(const std::string& path) {
  const Fd folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.is_open() && ::fsync(folder.get()) != 0 && errno != EINVAL) return write_error(path, errno);
  return {};
}

}  // namespace

Result<WholeFile> WholeFile::create(const std::string& path) {
  std::string target = path;
  struct stat old {};
  const bool replaces = ::stat(path.c_str(), &old) == 0;
  if (replaces && !S_ISREG(old.st_mode)) {
    return Error{ErrorCode::kInvalidArgument, "cannot write " + path + ": it is no regular file: give another name"};
  }
  if (replaces) {
    const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), std::free);
    if (!resolved) return write_error(path, errno);
    target = resolved.get();
  }
  for (int i = 0; i < kNamesMax; ++i) {
    std::string part = target + ".part-" + std::to_string(::getpid()) + "-" + std::to_string(i);
    Fd file(::open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, replaces ? 0600 : 0666));
    if (!file.is_open() && errno == EEXIST) continue;
    if (!file.is_open()) return write_error(path, errno);
    WholeFile made(std::move(file), std::move(target), std::move(part));
    if (replaces && ::fchmod(made.file_.get(), old.st_mode & 0777) != 0) return write_error(path, errno);
    return made;
  }
  return Error{ErrorCode::kAlreadyExists, "cannot write " + path + ": " + std::to_string(kNamesMax) +
                                              " files of names as " + path + ".part-… are in the way: remove them"};
}

WholeFile::WholeFile(Fd file, std::string path, std::string part)
    : file_(std::move(file)), path_(std::move(path)), part_(std::move(part)) {}

WholeFile::WholeFile(WholeFile&& other) noexcept
    : file_(std::move(other.file_)), path_(std::move(other.path_)), part_(std::exchange(other.part_, {})) {}

WholeFile& WholeFile::operator=(WholeFile&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(path_, other.path_);
  std::swap(part_, other.part_);
  return *this;
}

WholeFile::~WholeFile() {
  if (!part_.empty()) ::unlink(part_.c_str());
}

Status WholeFile::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote =
        ::pwrite(file_.get(), bytes.data(), std::min(bytes.size(), kWriteBytes), static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return write_error(path_, wrote < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
    offset += static_cast<std::uint64_t>(wrote);
  }
  return {};
}

Status WholeFile::finish() {
  if (::fsync(file_.get()) != 0) return write_error(path_, errno);
  if (::rename(part_.c_str(), path_.c_str()) != 0) return write_error(path_, errno);
  part_.clear();
  return sync_folder_of(path_);
}

}  // namespace futured
