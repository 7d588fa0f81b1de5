// fut stats: the daemon in figures.
#include "client/cli/cli.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

int stats(const Globals& globals) {
  const client::Statistics statistics = connect(globals).stats();
  if (globals.json) {
    Json json;
    for (const auto& [name, value] : statistics.figures) json[name] = value;
    print_json(json);
    return kOk;
  }
  Table table({"FIGURE", "VALUE"});
  for (const auto& [name, value] : statistics.figures) table.add({name, std::to_string(value)});
  table.print();
  return kOk;
}

}  // namespace

void add_stats(CLI::App& app, Globals& globals) {
  CLI::App& verb = *app.add_subcommand("stats", "Show the daemon's figures");
  verb.footer(
      "Units are in the names; what has none is a number of things. content_* are the files of large payloads\n"
      "and results.\n\nExamples:\n  fut stats\n  fut stats --json | jq .queued\n");
  verb.callback([&globals] { globals.action = [&globals] { return stats(globals); }; });
}

}  // namespace futured::cli
