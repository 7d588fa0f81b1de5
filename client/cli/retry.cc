// fut retry: ended jobs once more, as new jobs.
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <optional>
#include <span>
#include <unordered_set>

#include "base/limits.h"
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
  std::string task;
  std::string name;
};

// Whose jobs the caller may retry; nothing: everybody's, as for root and the daemon's own user.
std::optional<std::uint32_t> owner_to_retry(const client::Client& client) {
  const client::DaemonInfo info = client.info();
  struct stat daemon {};
  const bool is_seen = ::stat(("/proc/" + std::to_string(info.pid)).c_str(), &daemon) == 0;
  if (info.your_uid == 0 || (is_seen && daemon.st_uid == info.your_uid)) return std::nullopt;
  return info.your_uid;
}

// Those that failed or timed out (or, of them, only the quarantined ones) and were not retried since, oldest first. A
// list is newest first, so that a retry is seen before the job it names; it may be another user's, so that the list is
// of all.
std::vector<std::uint64_t> failed_jobs(const client::Client& client, const Options& options) {
  const std::optional<std::uint32_t> owner = owner_to_retry(client);
  const client::JobFilter filter{.queue = options.queue, .task = options.task, .name = options.name};
  std::vector<std::uint64_t> failed;
  std::unordered_set<std::uint64_t> retried;
  std::string token;
  do {
    const client::JobPage page = client.jobs(filter, limits::kListPageMax, token);
    for (const client::JobInfo& job : page.jobs) {
      if (job.retry_of != 0) retried.insert(job.retry_of);
      const bool failed_somehow = job.state == client::JobState::kFailed || job.state == client::JobState::kTimedOut;
      const bool wanted = options.quarantined ? job.cause.kind == client::CauseKind::kQuarantined : failed_somehow;
      const bool is_ours = !owner || job.owner_uid == *owner;
      if (wanted && is_ours && !retried.contains(job.id)) failed.push_back(job.id);
    }
    token = page.next_page_token;
  } while (!token.empty());
  std::reverse(failed.begin(), failed.end());
  return failed;
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

bool retry_some(const client::Client& client, std::span<const std::uint64_t> ids, bool json) {
  bool all = true;
  for (const client::RetryEntry& entry : client.retry(ids)) {
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
  constexpr std::size_t kAtOnce = 1'000;
  require_utf8("--queue", options.queue);
  require_utf8("--task", options.task);
  require_utf8("--name", options.name);
  const bool chosen = options.failed || options.quarantined;
  if (options.ids.empty() != chosen) throw UsageError("give numbers of jobs, or --failed, or --quarantined");
  if (options.failed && options.quarantined) throw UsageError("--failed takes the quarantined ones along; give one");
  const bool filtered = !options.queue.empty() || !options.task.empty() || !options.name.empty();
  if (filtered && !chosen) throw UsageError("--queue, --task and --name choose among --failed or --quarantined ones");
  const std::vector<std::uint64_t> named = chosen ? std::vector<std::uint64_t>{} : parse_ids(options.ids);
  const client::Client client = connect(globals);
  const std::vector<std::uint64_t> ids = chosen ? failed_jobs(client, options) : named;
  if (!chosen) return retry_some(client, ids, globals.json) ? kOk : kRefused;
  if (ids.empty())
    complain(options.quarantined ? "no job is quarantined that was not retried"
                                 : "no job has failed that was not retried");
  bool all = true;
  for (std::span<const std::uint64_t> left(ids); !left.empty();) {
    const auto some = left.first(std::min(left.size(), kAtOnce));
    all = retry_some(client, some, globals.json) && all;
    left = left.subspan(some.size());
  }
  return all ? kOk : kRefused;
}

}  // namespace

void add_retry(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("retry", "Run ended jobs once more; prints the new jobs' numbers");
  verb.add_option("ids", options->ids, "Numbers of jobs, or ranges such as 3-10");
  verb.add_flag("--failed", options->failed, "All of yours that failed or timed out, but for those retried already");
  verb.add_flag("--quarantined", options->quarantined, "Of them, those that took down too many workers");
  verb.add_option("-q,--queue", options->queue, "With --failed or --quarantined: of this queue");
  verb.add_option("--task", options->task, "With --failed or --quarantined: of this task");
  verb.add_option("--name", options->name, "With --failed or --quarantined: with this name");
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
