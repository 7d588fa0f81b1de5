// fut result: what a job returned.
#include <cstdio>
#include <memory>
#include <optional>

#include "client/cli/cli.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::uint64_t id = 0;
  std::optional<std::size_t> part;
};

int result(const Options& options, const Globals& globals) {
  const client::Client client = connect(globals);
  const client::Outcome outcome = client.result(options.id);
  if (globals.json) {
    print_json(to_json(outcome));
    return outcome.succeeded() ? kOk : kJobFailed;
  }
  if (options.part && *options.part >= outcome.result.size()) {
    throw UsageError("--part: job " + std::to_string(options.id) + " has " + std::to_string(outcome.result.size()) +
                     " parts, counted from 0");
  }
  for (std::size_t i = 0; i < outcome.result.size(); ++i) {
    if (options.part && *options.part != i) continue;
    const client::Part& part = outcome.result[i];
    if (is_stderr(part) && !options.part) {
      std::fwrite(part.bytes.data(), 1, part.bytes.size(), stderr);
    } else {
      print(part.bytes);
    }
  }
  if (outcome.succeeded()) return kOk;
  complain("job " + std::to_string(options.id) + " " + std::string(client::to_string(outcome.state)) + ": " +
           describe(outcome.cause));
  return kJobFailed;
}

}  // namespace

void add_result(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("result", "Print what a job returned, byte for byte");
  verb.add_option("id", options->id, "Number of the job")->required()->check(CLI::PositiveNumber);
  verb.add_option("--part", options->part, "This part only, counted from 0");
  verb.footer(
      "Does not wait: see fut wait. A command's standard error goes to standard error.\n\n"
      "Examples:\n"
      "  fut result 42 > out.bin\n"
      "  fut result --json 42\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return result(*options, globals); }; });
}

}  // namespace futured::cli
