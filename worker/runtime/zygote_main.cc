#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "worker/runtime/zygote.h"

namespace futured::runtime {

namespace {

constexpr std::string_view kUsage =
    "usage: futured-zygote --mode process|fresh|thread|command [--plugin PATH]... [--spool DIRECTORY] [--TERM "
    "VALUE]...\n"
    "\n"
    "Loads tasks and forks the workers of one pool. futured-spawner starts it, with descriptor 3 as their connection;\n"
    "it is of no use by itself.\n"
    "\n"
    "  --mode process     workers that run tasks: the built-in ones and those of the plugins\n"
    "  --mode fresh       the same, each task in a fork of its own\n"
    "  --mode thread      the same, several at once in one worker: --jobs-at-once\n"
    "  --mode command     workers that run command lines\n"
    "  --plugin PATH      a shared object that defines tasks (docs/tasks.md); may be given several times\n"
    "  --spool DIRECTORY  where long output goes\n"
    "\n"
    "Terms are the settings of a pool (deploy/futured.toml): --jobs-per-worker-max --rss-bytes-max --leaks --user\n"
    "--env-allow --limit NAME=VALUE --nice --no-new-privileges --no-network --private-directory --memory-bytes-max\n"
    "--processes-max\n";

int complain(const char* why, const char* what = "") {
  std::fprintf(stderr, "futured-zygote: %s%s\n", why, what);
  return 2;
}

// 0, 1 and 2 must be taken, so that no pipe of a command ever gets such a number.
void fill_standard_descriptors() {
  int descriptor;
  do {
    descriptor = open("/dev/null", O_RDWR);
  } while (descriptor >= 0 && descriptor <= 2);
  if (descriptor > 2) close(descriptor);
}

bool is_connected() {
  int type = 0;
  socklen_t size = sizeof type;
  return getsockopt(zygote::kControlFd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

}  // namespace

int zygote_main(int argc, char** argv) {
  ZygoteOptions options;
  bool has_mode = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--help") {
      std::fwrite(kUsage.data(), 1, kUsage.size(), stdout);
      return 0;
    }
    if (++i == argc) return complain("missing value after ", argv[i - 1]);
    if (option == "--spool") {
      options.spool_directory = argv[i];
      continue;
    }
    if (const Status read = read_argument(options.terms, option, argv[i]); !read) {
      return complain(read.error().message.c_str());
    }
    has_mode = has_mode || option == "--mode";
  }
  if (!has_mode) return complain("--mode is missing; see --help");
  if (!is_connected()) return complain("descriptor 3 is no connection to a spawner; see --help");
  fill_standard_descriptors();
  fcntl(zygote::kControlFd, F_SETFD, FD_CLOEXEC);
  return run_zygote(options);
}

}  // namespace futured::runtime
