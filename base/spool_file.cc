#include "base/spool_file.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

namespace futured {

namespace {

constexpr int kHow = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;

bool is_own_file(const Fd& file, std::uint32_t user) {
  struct stat found {};
  return fstat(file.get(), &found) == 0 && S_ISREG(found.st_mode) && found.st_uid == user && found.st_nlink == 1;
}

}  // namespace

SpoolUser spool_user(const std::string& user_name) {
  const passwd* const entry = user_name.empty() ? nullptr : getpwnam(user_name.c_str());
  if (entry == nullptr || entry->pw_uid == geteuid()) return std::nullopt;
  return entry->pw_uid;
}

Result<SpoolFile> open_spool_file(const std::string& directory, const std::string& name, SpoolUser user) {
  const auto open_in = [&](const std::string& folder) {
    std::string path = folder + "/" + name;
    Fd file(open(path.c_str(), kHow));
    return SpoolFile{std::move(file), std::move(path)};
  };
  SpoolFile found = open_in(directory);
  if (found.file.is_open()) return found;
  const Error missing = system_error(found.path);
  if (missing.code != ErrorCode::kNotFound || !user) return missing;
  found = open_in(directory + "/users/" + std::to_string(*user));
  if (!found.file.is_open() || !is_own_file(found.file, *user)) return missing;
  return found;
}

}  // namespace futured
