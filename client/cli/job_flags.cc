#include "client/cli/job_flags.h"

#include <filesystem>
#include <utility>

#include "client/cli/text.h"

namespace futured::cli {

void JobFlags::add_to(CLI::App& verb) {
  verb.add_option("-q,--queue", queue, "Queue (default: default)")->group("Job");
  verb.add_option("--pool", pool, "Pool of workers (default: the queue's)")->group("Job");
  verb.add_option("--priority", priority, "Higher goes first, in queues of discipline priority")->group("Job");
  verb.add_option("--attempts", attempts, "Runs in all before it fails (default: the queue's, else 1)")->group("Job");
  verb.add_option("--backoff", backoff, "Wait before the second attempt; doubles")->group("Job");
  verb.add_option("--timeout", timeout, "Kill an attempt that runs longer")->group("Job");
  verb.add_option("--queue-timeout", queue_timeout, "Give up when not started by then")->group("Job");
  verb.add_option("--total-timeout", total_timeout, "Over all attempts")->group("Job");
  verb.add_option("--grace", grace, "Between SIGTERM and the kill (default: 1s)")->group("Job");
  verb.add_option("--delay", delay, "Start no earlier than so long from now")->group("Job");
  verb.add_flag("--at-most-once", at_most_once, "Never run twice, not even after a crash")->group("Job");
  verb.add_option("--name", name, "Shown in lists")->group("Job");
  verb.add_option("--label", labels, "NAME=VALUE; may be given again")->group("Job")->allow_extra_args(false);
  verb.add_option("--after", after, "Start when this job has ended; may be given again")
      ->group("Job")
      ->allow_extra_args(false);
  verb.add_option("--after-ok", after_ok, "The same, and it must have succeeded")
      ->group("Job")
      ->allow_extra_args(false);
}

client::JobOptions JobFlags::options() const {
  const auto duration = [](const std::string& word, const char* option) {
    return word.empty() ? client::Milliseconds(0) : parse_duration(word, option);
  };
  client::JobOptions options;
  options.queue = queue;
  options.pool = pool;
  options.priority = priority;
  options.retries.max_attempts = attempts;
  options.retries.backoff = duration(backoff, "--backoff");
  options.timeouts.run = duration(timeout, "--timeout");
  options.timeouts.queue = duration(queue_timeout, "--queue-timeout");
  options.timeouts.total = duration(total_timeout, "--total-timeout");
  options.timeouts.grace = duration(grace, "--grace");
  options.start_after = duration(delay, "--delay");
  options.at_most_once = at_most_once;
  options.name = name;
  for (const std::string& label : labels) {
    const std::size_t equals = label.find('=');
    if (equals == std::string::npos) throw UsageError("--label: \"" + label + "\" has no '=': write NAME=VALUE");
    options.labels[label.substr(0, equals)] = label.substr(equals + 1);
  }
  options.after = parse_ids(after);
  options.after_success = parse_ids(after_ok);
  return options;
}

void CommandFlags::add_to(CLI::App& verb) {
  verb.add_option("--env", env, "NAME=VALUE added to the environment; may be given again")
      ->group("Command")
      ->allow_extra_args(false);
  verb.add_option("--cwd", cwd, "Directory to run in (default: this one)")->group("Command");
}

client::CommandLine CommandFlags::command(std::vector<std::string> argv) const {
  client::CommandLine command;
  command.argv = std::move(argv);
  command.env = env;
  for (const std::string& setting : env) {
    if (setting.find('=') == std::string::npos || setting.starts_with('=')) {
      throw UsageError("--env: \"" + setting + "\" is not NAME=VALUE");
    }
  }
  std::error_code problem;
  const std::filesystem::path directory =
      cwd.empty() ? std::filesystem::current_path(problem) : std::filesystem::absolute(cwd, problem);
  if (problem) throw UsageError("--cwd: " + problem.message() + ": name a directory that exists");
  command.cwd = directory.string();
  return command;
}

}  // namespace futured::cli
