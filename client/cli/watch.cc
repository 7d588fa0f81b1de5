// fut watch: what happens to jobs, queues and workers, as it happens.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <memory>
#include <optional>
#include <set>
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
    if (bad_sequence == std::errc() && rest == end) {
      watch.from_start = watch.epoch == 0 && watch.sequence == 0;
      return;
    }
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
  Json line = Json::object();
  if (event.epoch != 0) line = {{"epoch", event.epoch}, {"sequence", event.sequence}};
  line["time_us"] = event.time_us;
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
  const std::string why = why_text(job.state, job.cause);
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

bool takes(const client::JobFilter& filter, const client::JobEvent& job) {
  const auto among = [](const auto& wanted, auto found) {
    return wanted.empty() || std::ranges::find(wanted, found) != wanted.end();
  };
  const auto is = [](const std::string& wanted, const std::string& found) { return wanted.empty() || wanted == found; };
  return among(filter.states, job.state) && among(filter.causes, job.cause.kind) && is(filter.queue, job.queue) &&
         is(filter.task, job.task) && is(filter.name, job.name) &&
         filter.owner_uid.value_or(job.owner_uid) == job.owner_uid;
}

// How it ended, as the event that was there before anybody watched.
client::Event end_of(const client::JobInfo& job) {
  return {.time_us = job.finished_us,
          .what = client::JobEvent{.id = job.id,
                                   .state = job.state,
                                   .attempt = job.attempts,
                                   .queue = job.queue,
                                   .task = job.task,
                                   .name = job.name,
                                   .owner_uid = job.owner_uid,
                                   .cause = job.cause}};
}

// Prints events until somebody interrupts; of named jobs, until all of them have ended.
class Watching {
 public:
  Watching(const client::Client& client, client::WatchOptions what, const Options& options, bool json)
      : client_(client), what_(std::move(what)), json_(json), left_(options.count) {
    if (what_.ids.empty()) return;
    open_.emplace(what_.ids.begin(), what_.ids.end());
    filter_ = std::exchange(what_.filter, {});  // of a named job the end must be heard of, be it printed or not
  }

  int until_over() {
    try {
      client_.watch(
          what_, [this](const client::Event& event) { return take(event); }, [this] { begin(); },
          [this] { catch_up(); });
    } catch (const Over&) {
    }
    return is_one_unknown_ ? kRefused : kOk;
  }

 private:
  struct Over {};  // out of Client::watch, where no event comes that could end it

  void begin() {
    // Who resumes is told in order, by the events themselves.
    look_at_open(/*ends=*/!resumes());
    if (is_over()) throw Over();
  }

  // Of a job that is named and has ended, no event told so: its end lies before the one behind which this goes on.
  void catch_up() {
    if (resumes()) look_at_open(/*ends=*/true);
    if (is_over()) throw Over();
  }

  // False: it is over.
  bool take(const client::Event& event) {
    if (event.gap) complain("some events before this one are gone: fut ls tells how the jobs stand");
    const auto* const job = std::get_if<client::JobEvent>(&event.what);
    if (job == nullptr || is_wanted(*job)) print_one(event);
    if (job != nullptr && open_ && client::is_terminal(job->state)) open_->erase(job->id);
    if (event.gap && open_) look_at_open(/*ends=*/true);
    return !is_over();
  }

  [[nodiscard]] bool resumes() const { return what_.epoch != 0 || what_.from_start; }
  [[nodiscard]] bool is_wanted(const client::JobEvent& job) const {
    return !open_ || (open_->contains(job.id) && takes(filter_, job));
  }
  [[nodiscard]] bool is_over() const { return (open_ && open_->empty()) || is_count_reached_; }

  void print_one(const client::Event& event) {
    if (is_count_reached_) return;
    const bool only_a_gap = std::holds_alternative<std::monostate>(event.what);
    if (json_) {
      print_json(event_json(event));
    } else if (!only_a_gap) {
      print(to_line(event));
    }
    if (!only_a_gap && left_ != 0) is_count_reached_ = --left_ == 0;
  }

  // What no event will tell of the named jobs: that there is none of that number; and that it has ended.
  void look_at_open(bool ends) {
    if (!open_) return;
    for (auto id = open_->begin(); id != open_->end();) {
      bool goes_on = true;
      try {
        const client::JobInfo job = client_.job(*id);
        goes_on = !ends || !client::is_terminal(job.state);
        const client::Event end = end_of(job);
        if (!goes_on && is_wanted(std::get<client::JobEvent>(end.what))) print_one(end);
      } catch (const client::Error& error) {
        if (error.kind() != client::ErrorKind::kNotFound) throw;
        if (json_) print_json({{"id", *id}, {"error", error.what()}});
        complain(error.what());
        is_one_unknown_ = true;
        goes_on = false;
      }
      id = goes_on ? std::next(id) : open_->erase(id);
    }
  }

  const client::Client& client_;
  client::WatchOptions what_;
  const bool json_;
  std::uint64_t left_;  // lines to print; 0 = no matter how many
  bool is_count_reached_ = false;
  bool is_one_unknown_ = false;
  std::optional<std::set<std::uint64_t>> open_;  // the named jobs that have not ended; nothing: none are named
  client::JobFilter filter_;                     // for the named ones
};

int watch(const Options& options, const Globals& globals) {
  client::WatchOptions what = watch_of(options);
  const client::Client client = connect(globals);
  return Watching(client, std::move(what), options, globals.json).until_over();
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
  verb.add_option("--since", options->since, "Go on behind that event; 0:0: from the first one that is kept")
      ->type_name("EPOCH:SEQUENCE");
  verb.footer(
      "Goes on until Ctrl-C, across restarts of the daemon; where jobs are named, until all of them have ended, and "
      "of\n"
      "one that had ended before, its end is printed at once. Exits 4 when one of them is not known. Events that the\n"
      "daemon does not have any more are said to be missing. A job that ends within milliseconds is told to run when\n"
      "it has ended.\n"
      "Of what a task reports of its progress in quick succession, the last is printed.\n"
      "Events are kept from the first watch of a daemon's life on, the last 65,536 of them.\n"
      "With --heartbeats the daemon tells of a job that is alive when its --heartbeat-timeout would have been over.\n\n"
      "Examples:\n"
      "  fut watch\n"
      "  fut watch 42 50-60\n"
      "  fut watch --queue nightly --state failed --state timed_out\n"
      "  fut watch --workers --queues --mine\n"
      "  fut watch --json -n 100 | jq -r '[.id, .state] | @tsv'\n"
      "  fut watch --json --since 3:4711\n"
      "  fut watch --since 0:0\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return watch(*options, globals); }; });
}

}  // namespace futured::cli
