// fut call: calls a task and prints what it returns.
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_flags.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  JobFlags job;
  std::string task;
  std::vector<std::string> arguments;
  bool detach = false;
};

void print_result(const client::Outcome& outcome, bool json) {
  if (json) {
    print_json(to_json(outcome));
    return;
  }
  for (const client::Part& part : outcome.result) {
    print(part.bytes);
    const bool words = part.content_type == client::kJsonType || part.content_type == client::kTextType;
    if (words && !part.bytes.ends_with('\n')) print("\n");
  }
}

int call(const Options& options, const Globals& globals) {
  std::vector<client::Part> payload;
  for (const std::string& argument : options.arguments) payload.push_back(parse_argument(argument));
  client::JobOptions job = options.job.options();
  job.follow = !options.detach;
  Interrupt interrupt;
  const client::Client client = connect(globals);
  if (!options.detach) interrupt.hold();
  const client::Future future = client.executor(job).submit(options.task, payload);
  const std::uint64_t id = future.id();
  if (options.detach) {
    if (globals.json) {
      print_json({{"id", id}});
    } else {
      print(std::to_string(id) + "\n");
    }
    return kOk;
  }
  cancel_at_interrupt(interrupt, client, id);
  client::Outcome outcome = future.outcome();
  if (outcome.result_elided) outcome = client.result(id);
  if (globals.json || outcome.succeeded()) print_result(outcome, globals.json);
  if (interrupt.interrupted()) return kInterrupted;
  if (outcome.succeeded()) return kOk;
  complain("job " + std::to_string(id) + " " + std::string(client::to_string(outcome.state)) + ": " +
           describe(outcome.cause));
  return outcome.state == client::JobState::kTimedOut ? kTimedOut : kJobFailed;
}

}  // namespace

void add_call(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("call", "Call a task and print what it returns");
  options->job.add_to(verb);
  verb.add_flag("--detach", options->detach, "Do not wait; print the job's number");
  verb.add_option("task", options->task, "Name of the task")->required();
  verb.add_option("arguments", options->arguments, "Each is one part of the payload");
  verb.footer(
      "An argument that parses as JSON is sent as application/json, \"@file\" as the file's bytes, all else as\n"
      "text/plain. Write -- before arguments that begin with a dash.\n\n"
      "Examples:\n"
      "  fut call sha256 @README.md\n"
      "  fut call sum_squares 1000\n"
      "  fut call --timeout 1s sleep 0.2\n");
  verb.callback([&globals, options] {
    options->arguments.insert(options->arguments.end(), globals.words.begin(), globals.words.end());
    globals.action = [&globals, options] { return call(*options, globals); };
  });
}

}  // namespace futured::cli
