// fut bench cheatsheet: what concurrency is worth on this machine, in one table.
#include <unistd.h>

#include <memory>

#include "client/cli/bench_cheatsheet_daemon.h"
#include "client/cli/bench_cheatsheet_measure.h"
#include "client/cli/cli.h"
#include "client/cli/interrupt.h"

namespace futured::cli {

namespace {

using cheatsheet::Cheatsheet;
using cheatsheet::PrivateDaemon;
using cheatsheet::Row;

constexpr client::Milliseconds kReconnectTimeout(2'000);  // it is ours: who loses it waits for nobody

int measure_all(client::Client client, bool quick, bool json) {
  std::vector<Row> rows;
  Cheatsheet(std::move(client), cheatsheet::sizes_of(quick)).run([&](const Row& row) {
    rows.push_back(row);
    if (json) print_json(cheatsheet::to_json(row));
  });
  if (!json) {
    Table table({"MEASURED", "AMOUNT", "FIGURE", "RATIO"});
    for (const Row& row : rows) table.add(cheatsheet::cells_of(row));
    table.print();
  }
  return cheatsheet::some_failed(rows) ? kJobFailed : kOk;
}

// Ctrl-C ends the daemon, too, and waits for that.
int measure_private(bool quick, const Globals& globals) {
  if (globals.no_start) {
    throw UsageError("bench cheatsheet starts a daemon of its own: leave --no-start out, or give --address");
  }
  Interrupt interrupt;
  const auto daemon = std::make_shared<PrivateDaemon>();
  interrupt.on_first([daemon] {
    complain("ending the private daemon");
    daemon->end();
    ::_exit(kInterrupted);
  });
  struct Ending {
    PrivateDaemon& daemon;
    ~Ending() { daemon.end(); }
  } const ending{*daemon};
  const std::string address = daemon->start();
  if (!globals.json && ::isatty(STDERR_FILENO) == 1) print_to_stderr("measuring with a daemon in a temporary folder\n");
  return measure_all(client::Client::connect(address, {.reconnect_timeout = kReconnectTimeout}), quick, globals.json);
}

}  // namespace

void add_cheatsheet(CLI::App& bench, Globals& globals) {
  const auto quick = std::make_shared<bool>(false);
  CLI::App& verb =
      *bench.add_subcommand("cheatsheet", "Serial, thread, async and process beside each other, in one table");
  verb.add_flag("--quick", *quick, "Small sizes: a few seconds, and rougher figures");
  verb.footer(
      "Waits, computes, maps, switches and hands over bytes: one after another in fut itself, and as jobs on pools\n"
      "of mode thread, async and process. A ratio is how many times as fast a row is as the one it names. What the\n"
      "daemon does not have, or has no pool for, is a row that says so.\n\n"
      "A private daemon is started in a temporary folder (of TMPDIR, else /tmp), and removed at the end and at "
      "Ctrl-C.\n"
      "With --address that daemon is measured: its list keeps up to a few thousand jobs, and a queue, fut-bench-rate,\n"
      "where it can limit rates. FUTURED_ADDRESS is not looked at.\n\n"
      "Examples:\n"
      "  fut bench cheatsheet\n"
      "  fut bench cheatsheet --quick --json | jq 'select(.row == \"cpu_speeds\")'\n"
      "  fut bench cheatsheet --address unix:/run/futured/futured.sock\n\n"
      "Exits 1 when a row failed that ought to have been measured; docs/benchmarks.md tells what each is.\n");
  verb.callback([&globals, quick] {
    globals.action = [&globals, quick] {
      return globals.address.empty() ? measure_private(*quick, globals)
                                     : measure_all(connect_only(globals), *quick, globals.json);
    };
  });
}

}  // namespace futured::cli
