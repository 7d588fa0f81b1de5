// fut show: everything about a job.
#include <unistd.h>

#include <map>
#include <memory>
#include <span>

#include "base/limits.h"
#include "base/time.h"
#include "client/cli/cli.h"
#include "client/cli/options_text.h"
#include "client/cli/task_progress.h"
#include "client/cli/text.h"
#include "client/cli/wait_notices.h"

namespace futured::cli {

namespace {

void line(const char* name, const std::string& value) {
  if (value.empty()) return;
  std::string text = name;
  text.resize(12, ' ');
  print(text + one_line(value) + "\n");
}

std::string number(std::uint64_t value) { return value == 0 ? std::string() : std::to_string(value); }

std::string joined(const std::map<std::string, std::string>& labels) {
  std::string text;
  for (const auto& [name, value] : labels) text += (text.empty() ? "" : " ") + name + "=" + value;
  return text;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

std::string end_of(const client::AttemptInfo& attempt) {
  if (attempt.cause.signal != 0) return "signal " + std::to_string(attempt.cause.signal);
  if (attempt.cause.exit_code != 0) return "exit " + std::to_string(attempt.cause.exit_code);
  return "-";
}

void show_attempts(const std::vector<client::AttemptInfo>& attempts) {
  Table table({"ATTEMPT", "STATE", "STARTED", "TOOK", "WORKER", "PID", "END", "MEMORY", "LIMIT", "CAUSE"});
  const auto or_dash = [](std::string text) { return text.empty() ? "-" : text; };
  const auto memory = [](std::int64_t bytes) { return bytes == 0 ? "-" : bytes_text(bytes); };
  for (const client::AttemptInfo& attempt : attempts) {
    const bool ended = attempt.finished_us != 0;
    table.add({std::to_string(attempt.number), std::string(client::to_string(attempt.state)),
               or_dash(time_text(attempt.started_us)),
               ended ? duration_text(attempt.finished_us - attempt.started_us) : "-", or_dash(attempt.worker),
               or_dash(number(static_cast<std::uint64_t>(attempt.worker_pid))), end_of(attempt),
               memory(attempt.peak_memory_bytes), memory(attempt.memory_bytes_max), cause_text(attempt.cause)});
  }
  table.print();
}

// What a job wrote, byte for byte; but a terminal would obey some of them.
void show_output(const std::string& title, const std::string& output) {
  if (output.empty()) return;
  print(title + ":\n" + (::isatty(STDOUT_FILENO) != 0 ? harmless_lines(output) : output) +
        (output.ends_with('\n') ? "" : "\n"));
}

std::string joined(const std::vector<std::uint64_t>& ids) {
  std::vector<std::string> words;
  for (const std::uint64_t id : ids) words.push_back(std::to_string(id));
  return joined(words);
}

std::string parent_text(const client::Dependency& one) {
  if (!one.event.empty()) return "event " + one.event;
  const char* const on = one.on == client::Dependency::On::kEnd       ? " ended"
                         : one.on == client::Dependency::On::kSuccess ? " succeeded"
                                                                      : " failed";
  return (one.batch != 0 ? "batch:" + std::to_string(one.batch) : std::to_string(one.job)) + on;
}

// What must hold by itself, and then each choice.
std::vector<std::string> depends_on_texts(const std::vector<client::Dependency>& all) {
  std::map<std::uint32_t, std::vector<std::string>> groups;
  for (const client::Dependency& one : all) groups[one.any_of_group].push_back(parent_text(one));
  std::vector<std::string> texts;
  for (const auto& [group, parents] : groups) texts.push_back((group != 0 ? "one of " : "") + joined(parents));
  return texts;
}

void show_options(const client::JobOptions& options) {
  line("after", joined(options.after));
  line("after ok", joined(options.after_success));
  line("after fail", joined(options.after_failure));
  line("when", joined(options.when));
  for (const std::string& text : depends_on_texts(options.depends_on)) line("after", text);
  if (options.max_failures) line("failures", "at most " + std::to_string(*options.max_failures) + " of its batch");
  line("timeouts", timeouts_text(options.timeouts));
  line("retries", retries_text(options.retries));
  line("retry only", joined(options.retries.only_classes));
  line("never retry", joined(options.retries.except_classes));
  line("crashes", crashes_text(options));
}

// Hit, joined or miss, and whose outcome it is; with --cache-explain also why.
std::string cache_text(const client::JobInfo& job) {
  if (!job.cache_note.empty()) return job.cache_note;
  if (job.from_cache) return "from another job";
  const bool is_miss = job.options && job.options->cache && job.attempts > 0;
  return is_miss ? "miss: it ran itself" : "";
}

void show(const client::JobInfo& job, const std::string& why, std::span<const client::CallbackInfo> callbacks) {
  line("job", std::to_string(job.id) + (job.name.empty() ? "" : " " + job.name));
  line("state", std::string(client::to_string(job.state)));
  if (job.stop) line("stopping", stop_text(*job.stop));
  if (!job.waits_for.empty()) line("waits for", numbers_text(job.waits_for, 100));
  line("why", why);
  line("cause", why_text(job.state, job.cause));
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
  line("cache", cache_text(job));
  if (job.options && job.options->cache) line("caching", caching_text(job.options->caching));
  line("retry of", number(job.retry_of));
  line("retried by", number(job.retried_by));
  line("parent", number(job.parent_id));
  if (job.batch_id != 0 && job.batch_id != job.id)
    line("batch", number(job.batch_id) + ": fut ls --batch " + number(job.batch_id));
  if (job.at_most_once) line("runs", "at most once");
  if (job.options) show_options(*job.options);
  line("callbacks", callbacks_text(callbacks));
  line("payload", bytes_text(static_cast<std::int64_t>(job.payload_bytes)));
  line("result", job.result_bytes == 0 ? "" : bytes_text(static_cast<std::int64_t>(job.result_bytes)));
  if (!job.attempt_history.empty()) show_attempts(job.attempt_history);
  for (const client::AttemptInfo& attempt : job.attempt_history) {
    show_output("stacks of attempt " + std::to_string(attempt.number), attempt.cause.stacks);
  }
  // What is printed last is read first: of the attempts before, fut show --json has the output.
  show_output("last of standard output", job.cause.stdout_tail);
  show_output("last of standard error", job.cause.stderr_tail);
}

// A job has at most some hundred. None: the daemon has no callbacks, or forgot the job meanwhile.
std::vector<client::CallbackInfo> callbacks_of(const client::Client& client, std::uint64_t id) {
  try {
    return client.callbacks(id, {}, limits::kListPageMax).callbacks;
  } catch (const client::Error& error) {
    const bool is_none =
        error.kind() == client::ErrorKind::kNotFound || error.kind() == client::ErrorKind::kUnimplemented;
    if (!is_none) throw;
    return {};
  }
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
    const std::string why = is_waiting(job.state) ? client.why(job.id).text : std::string();
    const std::vector<client::CallbackInfo> callbacks = callbacks_of(client, job.id);
    if (globals.json) {
      Json json = to_json(job);
      if (!why.empty()) json["why"] = why;
      if (job.alive_us != 0) json["alive_us"] = job.alive_us;
      for (const client::CallbackInfo& info : callbacks) json["callbacks"].push_back(to_json(info));
      print_json(json);
    } else {
      if (i != 0) print("\n");
      show(job, why, callbacks);
    }
  }
  return code;
}

}  // namespace

void add_show(CLI::App& app, Globals& globals) {
  const auto ids = std::make_shared<std::vector<std::string>>();
  CLI::App& verb = *app.add_subcommand("show", "Show everything about a job");
  verb.add_option("ids", *ids, "Numbers of jobs, or ranges such as 3-10")->required();
  verb.footer(
      "Of a job that was asked to stop and runs still, \"stopping\" says since when, why, and when it will be killed.\n"
      "Of timeouts, retries and crashes it shows what is not as it would be by itself; with --json, all.\n\n"
      "Examples:\n"
      "  fut show 42\n"
      "  fut show --json 42\n");
  verb.callback([&globals, ids] { globals.action = [&globals, ids] { return show_all(*ids, globals); }; });
}

}  // namespace futured::cli
