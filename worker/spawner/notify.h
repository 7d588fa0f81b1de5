// Tells systemd of this process's state, without its library.
#pragma once

#include <string_view>

namespace futured::spawner {

// Sends e.g. "READY=1" to $NOTIFY_SOCKET; nothing happens without one.
void notify_service_manager(const char* socket_path, std::string_view state);

}  // namespace futured::spawner
