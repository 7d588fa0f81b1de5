// fut watch: what happens to jobs, queues and workers, as it happens.
#include <unistd.h>

#include <charconv>
#include <memory>
#include <utility>
#include <variant>

#include "base/limits.h"
#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/output.h"
#include "client/cli/task_progress.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::vector<std::string> ids;
  std::vector<std::string> states;
  std::string queue;
  std::string task;
  std::string name;
  bool mine = false;
  bool quarantined = false;
  bool no_progress = false;
  bool heartbeats = false;
  bool queues = false;
  bool workers = false;
  std::uint64_t count = 0;
  std::string since;
};

// "EPOCH:SEQUENCE", as a line of --json has them.
void read_since(const std::string& word, client::WatchOptions& watch) {
  const char* const end = word.data() + word.size();
  const auto [colon, bad_epoch] = std::from_chars(word.data(), end, watch.epoch);
  if (bad_epoch == std::errc() && colon != end && *colon == ':') {
    const auto [rest, bad_sequence] = std::from_chars(colon + 1, end, watch.sequence);
    if (bad_sequence == std::errc() && rest == end) return;
  }
  throw UsageError("--since: \"" + word + "\" is not EPOCH:SEQUENCE, as the lines of --json have them");
}

client::WatchOptions watch_of(const Options& options) {
  require_utf8("--queue", options.queue);
  require_utf8("--task", options.task);
  require_utf8("--name", options.name);
  client::WatchOptions watch;
  watch.filter = {
      .states = parse_states(options.states), .queue = options.queue, .task = options.task, .name = options.name};
  if (options.quarantined) watch.filter.causes = {client::CauseKind::kQuarantined};
  watch.progress = !options.no_progress;
  watch.heartbeats = options.heartbeats;
  watch.queues = options.queues;
  watch.workers = options.workers;
  if (options.mine) watch.filter.owner_uid = ::getuid();
  watch.ids = parse_ids(options.ids);
  if (!options.since.empty()) read_since(options.since, watch);
  return watch;
}

void put(std::monostate /*nothing*/, Json& line) { line["event"] = "gap"; }

void put(const client::JobEvent& job, Json& line) {
  line["event"] = job.report ? "progress" : job.heartbeat ? "heartbeat" : "job";
  line["id"] = job.id;
  line["state"] = std::string(client::to_string(job.state));
  line["attempt"] = job.attempt;
  line["queue"] = job.queue;
  if (!job.task.empty()) line["task"] = job.task;
  if (!job.name.empty()) line["name"] = job.name;
  line["owner_uid"] = job.owner_uid;
  if (job.cause.kind != client::CauseKind::kNone) line["cause"] = to_json(job.cause);
  if (job.heartbeat) line["alive_us"] = job.heartbeat->alive_us;
  if (!job.report) return;
  line["progress"] = job.report->fraction;
  if (!job.report->message.empty()) line["progress_message"] = job.report->message;
}

void put(const client::QueueEvent& queue, Json& line) {
  line["event"] = "queue";
  line["queue"] = queue.queue;
  line["discipline"] = queue.discipline;
  line["paused"] = queue.paused;
}

void put(const client::WorkerEvent& worker, Json& line) {
  line["event"] = "worker";
  line["pool"] = worker.pool;
  line["slot"] = worker.slot;
  line["generation"] = worker.generation;
  line["pid"] = worker.pid;
  line["ended"] = worker.ended;
  if (!worker.ended) return;
  line[worker.signal != 0 ? "signal" : "exit_code"] = worker.signal != 0 ? worker.signal : worker.exit_code;
}

Json event_json(const client::Event& event) {
  Json line = {{"epoch", event.epoch}, {"sequence", event.sequence}, {"time_us", event.time_us}};
  std::visit([&](const auto& what) { put(what, line); }, event.what);
  if (event.gap) line["gap"] = true;
  return line;
}

std::string words(std::monostate /*nothing*/) { return {}; }

