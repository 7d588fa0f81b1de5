// A network that holds nothing but a loopback of its own.
#pragma once

#include "base/result.h"

namespace futured::runtime {

enum class UserNamespace {
  kAllowed,  // made where the kernel gives a network to nobody else; then the process has no capabilities left
  kRefused,  // the process is to become another user, which it could not be there
};

// Moves this process, which has one thread, out of the machine's network. Sockets that are open stay where they were
// made, and those of the file system (AF_UNIX) can still be reached by their paths. In a user namespace of its own it
// keeps its user and group; every other id is seen as 65534, and set-user-id programs gain nothing.
[[nodiscard]] Status leave_network(UserNamespace user_namespace);

}  // namespace futured::runtime
