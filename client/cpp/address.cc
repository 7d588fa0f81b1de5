// Where the daemon listens when nobody says.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "futured/client.h"

namespace futured::client {

std::string user_socket_path() {
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && *runtime == '/') return std::string(runtime) + "/futured.sock";
  return "/tmp/futured-" + std::to_string(::getuid()) + "/futured.sock";
}

std::string default_address() {
  const char* const given = std::getenv("FUTURED_ADDRESS");
  if (given != nullptr && *given != '\0') return given;
  struct stat found = {};
  const std::string system(kSystemSocketPath);
  if (::stat(system.c_str(), &found) == 0 && S_ISSOCK(found.st_mode)) return "unix:" + system;
  return "unix:" + user_socket_path();
}

}  // namespace futured::client
