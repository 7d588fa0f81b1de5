// fut why: what a job waits for.
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

std::string to_line(const client::Why& why) {
  if (why.position == 0) return why.text;
  return why.text + "; " + (why.is_position_estimated ? "about " : "") + "number " + std::to_string(why.position) +
         " in its queue";
}

Json to_json(std::uint64_t id, const client::Why& why) {
  Json json = {{"id", id}, {"why", why.text}};
  if (why.position == 0) return json;
  json["position"] = why.position;
  json["position_estimated"] = why.is_position_estimated;
  return json;
}

int why(const std::vector<std::string>& words, const Globals& globals) {
  const std::vector<std::uint64_t> ids = parse_ids(words);
  const client::Client client = connect(globals);
  int code = kOk;
  for (const std::uint64_t id : ids) {
    try {
      const client::Why why = client.why(id);
      if (globals.json) {
        print_json(to_json(id, why));
      } else {
        print(std::to_string(id) + " " + one_line(to_line(why)) + "\n");
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
      "One line a job. Of one that runs, for how long it has; of one that has ended, how. Of one that is queued also "
      "its\n"
      "place among those of its queue that go to the same pool; where a queue is long, about.\n\n"
      "Examples:\n"
      "  fut why 42\n"
      "  fut why --json 3-10\n");
  verb.callback([&globals, ids] { globals.action = [&globals, ids] { return why(*ids, globals); }; });
}

}  // namespace futured::cli
