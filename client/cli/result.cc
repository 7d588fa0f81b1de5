// fut result: what a job returned.
#include <memory>
#include <optional>

#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/output.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::uint64_t id = 0;
  std::optional<std::size_t> part;
};

// In JSON a job without a result is an answer, too.
client::Outcome ask(const client::Client& client, std::uint64_t id, bool json) {
  try {
    return client.result(id);
  } catch (const client::Unavailable&) {
    throw;
  } catch (const client::Error& error) {
    const std::string number = std::to_string(id);
    const bool open = error.kind() == client::ErrorKind::kFailedPrecondition;
    const std::string why = open ? "job " + number + " has not ended: fut wait " + number : error.what();
    if (json) print_json({{"id", id}, {"error", why}});
    throw client::Error(error.kind(), why);
  }
}

int result(const Options& options, const Globals& globals) {
  const client::Client client = connect(globals);
  const client::Outcome outcome = ask(client, options.id, globals.json);
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
      print_to_stderr(part.bytes);
    } else {
      print(part.bytes);
    }
  }
  const std::uint64_t missed_bytes = dropped_bytes(outcome);
  if (missed_bytes != 0) complain(undelivered_text(options.id, missed_bytes));
  if (outcome.succeeded()) return missed_bytes != 0 ? kJobFailed : kOk;
  complain("job " + std::to_string(options.id) + " " + std::string(client::to_string(outcome.state)) + ": " +
           cause_text(outcome.cause));
  return kJobFailed;
}

}  // namespace

void add_result(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("result", "Print what a job returned, byte for byte");
  verb.add_option("id", options->id, "Number of the job")->required()->check(at_least_one());
  verb.add_option("--part", options->part, "This part only, counted from 0");
  verb.footer(
      "Does not wait: see fut wait. A command's standard error goes to standard error. Exits 1 when the job did not\n"
      "succeed, or some of its output was not kept; 4 when it has not ended or is not known.\n\n"
      "Examples:\n"
      "  fut result 42 > out.bin\n"
      "  fut result --json 42\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return result(*options, globals); }; });
}

}  // namespace futured::cli
