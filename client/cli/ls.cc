// fut ls: jobs, newest first.
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/limits.h"
#include "base/time.h"
#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

constexpr std::uint64_t kCommandLinesMax = 1'000;  // each is a call of some 0.2 ms

struct Options {
  std::vector<std::string> states;
  std::string queue;
  std::string pool;
  std::string task;
  std::string name;
  std::uint64_t parent = 0;
  std::uint64_t batch = 0;
  bool mine = false;
  bool quarantined = false;
  bool all = false;
  bool oldest_first = false;
  std::uint64_t limit = 20;
  std::string page;
};

client::JobFilter filter_of(const Options& options) {
  require_utf8("--queue", options.queue);
  require_utf8("--pool", options.pool);
  require_utf8("--task", options.task);
  require_utf8("--name", options.name);
  require_utf8("--page", options.page);
  client::JobFilter filter{.states = parse_states(options.states),
                           .queue = options.queue,
                           .pool = options.pool,
                           .task = options.task,
                           .name = options.name};
  filter.parent_id = options.parent;
  filter.batch_id = options.batch;
  if (options.quarantined) filter.causes = {client::CauseKind::kQuarantined};
  if (options.mine) filter.owner_uid = ::getuid();
  return filter;
}

std::string age_of(const client::JobInfo& job, std::int64_t now_us) {
  if (job.finished_us != 0) return job.started_us == 0 ? "" : duration_text(job.finished_us - job.started_us);
  if (job.state == client::JobState::kRunning && job.started_us != 0) return duration_text(now_us - job.started_us);
  if (job.state == client::JobState::kScheduled) {
    const std::int64_t next_us = job.next_attempt_us != 0 ? job.next_attempt_us : job.start_at_us;
    if (next_us > now_us) return "in " + duration_text(next_us - now_us);
  }
  return job.submitted_us == 0 ? "" : duration_text(now_us - job.submitted_us);
}

// A list reads no payloads, and so has no command lines. A row without is still a row: the job may have been forgotten
// meanwhile, or the daemon be too busy.
void add_command_line(const client::Client& client, client::JobInfo& job) {
  try {
    job.argv = client.job(job.id).argv;
  } catch (const client::Unavailable&) {
    throw;
  } catch (const client::Error&) {
    job.argv.clear();
  }
}

// It is RUNNING until nothing of it is left.
std::string state_of(const client::JobInfo& job) {
  const std::string state(client::to_string(job.state));
  if (job.stop) return state + " (stopping)";
  return job.waits_for.empty() ? state : state + " (waits for " + numbers_text(job.waits_for, 3) + ")";
}

std::string what_of(const client::JobInfo& job) {
  const std::string what = !job.task.empty() ? job.task : job.argv.empty() ? "(command)" : quoted(job.argv);
  return job.name.empty() ? what : job.name + ": " + what;
}

int ls(const Options& options, const Globals& globals) {
  const client::JobFilter filter = filter_of(options);
  const client::Client client = connect(globals);
  Table table({"ID", "STATE", "QUEUE", "TIME", "ATTEMPTS", "WHAT"});
  const std::int64_t now_us = wall_now().us;
  std::string token = options.page;
  std::uint64_t command_lines = 0;
  std::uint64_t left = options.all ? UINT64_MAX : options.limit;
  while (left > 0) {
    const auto size = static_cast<std::uint32_t>(std::min<std::uint64_t>(left, limits::kListPageMax));
    client::JobPage page = client.jobs(filter, size, token, options.oldest_first);
    for (client::JobInfo& job : page.jobs) {
      if (globals.json) {
        print_json(to_json(job, Detail::kListed));
      } else {
        const bool is_command = job.task.empty() && job.argv.empty();
        if (is_command && command_lines++ < kCommandLinesMax) add_command_line(client, job);
        table.add({std::to_string(job.id), state_of(job), job.queue, age_of(job, now_us), std::to_string(job.attempts),
                   what_of(job)});
      }
    }
    left -= std::min<std::uint64_t>(left, page.jobs.size());
    token = page.next_page_token;
    if (token.empty()) break;
  }
  if (!globals.json) table.print();
  if (!token.empty()) complain("there are more: the same with --page " + token + ", or --all");
  return kOk;
}

}  // namespace

void add_ls(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("ls", "List jobs, newest first");
  verb.add_option("--state", options->states, "In this state; may be given again")->allow_extra_args(false);
  verb.add_option("-q,--queue", options->queue, "Of this queue");
  verb.add_option("--pool", options->pool, "That go to this pool");
  verb.add_option("--task", options->task, "Of this task");
  verb.add_option("--name", options->name, "With this name");
  verb.add_option("--parent", options->parent, "Submitted by a task of this job")->check(at_least_one());
  verb.add_option("--batch", options->batch, "Of the batch that begins with this job")->check(at_least_one());
  verb.add_flag("--quarantined", options->quarantined, "Given up because they took down too many workers");
  verb.add_flag("--mine", options->mine, "Submitted by me");
  verb.add_option("-n,--limit", options->limit, "At most so many (default: 20)")->check(at_least_one());
  verb.add_flag("--oldest-first", options->oldest_first, "The other way round");
  verb.add_flag("--all", options->all, "All of them, page by page");
  verb.add_option("--page", options->page, "Go on where an earlier list ended");
  verb.footer(
      "TIME is how long it ran, or has run, or has waited, or in how long it may start. STATE is RUNNING (stopping) "
      "while a job that was asked to\n"
      "stop goes on, and RUNNING (waits for 43, 44) while its task waits for jobs. WHAT is a task or a command line, "
      "cut to the terminal. Of\n"
      "commands behind the first thousand it is left out, and so it is with --json: fut show has it.\n\n"
      "Examples:\n"
      "  fut ls --state running\n"
      "  fut ls --mine --state failed --state timed_out -n 100\n"
      "  fut ls --pool default --oldest-first --state queued\n"
      "  fut ls --parent 42 --all\n"
      "  fut ls --json --all | jq .id\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return ls(*options, globals); }; });
}

}  // namespace futured::cli
