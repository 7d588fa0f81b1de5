// fut run: a command as a job, as if it ran here.
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_flags.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  JobFlags job;
  CommandFlags command;
  bool read_stdin = false;
  std::vector<std::string> argv;
};

void write_all(std::FILE* to, std::string_view bytes) {
  std::fwrite(bytes.data(), 1, bytes.size(), to);
  std::fflush(to);
}

void write_chunk(const client::OutputChunk& chunk) {
  if (chunk.dropped_bytes != 0) {
    complain("[" + bytes_text(static_cast<std::int64_t>(chunk.dropped_bytes)) + " of output not kept]");
  }
  write_all(chunk.kind == client::OutputKind::kStderr ? stderr : stdout, chunk.bytes);
}

void write_parts(const client::Outcome& outcome) {
  for (const client::Part& part : outcome.result) {
    write_all(is_stderr(part) ? stderr : stdout, part.bytes);
  }
}

// The code that a shell would give.
int exit_code_of(const client::Outcome& outcome) {
  const client::Cause& cause = outcome.cause;
  switch (outcome.state) {
    case client::JobState::kSucceeded:
      return kOk;
    case client::JobState::kTimedOut:
      return kTimedOut;
    case client::JobState::kCancelled:
      return kInterrupted;
    case client::JobState::kUnknown:
    case client::JobState::kScheduled:
    case client::JobState::kBlocked:
    case client::JobState::kQueued:
    case client::JobState::kRunning:
    case client::JobState::kFailed:
      break;
  }
  if (cause.kind == client::CauseKind::kCommandNotStarted) return kNotStarted;
  if (cause.kind == client::CauseKind::kCommandSignal) return 128 + cause.signal;
  if (cause.kind == client::CauseKind::kCommandExit && cause.exit_code != 0) return cause.exit_code;
  return kJobFailed;
}

client::Outcome follow(const client::Client& client, const client::Future& future, bool quiet) {
  if (!quiet) {
    try {
      const auto sink = [](const client::OutputChunk& chunk) {
        write_chunk(chunk);
        return true;
      };
      static_cast<void>(client.read_output(future.id(), {.follow = true}, sink));
      return future.outcome();
    } catch (const client::Error& error) {
      if (error.kind() != client::ErrorKind::kUnimplemented) throw;
    }
  }
  client::Outcome outcome = future.outcome();
  if (outcome.result_elided) outcome = client.result(outcome.id);
  if (!quiet) write_parts(outcome);
  return outcome;
}

int run(const Options& options, const Globals& globals) {
  client::CommandLine command = options.command.command(options.argv);
  if (options.read_stdin) command.stdin_bytes = read_standard_input();
  const client::JobOptions job = options.job.options();
  Interrupt interrupt;
  const client::Client client = connect(globals);
  interrupt.hold();
  const client::Future future = client.executor(job).submit(command);
  const std::uint64_t id = future.id();
  cancel_at_interrupt(interrupt, client, id);
  const client::Outcome outcome = follow(client, future, globals.json);
  if (globals.json) print_json(to_json(outcome));
  if (interrupt.interrupted()) return kInterrupted;
  const bool said_by_itself = outcome.cause.kind == client::CauseKind::kCommandExit;
  if (!outcome.succeeded() && !said_by_itself) {
    complain("job " + std::to_string(id) + " " + std::string(client::to_string(outcome.state)) + ": " +
             describe(outcome.cause));
  }
  return exit_code_of(outcome);
}

}  // namespace

void add_run(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("run", "Run a command as a job; stream its output, exit with its code");
  options->job.add_to(verb);
  options->command.add_to(verb);
  verb.add_flag("--stdin", options->read_stdin, "Hand my standard input to the command")->group("Command");
  verb.add_option("command", options->argv, "Words of the command; write -- before them when they have options");
  verb.footer(
      "Ctrl-C cancels the job; a second one leaves at once.\n"
      "Exits with the command's code; 128 + signal; 127 not found; 124 timed out; 130 cancelled.\n\n"
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
