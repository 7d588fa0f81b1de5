// fut retry: ended jobs once more, as new jobs.
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

int retry(const std::vector<std::string>& words, const Globals& globals) {
  const std::vector<std::uint64_t> ids = parse_ids(words);
  const client::Client client = connect(globals);
  bool all = true;
  for (const client::RetryEntry& entry : client.retry(ids)) {
    if (entry.new_id == 0) {
      all = false;
      if (!globals.json) complain("job " + std::to_string(entry.id) + ": " + entry.error);
    } else if (!globals.json) {
      print(std::to_string(entry.new_id) + "\n");
    }
    if (globals.json) print_json({{"id", entry.id}, {"new_id", entry.new_id}, {"error", entry.error}});
  }
  return all ? kOk : kRefused;
}

}  // namespace

void add_retry(CLI::App& app, Globals& globals) {
  const auto ids = std::make_shared<std::vector<std::string>>();
  CLI::App& verb = *app.add_subcommand("retry", "Run ended jobs once more; prints the new jobs' numbers");
  verb.add_option("ids", *ids, "Numbers of jobs, or ranges such as 3-10")->required();
  verb.footer("The old job stays as it is; fut show names the one in the other.\n\nExamples:\n  fut retry 42\n");
  verb.callback([&globals, ids] { globals.action = [&globals, ids] { return retry(*ids, globals); }; });
}

}  // namespace futured::cli
