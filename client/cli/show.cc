// fut show: everything about a job.
#include <memory>

#include "base/time.h"
#include "client/cli/cli.h"
#include "client/cli/task_progress.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

void line(const char* name, const std::string& value) {
  if (value.empty()) return;
  std::string text = name;
  text.resize(12, ' ');
  print(text + value + "\n");
}

std::string number(std::uint64_t value) { return value == 0 ? std::string() : std::to_string(value); }

std::string joined(const std::map<std::string, std::string>& labels) {
  std::string text;
  for (const auto& [name, value] : labels) text += (text.empty() ? "" : " ") + name + "=" + value;
  return text;
}

std::string end_of(const client::AttemptInfo& attempt) {
  if (attempt.cause.signal != 0) return "signal " + std::to_string(attempt.cause.signal);
  if (attempt.cause.exit_code != 0) return "exit " + std::to_string(attempt.cause.exit_code);
  return "-";
}

void show_attempts(const std::vector<client::AttemptInfo>& attempts) {
  Table table({"ATTEMPT", "STATE", "STARTED", "TOOK", "WORKER", "PID", "END", "MEMORY", "CAUSE"});
  const auto or_dash = [](std::string text) { return text.empty() ? "-" : text; };
  for (const client::AttemptInfo& attempt : attempts) {
    const bool ended = attempt.finished_us != 0;
    table.add(
        {std::to_string(attempt.number), std::string(client::to_string(attempt.state)),
         or_dash(time_text(attempt.started_us)), ended ? duration_text(attempt.finished_us - attempt.started_us) : "-",
         or_dash(attempt.worker), or_dash(number(static_cast<std::uint64_t>(attempt.worker_pid))), end_of(attempt),
         attempt.peak_memory_bytes == 0 ? "-" : bytes_text(attempt.peak_memory_bytes), cause_text(attempt.cause)});
  }
  table.print();
}

// What is printed last is read first: of the attempts before, fut show --json has the output.
void show_output(const char* title, const std::string& tail) {
  if (!tail.empty()) print(title + tail + (tail.ends_with('\n') ? "" : "\n"));
}

void show(const client::JobInfo& job) {
  line("job", std::to_string(job.id) + (job.name.empty() ? "" : " " + job.name));
  line("state", std::string(client::to_string(job.state)));
  line("cause", cause_text(job.cause));
  line(job.task.empty() ? "command" : "task", job.task.empty() ? quoted(job.argv) : job.task);
  line("directory", job.cwd);
  line("queue", job.queue);
  line("pool", job.pool);
  if (job.priority != 0) line("priority", std::to_string(job.priority));
  line("labels", joined(job.labels));
  line("owner", job.owner.empty() ? std::to_string(job.owner_uid) : job.owner);
  line("submitted", time_text(job.submitted_us));
  line("start at", time_text(job.start_at_us));
  line("started", time_text(job.started_us));
  line("finished", time_text(job.finished_us));
  if (job.finished_us != 0 && job.started_us != 0) line("took", duration_text(job.finished_us - job.started_us));
  if (job.progress != 0 || !job.progress_message.empty()) {
    line("progress", progress_text(job.progress, job.progress_message));
  }
  if (job.alive_us != 0) line("alive", "last sign of life " + duration_text(wall_now().us - job.alive_us) + " ago");
  line("next try", time_text(job.next_attempt_us));
  line("attempts", number(job.attempts));
  line("retry of", number(job.retry_of));
  line("retried by", number(job.retried_by));
  if (job.at_most_once) line("runs", "at most once");
  line("payload", bytes_text(static_cast<std::int64_t>(job.payload_bytes)));
  line("result", job.result_bytes == 0 ? "" : bytes_text(static_cast<std::int64_t>(job.result_bytes)));
  if (!job.attempt_history.empty()) show_attempts(job.attempt_history);
  for (const client::AttemptInfo& attempt : job.attempt_history) {
    if (!attempt.cause.stacks.empty()) {
      print("stacks of attempt " + std::to_string(attempt.number) + ":\n" + attempt.cause.stacks);
    }
  }
  show_output("last of standard output:\n", job.cause.stdout_tail);
  show_output("last of standard error:\n", job.cause.stderr_tail);
}

int show_all(const std::vector<std::string>& words, const Globals& globals) {
  const std::vector<std::uint64_t> ids = parse_ids(words);
  const client::Client client = connect(globals);
  int code = kOk;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    client::JobInfo job;
    try {
      job = client.job(ids[i], /*details=*/true);
    } catch (const client::Error& error) {
      if (error.kind() != client::ErrorKind::kNotFound) throw;
      if (globals.json) print_json({{"id", ids[i]}, {"error", error.what()}});
      complain(error.what());
      code = kRefused;
      continue;
    }
    if (globals.json) {
      Json json = to_json(job);
      if (job.alive_us != 0) json["alive_us"] = job.alive_us;
      print_json(json);
    } else {
      if (i != 0) print("\n");
      show(job);
    }
  }
  return code;
}

}  // namespace

void add_show(CLI::App& app, Globals& globals) {
  const auto ids = std::make_shared<std::vector<std::string>>();
  CLI::App& verb = *app.add_subcommand("show", "Show everything about a job");
  verb.add_option("ids", *ids, "Numbers of jobs, or ranges such as 3-10")->required();
  verb.footer("Examples:\n  fut show 42\n  fut show --json 42\n");
  verb.callback([&globals, ids] { globals.action = [&globals, ids] { return show_all(*ids, globals); }; });
}

}  // namespace futured::cli
