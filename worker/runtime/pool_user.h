// The user that the workers of a pool are, where that is another one than the spawner's.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace futured::runtime {

struct PoolUser {
  std::string name;
  std::string home;
  uid_t id = 0;
  gid_t group = 0;
  std::vector<gid_t> groups;  // all of them
  // Who we are before.
  std::string former_name;
  std::string former_home;
};

// Nothing when no user is named, or the one that we are. Refused when there is no such user, or we are not root and so
// cannot become it. Asks the system's user database, which may need files, descriptors and the network.
[[nodiscard]] Result<std::optional<PoolUser>> find_user(const std::string& name);

// Turns this process into the user for good: all user and group ids, no capability. HOME, USER and LOGNAME that told of
// the former user tell of this one. A failure leaves it in between: fit for nothing but to end.
//
// The kernel then makes the process not dumpable (unless fs.suid_dumpable says otherwise): others of the same user,
// such as commands that it runs, can neither trace it nor reach its descriptors. It reads most of its own /proc still,
// but not its /proc/self/environ; and it leaves no core. A program that it starts is as dumpable as any.
[[nodiscard]] Status become(const PoolUser& user);

// Of this process, for good.
[[nodiscard]] Status drop_capabilities();

}  // namespace futured::runtime
