// fut retry: ended jobs once more, as new jobs.
#include <cctype>
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::vector<std::string> ids;
  bool failed = false;
  bool quarantined = false;
  std::string queue;
  std::string pool;
  std::string task;
  std::string name;
  std::uint64_t batch = 0;
};

// Those that failed or timed out, or of them only the quarantined ones, and were not retried since.
client::JobFilter filter_of(const Options& options) {
  client::JobFilter filter{.queue = options.queue, .pool = options.pool, .task = options.task, .name = options.name};
  filter.batch_id = options.batch;
  if (options.quarantined) {
    filter.causes = {client::CauseKind::kQuarantined};
  } else {
    filter.states = {client::JobState::kFailed, client::JobState::kTimedOut};
  }
  return filter;
}

// Most refusals name the job themselves.
std::string about_job(std::uint64_t id, const std::string& refusal) {
  const std::string job = "job " + std::to_string(id);
  const std::size_t at = refusal.find(job);
  const std::size_t end = at + job.size();
  const bool is_other =
      at == std::string::npos || (end < refusal.size() && std::isdigit(static_cast<unsigned char>(refusal[end])) != 0);
  return is_other ? job + ": " + refusal : refusal;
}

bool tell(const std::vector<client::RetryEntry>& entries, bool json) {
  bool all = true;
  for (const client::RetryEntry& entry : entries) {
    if (entry.new_id == 0) {
      all = false;
      if (!json) complain(about_job(entry.id, entry.error));
    } else if (!json) {
      print(std::to_string(entry.new_id) + "\n");
    }
    if (json) print_json({{"id", entry.id}, {"new_id", entry.new_id}, {"error", entry.error}});
  }
  return all;
}

int retry(const Options& options, const Globals& globals) {
  require_utf8("--queue", options.queue);
  require_utf8("--pool", options.pool);
  require_utf8("--task", options.task);
  require_utf8("--name", options.name);
  const bool chosen = options.failed || options.quarantined;
  if (options.ids.empty() != chosen) throw UsageError("give numbers of jobs, or --failed, or --quarantined");
  if (options.failed && options.quarantined) throw UsageError("--failed takes the quarantined ones along; give one");
  const bool filtered = !options.queue.empty() || !options.pool.empty() || !options.task.empty() ||
                        !options.name.empty() || options.batch != 0;
  if (filtered && !chosen)
    throw UsageError("--queue, --pool, --task, --name and --batch choose among --failed or --quarantined ones");
  const std::vector<std::uint64_t> named = chosen ? std::vector<std::uint64_t>{} : parse_ids(options.ids);
  const client::Client client = connect(globals);
  if (!chosen) return tell(client.retry(named), globals.json) ? kOk : kRefused;
  const std::vector<client::RetryEntry> entries = client.retry(filter_of(options));
  if (entries.empty())
    complain(options.quarantined ? "no job is quarantined that was not retried"
                                 : "no job has failed that was not retried");
  return tell(entries, globals.json) ? kOk : kRefused;
}

}  // namespace

void add_retry(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("retry", "Run ended jobs once more; prints the new jobs' numbers");
  verb.add_option("ids", options->ids, "Numbers of jobs, or ranges such as 3-10");
  verb.add_flag("--failed", options->failed, "All of yours that failed or timed out, but for those retried already");
  verb.add_flag("--quarantined", options->quarantined, "Of them, those that took down too many workers");
  verb.add_option("-q,--queue", options->queue, "With --failed or --quarantined: of this queue");
  verb.add_option("--pool", options->pool, "With --failed or --quarantined: that go to this pool");
  verb.add_option("--task", options->task, "With --failed or --quarantined: of this task");
  verb.add_option("--name", options->name, "With --failed or --quarantined: with this name");
  verb.add_option("--batch", options->batch, "With --failed or --quarantined: of the batch that begins with this job")
      ->check(at_least_one());
  verb.footer(
      "The old job stays as it is; fut show names the one in the other. For root and the daemon's user, --failed and\n"
      "--quarantined are of everybody's jobs.\n\n"
      "Examples:\n"
      "  fut retry 42\n"
      "  fut retry --failed --queue nightly\n"
      "  fut retry --quarantined\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return retry(*options, globals); }; });
}

}  // namespace futured::cli
