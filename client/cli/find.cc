// fut find: the jobs that an idempotency key stands for.
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/output.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

int find(const std::string& key, const Globals& globals) {
  require_utf8("key", key);
  const client::KeyedJobs jobs = connect(globals).find(key);
  if (globals.json) {
    print_json({{"key", key}, {"first_id", jobs.first_id}, {"count", jobs.count}});
  } else {
    const std::string last = jobs.count > 1 ? "-" + std::to_string(jobs.first_id + jobs.count - 1) : "";
    print(std::to_string(jobs.first_id) + last + "\n");
  }
  return kOk;
}

}  // namespace

void add_find(CLI::App& app, Globals& globals) {
  const auto key = std::make_shared<std::string>();
  CLI::App& verb = *app.add_subcommand("find", "Print the number of the job that was submitted with a key");
  verb.add_option("key", *key, "As it was given to --key")->required();
  verb.footer(
      "Of a whole batch, the range of its numbers, as other verbs take it.\n\n"
      "Examples:\n"
      "  fut find nightly-2026-11-27\n"
      "  fut attach $(fut find nightly-2026-11-27)\n");
  verb.callback([&globals, key] { globals.action = [&globals, key] { return find(*key, globals); }; });
}

}  // namespace futured::cli
