// fut run: a command as a job, as if it ran here.
#include <memory>

#include "client/cli/acceptance.h"
#include "client/cli/cli.h"
#include "client/cli/follow.h"
#include "client/cli/input.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_flags.h"
#include "client/cli/output.h"
#include "client/cli/text.h"
#include "client/cli/wait_notices.h"

namespace futured::cli {

namespace {

struct Options {
  JobFlags job;
  KeyFlag key;
  CommandFlags command;
  bool read_stdin = false;
  std::vector<std::string> argv;
};

// What the command did, told as run() was asked to. A command whose output nobody takes is ended, as SIGPIPE would.
Followed follow(const client::Client& client, const client::Future& future, bool json) {
  const std::uint64_t id = future.id();
  try {
    return follow_job(client, future, json);
  } catch (const WriteError&) {
    cancel_job(client, id, {.reason = "its output cannot be written", .wait = true});
    throw;
  }
}

int run(const Options& options, const Globals& globals) {
  client::CommandLine command = options.command.command(options.argv);
  if (options.read_stdin && command.stdin_result_of != 0) {
    throw UsageError("--stdin and --stdin-result-of: standard input is one of them");
  }
  if (options.read_stdin) command.stdin_bytes = read_standard_input();
  const client::JobOptions job = options.job.options();
  Interrupt interrupt;
  const client::Client client = connect(globals);
  if (options.command.has_private_directory(client, job.pool)) command.cwd.clear();
  interrupt.hold();
  const client::Future future = client.executor(job).submit(command, options.key.options());
  const std::uint64_t id = AcceptanceWatch().id_of(future);
  cancel_at_interrupt(interrupt, client, id);
  const WaitNotices notices(client.address(), {id});
  const Followed followed = within_sight(id, [&] { return follow(client, future, globals.json); });
  tell_cache_note(job, followed.outcome);
  if (followed.missed_bytes != 0) complain(undelivered_text(id, followed.missed_bytes));
  return interrupt.interrupted() ? kInterrupted : conclude(followed.outcome, followed.missed_bytes);
}

}  // namespace

void add_run(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("run", "Run a command as a job; stream its output, exit with its code");
  options->job.add_to(verb);
  options->key.add_to(verb);
  options->command.add_to(verb);
  verb.add_flag("--stdin", options->read_stdin, "Hand my standard input to the command")->group("Command");
  add_words(verb, "command", options->argv, "Words of the command; write -- before them when they have options");
  verb.footer(
      "Ctrl-C cancels the job; a second one leaves at once.\n"
      "Exits with the command's code; 128 + signal; 127 could not be started; 124 timed out; 130 cancelled.\n"
      "Output comes as it is written. The daemon keeps 64 MiB of each of standard output and standard error, its\n"
      "beginning and its end: what a slow reader misses beyond that is lost. Then run says how much, and exits 1\n"
      "where it would exit 0.\n\n"
      "Examples:\n"
      "  fut run -- make -j4\n"
      "  fut run --timeout 10m --attempts 3 -- ./flaky.sh\n"
      "  tar c src | fut run --stdin -- wc -c\n");
  verb.callback([&globals, options] {
    options->argv = command_words("run", options->argv, globals);
    globals.action = [&globals, options] { return run(*options, globals); };
  });
}

}  // namespace futured::cli
