// fut callback: what the daemon tells others when jobs have ended: list, deliver again, add.
#include <algorithm>
#include <memory>

#include "client/cli/callback_flags.h"
#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

using client::CallbackInfo;
using client::CompletionCallback;

struct ListOptions {
  std::string job;
  std::vector<std::string> states;
};

struct RetryOptions {
  std::vector<std::string> ids;
  bool failed = false;
};

struct AddOptions {
  std::string job;
  std::string target;
  std::string on = "end";
  std::string secret;
};

// "42", or "3-10" for a whole batch that was registered later.
std::string jobs_text(const CallbackInfo& info) {
  const std::string first = std::to_string(info.job_id);
  return info.batch_jobs > 0 ? first + "-" + std::to_string(info.job_id + info.batch_jobs - 1) : first;
}

std::vector<std::string> row_of(const CallbackInfo& info) {
  const std::string attempts = std::to_string(info.attempts) + "/" + std::to_string(info.callback.retries.max_attempts);
  return {std::to_string(info.id),    jobs_text(info), info.state, condition_text(info.callback.on), attempts,
          target_text(info.callback), info.last_error};
}

Table new_table() { return Table({"CALLBACK", "JOB", "STATE", "ON", "ATTEMPTS", "TARGET", "LAST ERROR"}); }

std::uint64_t one_id(const std::string& word) {
  const std::vector<std::uint64_t> ids = parse_ids({word});
  if (ids.size() != 1) throw UsageError("\"" + word + "\": give the number of one job");
  return ids.front();
}

int list(const ListOptions& options, const Globals& globals) {
  std::vector<std::string> states;
  for (std::string state : options.states) {
    require_utf8("--state", state);
    std::ranges::transform(state, state.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    states.push_back(std::move(state));
  }
  const std::uint64_t job = options.job.empty() ? 0 : one_id(options.job);
  const client::Client client = connect(globals);
  Table table = new_table();
  std::string token;
  do {
    const client::CallbackPage page = client.callbacks(job, states, 1'000, token);
    for (const CallbackInfo& info : page.callbacks) {
      if (globals.json) {
        print_json(to_json(info));
      } else {
        table.add(row_of(info));
      }
    }
    token = page.next_page_token;
  } while (!token.empty());
  if (!globals.json) table.print();
  return kOk;
}

int retry(const RetryOptions& options, const Globals& globals) {
  if (options.ids.empty() != options.failed) throw UsageError("give numbers of callbacks, or --failed");
  const std::vector<std::uint64_t> ids = options.failed ? std::vector<std::uint64_t>() : parse_ids(options.ids);
  const std::uint64_t replayed = connect(globals).replay_callbacks(ids);
  if (globals.json) {
    print_json({{"replayed", replayed}});
  } else {
    print(std::to_string(replayed) + "\n");
  }
  return kOk;
}

int add(const AddOptions& options, const Globals& globals) {
  require_utf8("--on", options.on);
  require_utf8("--secret", options.secret);
  CompletionCallback callback = parse_callback(options.target, "target");
  if (options.on == "success") {
    callback.on = CompletionCallback::On::kSuccess;
  } else if (options.on == "failure") {
    callback.on = CompletionCallback::On::kFailure;
  } else if (options.on != "end") {
    throw UsageError("--on: \"" + options.on + "\" is not end, success or failure");
  }
  callback.secret_name = options.secret;
  if (!options.secret.empty() && callback.target != CompletionCallback::Target::kWebhook) {
    throw UsageError("--secret: only http requests are signed");
  }
  const std::vector<std::uint64_t> jobs = parse_ids({options.job});
  const std::uint32_t batch_jobs = jobs.size() > 1 ? static_cast<std::uint32_t>(jobs.size()) : 0;
  const CallbackInfo info = connect(globals).add_callback(jobs.front(), callback, batch_jobs);
  if (globals.json) {
    print_json(to_json(info));
  } else {
    print(std::to_string(info.id) + "\n");
  }
  return kOk;
}

void add_list(CLI::App& callback, Globals& globals) {
  const auto options = std::make_shared<ListOptions>();
  CLI::App& verb = *callback.add_subcommand("ls", "List callbacks and how their deliveries stand");
  verb.add_option("job", options->job,
                  "Of this job, ended or not (default: of all jobs, what is due or was added later)");
  verb.add_option("--state", options->states, "waiting, delivering, delivered or failed; may be given again")
      ->allow_extra_args(false);
  verb.footer("Examples:\n  fut callback ls 42\n  fut callback ls --state failed --json | jq .last_error\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return list(*options, globals); }; });
}

void add_replay(CLI::App& callback, Globals& globals) {
  const auto options = std::make_shared<RetryOptions>();
  CLI::App& verb = *callback.add_subcommand("retry", "Deliver again, from the first attempt on; prints how many");
  verb.add_option("ids", options->ids, "Numbers of callbacks, or ranges such as 3-10");
  verb.add_flag("--failed", options->failed, "All of mine that failed");
  verb.footer("Examples:\n  fut callback retry 1344\n  fut callback retry --failed\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return retry(*options, globals); }; });
}

void add_add(CLI::App& callback, Globals& globals) {
  const auto options = std::make_shared<AddOptions>();
  CLI::App& verb = *callback.add_subcommand("add", "Add a callback to a job or a batch; prints the callback's number");
  verb.add_option("job", options->job,
                  "Number of the job, ended or not; or a range such as 3-10: once, when all of them have ended")
      ->required();
  verb.add_option("target", options->target, std::string("Whom to tell: ") + kCallbackForms)->required();
  verb.add_option("--on", options->on, "end, success or failure (default: end)");
  verb.add_option("--secret", options->secret, "Sign http requests with this secret of the daemon's configuration");
  verb.footer(
      "Of a job that has ended already it is delivered at once. For a range, --on success means that all of it did.\n\n"
      "Examples:\n"
      "  fut callback add 42 https://example.org/done --secret ci\n"
      "  fut callback add 100-199 https://example.org/all-done\n"
      "  fut callback add 42 'sh:mail -s done me' --on failure\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return add(*options, globals); }; });
}

}  // namespace

void add_callback(CLI::App& app, Globals& globals) {
  CLI::App& callback = *app.add_subcommand("callback", "List, deliver again and add completion callbacks");
  callback.require_subcommand(1);
  callback.fallthrough();
  add_list(callback, globals);
  add_replay(callback, globals);
  add_add(callback, globals);
  callback.footer(
      "Examples:\n"
      "  fut callback ls --state failed\n"
      "  fut callback retry --failed\n"
      "  fut callback add 42 https://example.org/done\n");
}

}  // namespace futured::cli
