#include "worker/runtime/own_network.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "worker/runtime/pool_user.h"

namespace futured::runtime {

namespace {

constexpr std::string_view kWayOut =
    "start futured-spawner as root, let users make namespaces (sysctl user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns), or leave no_network out";

Error refused(const std::string& step) {
  Error error = system_error("no_network: " + step);
  error.message.append("; ").append(kWayOut);
  return error;
}

// In one piece, as these files want it.
Status write_file(const char* path, const std::string& text) {
  const Fd file(open(path, O_WRONLY | O_CLOEXEC));
  if (!file.is_open() || write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return refused(path);
  }
  return {};
}

// Who and what we were, and nobody else: all that a process without privileges may map.
Status keep_ids(uid_t user, gid_t group) {
  const auto line = [](auto id) { return std::to_string(id) + " " + std::to_string(id) + " 1"; };
  if (Status denied = write_file("/proc/self/setgroups", "deny"); !denied) return denied;
  if (Status mapped = write_file("/proc/self/gid_map", line(group)); !mapped) return mapped;
  return write_file("/proc/self/uid_map", line(user));
}

// A namespace begins with a loopback that is down.
Status bring_loopback_up() {
  const Fd socket_of_it(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket_of_it.is_open()) return refused("socket");
  ifreq loopback{};
  std::strcpy(loopback.ifr_name, "lo");
  if (ioctl(socket_of_it.get(), SIOCGIFFLAGS, &loopback) != 0) return refused("loopback");
  loopback.ifr_flags = static_cast<short>(loopback.ifr_flags | IFF_UP);
  if (ioctl(socket_of_it.get(), SIOCSIFFLAGS, &loopback) != 0) return refused("bringing the loopback up");
  return {};
}

}  // namespace

Status leave_network(UserNamespace user_namespace) {
  if (unshare(CLONE_NEWNET) == 0) return bring_loopback_up();
  if (errno != EPERM || user_namespace == UserNamespace::kRefused) return refused("a network namespace");
  const uid_t user = geteuid();
  const gid_t group = getegid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return refused("a network namespace in a user namespace");
  if (Status kept = keep_ids(user, group); !kept) return kept;
  if (Status up = bring_loopback_up(); !up) return up;
  return drop_capabilities();
}

}  // namespace futured::runtime
