// fut watch: what happens to jobs, as it happens.
#include <unistd.h>

#include <charconv>
#include <memory>

#include "base/limits.h"
#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/output.h"
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
  if (options.mine) watch.filter.owner_uid = ::getuid();
  watch.ids = parse_ids(options.ids);
  if (!options.since.empty()) read_since(options.since, watch);
  return watch;
}

Json event_json(const client::JobEvent& event) {
  Json line = {{"epoch", event.epoch},
               {"sequence", event.sequence},
               {"time_us", event.time_us},
               {"id", event.id},
               {"state", std::string(client::to_string(event.state))},
               {"attempt", event.attempt},
               {"queue", event.queue}};
  if (!event.task.empty()) line["task"] = event.task;
  if (!event.name.empty()) line["name"] = event.name;
  line["owner_uid"] = event.owner_uid;
  if (event.cause.kind != client::CauseKind::kNone) line["cause"] = to_json(event.cause);
  if (event.gap) line["gap"] = true;
  return line;
}

std::string to_line(const client::JobEvent& event) {
  std::string text = clock_text(event.time_us) + "  " + std::to_string(event.id) + " ";
  std::string state(client::to_string(event.state));
  state.resize(std::max<std::size_t>(state.size(), 9), ' ');
  text += state + " " + (event.name.empty() ? event.task.empty() ? "(command)" : event.task : event.name);
  if (event.queue != "default") text += " in " + event.queue;
  if (event.attempt > 1) text += ", attempt " + std::to_string(event.attempt);
  const std::string why = describe(event.cause);
  if (!why.empty() && event.state != client::JobState::kSucceeded) text += ": " + why;
  return text + "\n";
}

int watch(const Options& options, const Globals& globals) {
  const client::WatchOptions what = watch_of(options);
  const client::Client client = connect(globals);
  std::uint64_t left = options.count;
  client.watch(what, [&](const client::JobEvent& event) {
    if (event.gap) complain("some events before this one are gone: fut ls tells how the jobs stand");
    if (globals.json) {
      print_json(event_json(event));
    } else {
      print(to_line(event));
    }
    return left == 0 || --left > 0;
  });
  return kOk;
}

}  // namespace

void add_watch(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("watch", "Print each change of a job's state, as it happens");
  verb.add_option("ids", options->ids, "Of these jobs, or ranges such as 3-10 (default: of all)");
  verb.add_option("--state", options->states, "Into this state; may be given again")->allow_extra_args(false);
  verb.add_option("-q,--queue", options->queue, "In this queue");
  verb.add_option("--task", options->task, "Of this task");
  verb.add_option("--name", options->name, "With this name");
  verb.add_flag("--mine", options->mine, "Submitted by me");
  verb.add_option("-n,--count", options->count, "End after so many lines")->check(at_least_one());
  verb.add_option("--since", options->since, "EPOCH:SEQUENCE: go on behind that event")->type_name("EPOCH:SEQUENCE");
  verb.footer(
      "Goes on until Ctrl-C, across restarts of the daemon. Events that the daemon does not have any more are said to "
      "be\n"
      "missing. A job that ends within milliseconds is told to run when it has ended.\n\n"
      "Examples:\n"
      "  fut watch\n"
      "  fut watch --queue nightly --state failed --state timed_out\n"
      "  fut watch --json -n 100 | jq -r '[.id, .state] | @tsv'\n"
      "  fut watch --json --since 3:4711\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return watch(*options, globals); }; });
}

}  // namespace futured::cli
