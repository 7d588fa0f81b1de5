// futured-spawner: starts, confines and ends worker processes for one daemon, and outlives it.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "worker/spawner/spawner.h"

namespace {

constexpr const char* kUsage =
    "usage: futured-spawner --state DIR [--idle-exit SECONDS] [--detach] [--no-cgroup]\n"
    "\n"
    "Starts, confines and ends the worker processes of the futured daemon that serves DIR.\n"
    "  --state DIR          the daemon's state directory; the socket is DIR/spawner.sock\n"
    "  --idle-exit SECONDS  exit after so long without a daemon and without running work (default 0: never)\n"
    "  --detach             go to the background once the socket is ready\n"
    "  --no-cgroup          use no control groups: find and kill process trees by walking /proc, and keep memory_max\n"
    "                       and processes_max by sampling it\n";

constexpr int kExitUsage = 2;
constexpr int kExitAlreadyRunning = 3;
constexpr long kIdleSecondsMax = 366L * 24 * 3600;

struct Arguments {
  futured::spawner::Options options;
  bool detach = false;
};

bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const bool has_value = i + 1 < argc;
    if (argument == "--state" && has_value) {
      arguments.options.state_folder = argv[++i];
    } else if (argument == "--idle-exit" && has_value) {
      char* end = nullptr;
      errno = 0;
      const long seconds = std::strtol(argv[++i], &end, 10);
      if (*end != '\0' || end == argv[i] || errno != 0 || seconds < 0 || seconds > kIdleSecondsMax) return false;
      arguments.options.idle_exit = std::chrono::seconds(seconds);
    } else if (argument == "--detach") {
      arguments.detach = true;
    } else if (argument == "--no-cgroup") {
      arguments.options.use_cgroup = false;
    } else {
      return false;
    }
  }
  return !arguments.options.state_folder.empty();
}

int serve(const futured::spawner::Options& options, int ready) {
  auto spawner = futured::spawner::Spawner::create(options);
  if (!spawner) {
    std::fprintf(stderr, "futured-spawner: %s\n", spawner.error().message.c_str());
    return spawner.error().code == futured::ErrorCode::kAlreadyExists ? kExitAlreadyRunning : EXIT_FAILURE;
  }
  if (ready >= 0) {
    (void)!::write(ready, "R", 1);
    ::close(ready);
  }
  (*spawner)->run();
  return EXIT_SUCCESS;
}

// The parent stays until the child is ready, and exits as it would have.
int serve_detached(const futured::spawner::Options& options) {
  int pair[2];
  if (::pipe2(pair, O_CLOEXEC) != 0) return EXIT_FAILURE;
  const pid_t child = ::fork();
  if (child < 0) {
    std::fprintf(stderr, "futured-spawner: fork: %s\n", std::strerror(errno));
    return EXIT_FAILURE;
  }
  if (child > 0) {
    ::close(pair[1]);
    char byte = 0;
    if (::read(pair[0], &byte, 1) == 1) {
      if (byte == 'R') return EXIT_SUCCESS;
      return byte;
    }
    return EXIT_FAILURE;
  }
  ::close(pair[0]);
  ::setsid();
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  ::dup2(null, STDIN_FILENO);
  ::dup2(null, STDOUT_FILENO);
  const int status = serve(options, pair[1]);
  if (status != EXIT_SUCCESS) {
    const char byte = static_cast<char>(status);
    (void)!::write(pair[1], &byte, 1);
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--help") {
    std::fputs(kUsage, stdout);
    return EXIT_SUCCESS;
  }
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    std::fputs(kUsage, stderr);
    return kExitUsage;
  }
  // Whatever the starter forgot to close (a lock, a socket) must not live as long as we do.
  ::close_range(STDERR_FILENO + 1, ~0U, 0);
  if (arguments.detach) return serve_detached(arguments.options);
  return serve(arguments.options, -1);
}
