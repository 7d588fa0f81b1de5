#include "worker/runtime/pool_user.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

namespace futured::runtime {

namespace {

constexpr int kGroupsMax = 65'536;  // the kernel's NGROUPS_MAX

std::vector<gid_t> groups_of(const std::string& name, gid_t group) {
  std::vector<gid_t> groups(32);
  for (;;) {
    int count = static_cast<int>(groups.size());
    if (getgrouplist(name.c_str(), group, groups.data(), &count) >= 0) {
      groups.resize(static_cast<std::size_t>(count));
      return groups;
    }
    if (count > kGroupsMax || static_cast<std::size_t>(count) <= groups.size()) return {group};
    groups.resize(static_cast<std::size_t>(count));
  }
}

void rename_in_environment(const char* variable, const std::string& former, const std::string& now) {
  const char* const value = std::getenv(variable);
  if (value != nullptr && value == former) setenv(variable, now.c_str(), 1);
}

Error cannot_become(const PoolUser& user, const char* step) {
  return system_error("user: cannot become \"" + user.name + "\": " + step);
}

}  // namespace

Result<std::optional<PoolUser>> find_user(const std::string& name) {
  if (name.empty()) return std::optional<PoolUser>();
  errno = 0;
  const passwd* const entry = getpwnam(name.c_str());
  if (entry == nullptr) {
    if (errno != 0 && errno != ENOENT) return system_error("user: looking up \"" + name + "\"");
    return Error{ErrorCode::kInvalidArgument, "user: this machine has no user \"" + name + "\""};
  }
  PoolUser user{.name = name, .home = entry->pw_dir, .id = entry->pw_uid, .group = entry->pw_gid};
  const uid_t former = geteuid();
  if (user.id == former) return std::optional<PoolUser>();
  if (former != 0) {
    return Error{ErrorCode::kPermissionDenied, "user: workers can only become \"" + name +
                                                   "\" under a spawner that runs as root: start futured-spawner as "
                                                   "root, or leave user out"};
  }
  user.groups = groups_of(name, user.group);
  if (const passwd* const own = getpwuid(former); own != nullptr) {
    user.former_name = own->pw_name;
    user.former_home = own->pw_dir;
  }
  return std::optional<PoolUser>(std::move(user));
}

Status become(const PoolUser& user) {
  if (setgroups(user.groups.size(), user.groups.data()) != 0) return cannot_become(user, "setgroups");
  if (setresgid(user.group, user.group, user.group) != 0) return cannot_become(user, "setresgid");
  if (setresuid(user.id, user.id, user.id) != 0) return cannot_become(user, "setresuid");
  // The change of user dropped them, unless a securebit of our parents said to keep them.
  if (Status dropped = drop_capabilities(); !dropped) return dropped;
  if (setuid(0) == 0) return Error{ErrorCode::kInternal, "user: \"" + user.name + "\" could become root again"};
  rename_in_environment("HOME", user.former_home, user.home);
  rename_in_environment("USER", user.former_name, user.name);
  rename_in_environment("LOGNAME", user.former_name, user.name);
  // Where the spawner happened to be started may be closed to the user, and many programs do not begin there.
  if (access(".", R_OK | X_OK) != 0 && chdir("/") != 0) return cannot_become(user, "chdir /");
  return {};
}

Status drop_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
  if (syscall(SYS_capset, &header, none.data()) != 0) return system_error("dropping capabilities");
  return {};
}

}  // namespace futured::runtime
