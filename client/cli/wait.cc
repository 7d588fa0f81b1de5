// fut wait: until jobs have ended.
#include <algorithm>
#include <memory>
#include <mutex>
#include <set>

#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"
#include "client/cli/wait_notices.h"

namespace futured::cli {

namespace {

struct Options {
  std::vector<std::string> ids;
  bool any = false;
  bool all = false;
  bool first_failure = false;
  std::string timeout;
};

// What had ended before must be heard of, however short the time.
constexpr client::Milliseconds kTimeoutMin{300};

client::WaitFor what_of(const Options& options) {
  if (options.any) return client::WaitFor::kFirstCompleted;
  return options.first_failure ? client::WaitFor::kFirstException : client::WaitFor::kAllCompleted;
}

bool satisfied(const Options& options, const client::WaitResult& result, bool failed) {
  if (options.any) return !result.done.empty();
  return result.not_done.empty() || (options.first_failure && failed);
}

// Says of ids that are not known that they are not, each once: as soon as the daemon says so, for the others may take
// days, and at the end, when that was quicker. From any thread.
class UnknownIds {
 public:
  void tell(std::uint64_t id, const std::string& why) {
    const std::lock_guard guard(mutex_);
    if (told_.insert(id).second) complain(why);
  }
  void tell_if_unknown(const client::Future& ended) {
    try {
      static_cast<void>(ended.outcome());
    } catch (const client::Error& error) {  // of a lost connection, the waiting thread tells
      if (error.kind() == client::ErrorKind::kNotFound) tell(ended.id(), error.what());
    }
  }

 private:
  std::mutex mutex_;
  std::set<std::uint64_t> told_;
};

void tell(const client::Outcome& outcome, bool json) {
  if (json) return print_json(to_json(outcome));
  const std::string why = why_text(outcome.state, outcome.cause);
  print(std::to_string(outcome.id) + " " + std::string(client::to_string(outcome.state)) +
        (why.empty() || outcome.succeeded() ? "" : " " + why) + "\n");
}

int wait(const Options& options, const Globals& globals) {
  const std::vector<std::uint64_t> ids = parse_ids(options.ids);
  const client::Milliseconds timeout =
      options.timeout.empty() ? client::kForever : std::max(kTimeoutMin, parse_duration(options.timeout, "--timeout"));
  const client::Client client = connect(globals);
  const std::vector<client::Future> futures = client.futures(ids);
  const WaitNotices notices(client.address(), ids);
  const auto unknown_ids = std::make_shared<UnknownIds>();
  for (const client::Future& future : futures) {
    future.add_done_callback([unknown_ids](const client::Future& ended) { unknown_ids->tell_if_unknown(ended); });
  }
  const client::WaitResult result = client::wait(futures, what_of(options), timeout);
  bool failed = false;
  bool unknown = false;
  for (const client::Future& future : result.done) {
    const std::uint64_t id = future.id();
    try {
      const client::Outcome outcome = within_sight(id, [&] { return future.outcome(); });
      failed = failed || !outcome.succeeded();
      tell(outcome, globals.json);
    } catch (const client::Error& error) {
      if (error.kind() != client::ErrorKind::kNotFound) throw;
      if (globals.json) print_json({{"id", id}, {"error", error.what()}});
      unknown_ids->tell(id, error.what());
      unknown = true;
    }
  }
  if (unknown) return kRefused;
  if (!satisfied(options, result, failed)) {
    complain(std::to_string(result.not_done.size()) + " of " + std::to_string(ids.size()) +
             " jobs have not ended in time: they go on");
    return kTimedOut;
  }
  return failed ? kJobFailed : kOk;
}

}  // namespace

void add_wait(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("wait", "Wait until jobs have ended");
  verb.add_option("ids", options->ids, "Numbers of jobs, or ranges such as 3-10")->required();
  CLI::Option* const any = verb.add_flag("--any", options->any, "Until one has ended");
  CLI::Option* const all = verb.add_flag("--all", options->all, "Until all have ended (the default)")->excludes(any);
  verb.add_flag("--first-failure", options->first_failure, "Until one has failed, or all have ended")
      ->excludes(any)
      ->excludes(all);
  verb.add_option("--timeout", options->timeout, "Stop waiting after so long, at least 300ms; cancels nothing")
      ->check(duration("--timeout"));
  verb.footer(
      "Exits 0 when all that ended succeeded, 1 when some did not, 4 when one is not known, 124 when the time ran\n"
      "out. One that is not known is told at once, and the others are waited for.\n\n"
      "Examples:\n"
      "  fut wait 42\n"
      "  fut wait --any --timeout 30s 42 43 50-60\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return wait(*options, globals); }; });
}

}  // namespace futured::cli