std::string words(const client::JobEvent& job) {
  std::string state(client::to_string(job.state));
  state.resize(std::max<std::size_t>(state.size(), 9), ' ');
  std::string text = std::to_string(job.id) + " " + state + " ";
  text += !job.name.empty() ? job.name : !job.task.empty() ? job.task : "(command)";
  if (job.queue != "default") text += " in " + job.queue;
  if (job.attempt > 1) text += ", attempt " + std::to_string(job.attempt);
  if (job.report) return text + " " + progress_text(job.report->fraction, job.report->message);
  if (job.heartbeat) return text + " is alive: last sign of life at " + clock_text(job.heartbeat->alive_us);
  const std::string why = cause_text(job.cause);
  if (!why.empty() && job.state != client::JobState::kSucceeded) text += ": " + why;
  return text;
}

std::string words(const client::QueueEvent& queue) {
  return "queue " + queue.queue + " (" + queue.discipline + ") is " + (queue.paused ? "paused" : "open");
}

std::string words(const client::WorkerEvent& worker) {
  std::string text = "worker " + worker.pool + "/" + std::to_string(worker.slot) + " pid " + std::to_string(worker.pid);
  if (!worker.ended) return text + " is there";
  if (worker.signal != 0) return text + " was ended by signal " + std::to_string(worker.signal);
  return text + " exited with code " + std::to_string(worker.exit_code);
}

std::string to_line(const client::Event& event) {
  return clock_text(event.time_us) + "  " + std::visit([](const auto& what) { return words(what); }, event.what) + "\n";
}

int watch(const Options& options, const Globals& globals) {
  const client::WatchOptions what = watch_of(options);
  const client::Client client = connect(globals);
  std::uint64_t left = options.count;
  client.watch(what, [&](const client::Event& event) {
    if (event.gap) complain("some events before this one are gone: fut ls tells how the jobs stand");
    const bool only_a_gap = std::holds_alternative<std::monostate>(event.what);
    if (globals.json) {
      print_json(event_json(event));
    } else if (!only_a_gap) {
      print(to_line(event));
    }
    return only_a_gap || left == 0 || --left > 0;
  });
  return kOk;
}

}  // namespace

void add_watch(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("watch", "Print each change of a job's state, and its progress, as it happens");
  verb.add_option("ids", options->ids, "Of these jobs, or ranges such as 3-10 (default: of all)");
  verb.add_option("--state", options->states, "Into this state; may be given again")->allow_extra_args(false);
  verb.add_option("-q,--queue", options->queue, "In this queue");
  verb.add_option("--task", options->task, "Of this task");
  verb.add_option("--name", options->name, "With this name");
  verb.add_flag("--mine", options->mine, "Submitted by me");
  verb.add_flag("--quarantined", options->quarantined, "Given up because they took down too many workers");
  verb.add_flag("--no-progress", options->no_progress, "Not what tasks report of their progress");
  verb.add_flag("--heartbeats", options->heartbeats, "Also that jobs with --heartbeat-timeout are alive");
  verb.add_flag("--queues", options->queues, "Also queues: made, paused, resumed");
  verb.add_flag("--workers", options->workers, "Also workers: come and ended");
  verb.add_option("-n,--count", options->count, "End after so many lines")->check(at_least_one());
  verb.add_option("--since", options->since, "EPOCH:SEQUENCE: go on behind that event")->type_name("EPOCH:SEQUENCE");
  verb.footer(
      "Goes on until Ctrl-C, across restarts of the daemon. Events that the daemon does not have any more are said to "
      "be\n"
      "missing. A job that ends within milliseconds is told to run when it has ended.\n"
      "Of what a task reports of its progress in quick succession, the last is printed.\n"
      "With --heartbeats the daemon tells of a job that is alive when its --heartbeat-timeout would have been over.\n\n"
      "Examples:\n"
      "  fut watch\n"
      "  fut watch --queue nightly --state failed --state timed_out\n"
      "  fut watch --workers --queues --mine\n"
      "  fut watch --json -n 100 | jq -r '[.id, .state] | @tsv'\n"
      "  fut watch --json --since 3:4711\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return watch(*options, globals); }; });
}

}  // namespace futured::cli
