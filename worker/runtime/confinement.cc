#include "worker/runtime/confinement.h"

#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "worker/runtime/own_network.h"
#include "worker/runtime/pool_user.h"

namespace futured::runtime {

namespace {

// By it a spawner finds what its predecessor left.
constexpr std::string_view kInstance = "FUTURED_INSTANCE";

__rlimit_resource resource_named(const std::string& name) { return static_cast<__rlimit_resource>(resource_of(name)); }

Error cannot_limit(const std::string& name, std::uint64_t value) {
  const int why = errno;
  rlimit now{};
  if (why != EPERM || getrlimit(resource_named(name), &now) != 0) return system_error("limits." + name, why);
  std::string unit_setting = "Limit" + name;
  std::ranges::transform(unit_setting.begin() + 5, unit_setting.end(), unit_setting.begin() + 5,
                         [](unsigned char c) { return static_cast<char>(c - 'a' + 'A'); });
  return {ErrorCode::kPermissionDenied, "limits." + name + ": " + std::to_string(value) + " is more than the " +
                                            std::to_string(now.rlim_max) + " that the spawner may give: raise that (" +
                                            unit_setting + "= of futured-spawner.service), or ask for less"};
}

// Commands are given them by a worker that may no longer raise anything.
Status make_room_for(const std::map<std::string, std::uint64_t>& limits) {
  for (const auto& [name, value] : limits) {
    rlimit limit{};
    if (getrlimit(resource_named(name), &limit) != 0) return cannot_limit(name, value);
    if (limit.rlim_max >= value) continue;
    limit.rlim_max = value;
    if (setrlimit(resource_named(name), &limit) != 0) return cannot_limit(name, value);
  }
  return {};
}

Status set_nice(std::int32_t nice) {
  if (nice == 0 || setpriority(PRIO_PROCESS, 0, nice) == 0) return {};
  if (errno != EACCES && errno != EPERM) return system_error("nice");
  return Error{ErrorCode::kPermissionDenied, "nice: only a spawner that runs as root can give " + std::to_string(nice) +
                                                 ": choose a higher number, or start futured-spawner as root"};
}

}  // namespace

Status confine(const PoolTerms& terms) {
  // First, for this looks into files that the limits and the network could close.
  const auto user = find_user(terms.user);
  if (!user) return user.error();
  const bool runs_commands = terms.mode == PoolMode::kCommand;
  if (Status limited = runs_commands ? make_room_for(terms.limits) : set_limits(terms.limits); !limited) {
    return limited;
  }
  if (Status slowed = set_nice(terms.nice); !slowed) return slowed;
  if (terms.no_network) {
    if (Status left = leave_network(*user ? UserNamespace::kRefused : UserNamespace::kAllowed); !left) return left;
  }
  if (*user) {
    if (Status changed = become(**user); !changed) return changed;
  }
  if (terms.no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return system_error("no_new_privileges");
  }
  return {};
}

Status set_limits(const std::map<std::string, std::uint64_t>& limits) {
  for (const auto& [name, value] : limits) {
    const rlimit limit{value, value};
    if (setrlimit(resource_named(name), &limit) != 0) return cannot_limit(name, value);
  }
  return {};
}

void drop_environment(const std::vector<std::string>& allowed) {
  if (allowed.empty() || environ == nullptr || std::ranges::find(allowed, "*") != allowed.end()) return;
  char** kept = environ;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::string_view name = text.substr(0, text.find('='));
    if (name == kInstance || std::ranges::find(allowed, name) != allowed.end()) {
      *kept++ = *variable;
    } else {
      explicit_bzero(*variable, text.size());
    }
  }
  *kept = nullptr;
}

}  // namespace futured::runtime
