// fut cancel: jobs that shall not run, or not go on.
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <span>

#include "base/limits.h"
#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"
#include "client/cli/wait_notices.h"

namespace futured::cli {

namespace {

struct Options {
  std::vector<std::string> ids;
  std::string grace;
  std::string reason;
  bool kill = false;
  bool no_wait = false;
  // Instead of ids:
  std::vector<std::string> states;
  std::string queue;
  std::string pool;
  std::string task;
  std::string name;
  std::uint64_t batch = 0;
  bool mine = false;
  bool yes = false;
};

std::string_view word_of(client::CancelDisposition disposition) {
  switch (disposition) {
    case client::CancelDisposition::kCancelled:
      return "cancelled";
    case client::CancelDisposition::kStopping:
      return "stopping";
    case client::CancelDisposition::kAlreadyEnded:
      return "had ended";
    case client::CancelDisposition::kNotFound:
      return "not found";
    case client::CancelDisposition::kUnknown:
      break;
  }
  return "unknown";
}

client::CancelOptions how_of(const Options& options) {
  require_utf8("--reason", options.reason);
  client::CancelOptions how{.kill_at_once = options.kill, .reason = options.reason, .wait = !options.no_wait};
  if (!options.grace.empty()) how.grace = parse_duration(options.grace, "--grace");
  return how;
}

bool is_filtered(const Options& options) {
  return options.mine || options.batch != 0 || !options.states.empty() || !options.queue.empty() ||
         !options.pool.empty() || !options.task.empty() || !options.name.empty();
}

client::JobFilter filter_of(const Options& options) {
  require_utf8("--queue", options.queue);
  require_utf8("--pool", options.pool);
  require_utf8("--task", options.task);
  require_utf8("--name", options.name);
  client::JobFilter filter;
  filter.states = parse_states(options.states);
  for (const client::JobState state : filter.states) {
    if (!client::is_terminal(state)) continue;
    throw UsageError("--state: a job that is " + std::string(client::to_string(state)) +
                     " has ended: choose among queued, scheduled, blocked and running");
  }
  filter.queue = options.queue;
  filter.pool = options.pool;
  filter.task = options.task;
  filter.name = options.name;
  filter.batch_id = options.batch;
  if (options.mine) filter.owner_uid = ::getuid();
  return filter;
}

// "jobs of queue nightly, QUEUED".
std::string words_of(const Options& options, const client::JobFilter& filter) {
  std::string text = options.mine ? "my jobs" : "jobs";
  const auto add = [&text](const char* what, const std::string& value) {
    if (!value.empty()) text += std::string(text.ends_with("jobs") ? " of " : ", ") + what + " " + one_line(value);
  };
  add("queue", filter.queue);
  add("pool", filter.pool);
  add("task", filter.task);
  add("name", filter.name);
  if (filter.batch_id != 0) add("batch", std::to_string(filter.batch_id));
  for (const client::JobState state : filter.states) text += ", " + std::string(client::to_string(state));
  return text;
}

// Only where somebody is there who can answer; a script means what it says.
bool is_confirmed(const Options& options, const client::JobFilter& filter) {
  if (options.yes || ::isatty(STDIN_FILENO) == 0 || ::isatty(STDERR_FILENO) == 0) return true;
  std::cerr << "cancel all " << words_of(options, filter) << "? [y/N] " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "Y" || answer == "yes";
}

int cancel_chosen(const Options& options, const Globals& globals) {
  const client::JobFilter filter = filter_of(options);
  const client::CancelOptions how = how_of(options);
  const client::Client client = connect(globals);
  if (!is_confirmed(options, filter)) {
    complain("nothing was cancelled: answer y, or give --yes");
    return kRefused;
  }
  const WaitNotices notices(client.address());
  const client::CancelCounts counts = client.cancel(filter, how);
  if (globals.json) {
    print_json(
        {{"cancelled", counts.cancelled}, {"stopping", counts.stopping}, {"already_ended", counts.already_ended}});
    return kOk;
  }
  std::string text = std::to_string(counts.cancelled) + " cancelled";
  if (counts.stopping > 0) text += ", " + std::to_string(counts.stopping) + " stopping";
  if (counts.already_ended > 0) text += ", " + std::to_string(counts.already_ended) + " had ended";
  print(text + "\n");
  return kOk;
}

int cancel_named(const Options& options, const Globals& globals) {
  const std::vector<std::uint64_t> ids = parse_ids(options.ids);
  const client::CancelOptions how = how_of(options);
  const client::Client client = connect(globals);
  const WaitNotices notices(client.address());
  bool all = true;
  const auto tell = [&](const client::CancelEntry& entry) {
    const bool cancelled = entry.disposition == client::CancelDisposition::kCancelled ||
                           entry.disposition == client::CancelDisposition::kStopping;
    all = all && cancelled;
    if (globals.json) {
      print_json(
          {{"id", entry.id}, {"disposition", word_of(entry.disposition)}, {"state", client::to_string(entry.state)}});
    } else if (cancelled) {
      print(std::to_string(entry.id) + " " + std::string(word_of(entry.disposition)) + "\n");
    } else {
      complain("job " + std::to_string(entry.id) + ": " + std::string(word_of(entry.disposition)));
    }
  };
  // One answer has so many entries.
  for (std::span<const std::uint64_t> left = ids; !left.empty();) {
    const auto some = left.first(std::min(left.size(), limits::kBatchItemsMax));
    std::ranges::for_each(client.cancel(some, how), tell);
    left = left.subspan(some.size());
  }
  return all ? kOk : kRefused;
}

int cancel(const Options& options, const Globals& globals) {
  if (!is_filtered(options)) {
    if (options.ids.empty())
      throw UsageError("name jobs, or choose them: --queue, --state, --pool, --task, --name, --batch, --mine");
    return cancel_named(options, globals);
  }
  if (!options.ids.empty()) throw UsageError("jobs are named, or chosen by --queue and the like: give one");
  return cancel_chosen(options, globals);
}

}  // namespace

void add_cancel(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("cancel", "Cancel jobs: queued ones never run, running ones are stopped");
  verb.add_option("ids", options->ids, "Numbers of jobs, or ranges such as 3-10");
  verb.add_option("-q,--queue", options->queue, "All of this queue")->group("Choice");
  verb.add_option("--state", options->states, "All in this state that have not ended; may be given again")
      ->group("Choice")
      ->allow_extra_args(false);
  verb.add_option("--pool", options->pool, "All that go to this pool")->group("Choice");
  verb.add_option("--task", options->task, "All of this task")->group("Choice");
  verb.add_option("--name", options->name, "All with this name")->group("Choice");
  verb.add_option("--batch", options->batch, "All of the batch that begins with this job")
      ->group("Choice")
      ->check(at_least_one());
  verb.add_flag("--mine", options->mine, "All submitted by me")->group("Choice");
  verb.add_flag("-y,--yes", options->yes, "Choose without being asked on a terminal")->group("Choice");
  CLI::Option* const grace =
      verb.add_option("--grace", options->grace, "Between SIGTERM and the kill (default: the job's own)")
          ->check(duration_over_zero("--grace", "use --kill for none"));
  verb.add_flag("--kill", options->kill, "No grace")->excludes(grace);
  verb.add_option("--reason", options->reason, "Kept with the job");
  verb.add_flag("--no-wait", options->no_wait, "Do not wait until nothing of them is left");
  verb.footer(
      "Exits 4 when one of the named ones had ended already or is not known.\n"
      "Chosen are jobs that fit every option of the choice: your own, or for root and the daemon's user everybody's;\n"
      "those submitted after this began are not among them. One that starts in the moment that it is looked at is\n"
      "stopped, too. It prints how many there were.\n\n"
      "Examples:\n"
      "  fut cancel 42\n"
      "  fut cancel --kill 50-60\n"
      "  fut cancel --queue nightly --state queued\n"
      "  fut cancel --mine --task sleep --yes --reason 'wrong input'\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return cancel(*options, globals); }; });
}

}  // namespace futured::cli
