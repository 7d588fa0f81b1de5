// fut submit: leaves a command behind as a job and prints its number.
#include <memory>

#include "client/cli/acceptance.h"
#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_flags.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  JobFlags job;
  KeyFlag key;
  CommandFlags command;
  bool read_stdin = false;
  std::vector<std::string> argv;
};

int submit(const Options& options, const Globals& globals) {
  client::CommandLine command = options.command.command(options.argv);
  if (options.read_stdin && command.stdin_result_of != 0) {
    throw UsageError("--stdin and --stdin-result-of: standard input is one of them");
  }
  if (options.read_stdin) command.stdin_bytes = read_standard_input();
  client::JobOptions job = options.job.options();
  job.follow = false;
  Interrupt interrupt;
  const client::Client client = connect(globals);
  if (options.command.has_private_directory(client, job.pool)) command.cwd.clear();
  interrupt.hold();
  const std::uint64_t id = AcceptanceWatch().id_of(client.executor(job).submit(command, options.key.options()));
  interrupt.release();
  if (globals.json) {
    print_json({{"id", id}});
  } else {
    print(std::to_string(id) + "\n");
  }
  return kOk;
}

}  // namespace

void add_submit(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("submit", "Leave a command behind as a job; prints its number");
  options->job.add_to(verb);
  options->key.add_to(verb);
  options->command.add_to(verb);
  verb.add_flag("--stdin", options->read_stdin, "Hand my standard input to the command")->group("Command");
  add_words(verb, "command", options->argv, "Words of the command; write -- before them when they have options");
  verb.footer(
      "The number is printed once the job is on disk.\n\n"
      "Examples:\n"
      "  fut submit -- ./nightly.sh\n"
      "  fut submit --key nightly-$(date +%F) -- ./nightly.sh\n"
      "  fut submit --at 2026-12-01T08:00 -- ./report.sh\n"
      "  fut submit --in 5m -- ./retry-upload.sh\n"
      "  id=$(fut submit --timeout 1h -- ./long.sh); fut wait $id\n"
      "  fut submit --after-any 12,13 -- ./publish.sh\n"
      "  fut submit --stdin-result-of 12 -- sort\n");
  verb.callback([&globals, options] {
    options->argv = command_words("submit", options->argv, globals);
    globals.action = [&globals, options] { return submit(*options, globals); };
  });
}

}  // namespace futured::cli
