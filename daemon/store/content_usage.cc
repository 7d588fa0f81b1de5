#include "daemon/store/content_usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <memory>
#include <optional>
#include <string_view>

#include "base/limits.h"
#include "daemon/store/digest.h"

namespace futured {

namespace {

constexpr std::string_view kPacked = ".zst";
constexpr std::string_view kPart = ".part-";
constexpr std::string_view kHeld = ".held-";

enum class Kind { kContent, kHolding, kUnderWay, kUnfinished, kForeign };

// "PID-N".
bool is_written_now(std::string_view writer) {
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(writer.data(), writer.data() + writer.size(), pid);
  if (error != std::errc() || pid <= 0) return false;
  return ::kill(pid, 0) == 0 || errno == EPERM;
}

Kind kind_of(std::string_view name) {
  if (!Digest::from_hex(name.substr(0, Digest::kHexBytes))) return Kind::kForeign;
  name.remove_prefix(Digest::kHexBytes);
  if (name.starts_with(kPacked)) name.remove_prefix(kPacked.size());
  if (name.empty()) return Kind::kContent;
  if (name.starts_with(kHeld) && name.find(kPart) == std::string_view::npos) return Kind::kHolding;
  if (name.starts_with(kHeld)) name.remove_prefix(name.find(kPart));
  if (!name.starts_with(kPart)) return Kind::kForeign;
  return is_written_now(name.substr(kPart.size())) ? Kind::kUnderWay : Kind::kUnfinished;
}

bool may_make(const std::string& directory) {
  const std::size_t slash = directory.rfind('/');
  const std::string above = slash == std::string::npos ? "." : directory.substr(0, slash);
  return ::access(above.c_str(), W_OK | X_OK) == 0;
}

}  // namespace

ContentUsage content_usage(const std::string& directory) {
  ContentUsage usage;
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(directory.c_str()), ::closedir);
  if (!entries) {
    usage.is_writable = errno == ENOENT && may_make(directory);
    return usage;
  }
  usage.is_writable = ::access(directory.c_str(), W_OK | X_OK) == 0;
  std::uint64_t seen = 0;
  while (const dirent* const entry = ::readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (seen++ == limits::kContentFilesCountedMax) {
      usage.is_whole = false;
      break;
    }
    const Kind kind = kind_of(name);
    if (kind == Kind::kUnfinished) ++usage.unfinished;
    if (kind == Kind::kForeign) ++usage.foreign;
    if (kind != Kind::kContent) continue;
    struct stat about {};
    if (::fstatat(::dirfd(entries.get()), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0) continue;
    ++usage.files;
    usage.bytes += static_cast<std::uint64_t>(about.st_size);
  }
  return usage;
}

}  // namespace futured
