// fut shutdown: ends the daemon, its spawner and its workers.
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>

#include "base/fd.h"
#include "client/cli/cli.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::string grace = "0";
  bool keep_workers = false;
};

constexpr int kEndWithinMs = 30'000;

// True when the process is gone. Processes of another machine or user are not waited for.
bool gone(const Fd& process) {
  if (!process.is_open()) return true;
  pollfd ended = {process.get(), POLLIN, 0};
  return ::poll(&ended, 1, kEndWithinMs) == 1;
}

Fd watch(int pid) { return Fd(pid <= 0 ? -1 : static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }

int shutdown(const Options& options, const Globals& globals) {
  const client::Milliseconds grace = parse_duration(options.grace, "--grace");
  client::ShutdownInfo info;
  Fd daemon;
  Fd spawner;
  {
    const client::Client client = connect_only(globals);
    const client::DaemonInfo before = client.info();
    const bool local = before.your_uid == ::getuid() && client.address().find("unix:") == 0;
    if (local) daemon = watch(before.pid);
    if (local && !options.keep_workers) spawner = watch(before.spawner_pid);
    info = client.shutdown(!options.keep_workers, grace);
  }
  if (!gone(daemon) || !gone(spawner)) {
    complain("the daemon was told to end but still runs after 30 s: see its log");
    return kTimedOut;
  }
  if (globals.json) {
    print_json({{"pid", info.pid}, {"spawner_pid", info.spawner_pid}, {"running", info.running}});
  } else {
    print("ended daemon (pid " + std::to_string(info.pid) + ")" +
          (options.keep_workers ? "; its workers go on" : " and its workers") +
          (info.running == 0 ? "" : "; " + std::to_string(info.running) + " jobs were running") + "\n");
  }
  return kOk;
}

}  // namespace

void add_shutdown(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("shutdown", "End the daemon and its workers; accepted jobs stay on disk");
  verb.add_option("--grace", options->grace, "Running jobs may finish for so long (default: 0)");
  verb.add_flag("--keep-workers", options->keep_workers, "End the daemon only; running jobs go on for the next one");
  verb.footer("Examples:\n  fut shutdown\n  fut shutdown --grace 30s\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return shutdown(*options, globals); }; });
}

}  // namespace futured::cli
