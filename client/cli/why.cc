// fut why: what a job waits for.
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

int why(const std::vector<std::string>& words, const Globals& globals) {
  const std::vector<std::uint64_t> ids = parse_ids(words);
  const client::Client client = connect(globals);
  int code = kOk;
  for (const std::uint64_t id : ids) {
    try {
      const std::string text = client.why(id);
      if (globals.json) {
        print_json({{"id", id}, {"why", text}});
      } else {
        print(std::to_string(id) + " " + one_line(text) + "\n");
      }
    } catch (const client::Error& error) {
      if (error.kind() != client::ErrorKind::kNotFound) throw;
      if (globals.json) print_json({{"id", id}, {"error", error.what()}});
      complain(error.what());
      code = kRefused;
    }
  }
  return code;
}

}  // namespace

void add_why(CLI::App& app, Globals& globals) {
  const auto ids = std::make_shared<std::vector<std::string>>();
  CLI::App& verb = *app.add_subcommand("why", "Say what a job waits for, and what would free it");
  verb.add_option("ids", *ids, "Numbers of jobs, or ranges such as 3-10")->required();
  verb.footer(
      "One line a job. Of one that runs, for how long it has; of one that has ended, how.\n\n"
      "Examples:\n"
      "  fut why 42\n"
      "  fut why --json 3-10\n");
  verb.callback([&globals, ids] { globals.action = [&globals, ids] { return why(*ids, globals); }; });
}

}  // namespace futured::cli
