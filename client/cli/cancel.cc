// fut cancel: jobs that shall not run, or not go on.
#include <algorithm>
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

int cancel(const Options& options, const Globals& globals) {
  const std::vector<std::uint64_t> ids = parse_ids(options.ids);
  require_utf8("--reason", options.reason);
  client::CancelOptions how{.kill_at_once = options.kill, .reason = options.reason, .wait = !options.no_wait};
  if (!options.grace.empty()) how.grace = parse_duration(options.grace, "--grace");
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

}  // namespace

void add_cancel(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("cancel", "Cancel jobs: queued ones never run, running ones are stopped");
  verb.add_option("ids", options->ids, "Numbers of jobs, or ranges such as 3-10")->required();
  CLI::Option* const grace =
      verb.add_option("--grace", options->grace, "Between SIGTERM and the kill (default: the job's own)")
          ->check(duration_over_zero("--grace", "use --kill for none"));
  verb.add_flag("--kill", options->kill, "No grace")->excludes(grace);
  verb.add_option("--reason", options->reason, "Kept with the job");
  verb.add_flag("--no-wait", options->no_wait, "Do not wait until nothing of them is left");
  verb.footer(
      "Exits 4 when one of them had ended already or is not known.\n\n"
      "Examples:\n"
      "  fut cancel 42\n"
      "  fut cancel --kill 50-60\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return cancel(*options, globals); }; });
}

}  // namespace futured::cli
