// fut shutdown: ends the daemon, its spawner and its workers.
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>

#include "base/fd.h"
#include "client/cli/cli.h"
#include "client/cli/start_daemon.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

constexpr int kEndWithinMs = 30'000;

// True when the process is gone. Processes of another machine or user are not waited for.
bool gone(const Fd& process) {
  if (!process.is_open()) return true;
  pollfd ended = {process.get(), POLLIN, 0};
  return ::poll(&ended, 1, kEndWithinMs) == 1;
}

Fd watch(int pid) { return Fd(pid <= 0 ? -1 : static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }

// Nothing where the daemon should be: no socket, or one that nobody listens on any more.
bool none_runs(const std::string& address) {
  const std::size_t path = address.find('/');
  if (address.find(':') < path && !address.starts_with("unix:")) return false;
  check_address(address);
  return !answers(address.substr(path)) && (errno == ENOENT || errno == ECONNREFUSED);
}

int shutdown(bool keep_workers, const Globals& globals) {
  const std::string address = globals.address.empty() ? client::default_address() : globals.address;
  if (none_runs(address)) {
    if (globals.json) {
      print_json({{"pid", nullptr}, {"spawner_pid", nullptr}, {"running", 0}});
    } else {
      print("no daemon is running at " + address + "\n");
    }
    return kOk;
  }
  client::ShutdownInfo info;
  Fd daemon;
  Fd spawner;
  {
    const client::Client client = connect_only(globals);
    const client::DaemonInfo before = client.info();
    const bool local = before.your_uid == ::getuid() && client.address().find("unix:") == 0;
    if (local) daemon = watch(before.pid);
    if (local && !keep_workers) spawner = watch(before.spawner_pid);
    info = client.shutdown(!keep_workers, client::Milliseconds(0));
  }
  if (!gone(daemon) || !gone(spawner)) {
    complain("the daemon was told to end but still runs after 30 s: see its log");
    return kTimedOut;
  }
  if (globals.json) {
    print_json({{"pid", info.pid}, {"spawner_pid", info.spawner_pid}, {"running", info.running}});
  } else {
    print("ended daemon (pid " + std::to_string(info.pid) + ")" +
          (keep_workers ? "; its workers go on" : " and its workers") +
          (info.running == 0 ? "" : "; " + std::to_string(info.running) + " jobs were running") + "\n");
  }
  return kOk;
}

}  // namespace

void add_shutdown(CLI::App& app, Globals& globals) {
  const auto keep_workers = std::make_shared<bool>(false);
  CLI::App& verb = *app.add_subcommand("shutdown", "End the daemon and its workers; accepted jobs stay on disk");
  verb.add_flag("--keep-workers", *keep_workers, "End the daemon only; running jobs go on for the next one");
  verb.footer(
      "Ends daemon, spawner and workers, and with them what runs: nothing of it is left. Jobs stay on disk. The next\n"
      "daemon runs those that waited, and those that ran again, from their beginning; but one that runs at most once\n"
      "has failed. With --keep-workers spawner and running jobs go on, and the next daemon takes them up; so they do\n"
      "when the daemon gets a SIGTERM. A daemon that a service manager started is best ended by that.\n"
      "Exits 0 also when none is running.\n\n"
      "Examples:\n"
      "  fut shutdown\n"
      "  fut shutdown --keep-workers\n");
  verb.callback([&globals, keep_workers] {
    globals.action = [&globals, keep_workers] { return shutdown(*keep_workers, globals); };
  });
}

}  // namespace futured::cli
