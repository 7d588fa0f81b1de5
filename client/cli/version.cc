// fut version: of fut, and of the daemon if one is running.
#include "client/cli/cli.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

int version(const Globals& globals) {
  std::string daemon;
  try {
    daemon = connect_only(globals).info().version;
  } catch (const client::Error&) {
    daemon.clear();  // none running is a fine answer here
  }
  if (globals.json) {
    print_json({{"fut", FUTURED_VERSION}, {"futured", daemon.empty() ? Json() : Json(daemon)}});
  } else {
    print("fut " FUTURED_VERSION "\n" +
          (daemon.empty() ? std::string("no daemon answers\n") : "futured " + daemon + "\n"));
  }
  return kOk;
}

}  // namespace

void add_version(CLI::App& app, Globals& globals) {
  CLI::App& verb = *app.add_subcommand("version", "Print versions of fut and of the running daemon");
  verb.footer("Starts nothing.\n\nExamples:\n  fut version\n  fut version --json\n");
  verb.callback([&globals] { globals.action = [&globals] { return version(globals); }; });
}

}  // namespace futured::cli
