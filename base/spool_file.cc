#include "base/spool_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>

namespace futured {

namespace {

constexpr int kHow = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;

std::optional<std::uint64_t> user_of(const char* folder) {
  std::uint64_t user = 0;
  const char* const end = folder + std::strlen(folder);
  const auto [rest, wrong] = std::from_chars(folder, end, user);
  return wrong == std::errc() && rest == end ? std::optional(user) : std::nullopt;
}

bool is_own_file(const Fd& file, std::uint64_t user) {
  struct stat found {};
  return fstat(file.get(), &found) == 0 && S_ISREG(found.st_mode) && found.st_uid == user && found.st_nlink == 1;
}

}  // namespace

Result<SpoolFile> open_spool_file(const std::string& directory, const std::string& name) {
  SpoolFile found{Fd(open((directory + "/" + name).c_str(), kHow)), directory + "/" + name};
  if (found.file.is_open()) return found;
  const int why = errno;
  const Error missing = system_error(found.path, why);
  if (why != ENOENT) return missing;
  const std::string users = directory + "/users";
  const std::unique_ptr<DIR, int (*)(DIR*)> folders(opendir(users.c_str()), closedir);
  while (const dirent* const folder = folders ? readdir(folders.get()) : nullptr) {
    const auto user = user_of(folder->d_name);
    if (!user) continue;
    const std::string path = users + "/" + folder->d_name + "/" + name;
    Fd file(open(path.c_str(), kHow));
    if (!file.is_open() || !is_own_file(file, *user)) continue;
    if (found.file.is_open()) return Error{ErrorCode::kDataLoss, found.path + " and " + path + " cannot both be it"};
    found = {std::move(file), path};
  }
  if (!found.file.is_open()) return missing;
  return found;
}

}  // namespace futured
