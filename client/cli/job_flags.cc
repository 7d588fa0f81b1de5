#include "client/cli/job_flags.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <string_view>
#include <utility>

#include "base/limits.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

void JobFlags::add_to(CLI::App& verb) {
  add_lasting_to(verb);
  start.add_to(verb);
  dependencies.add_to(verb);
  cache.add_to(verb);
}

void JobFlags::add_lasting_to(CLI::App& verb) {
  verb.add_option("-q,--queue", queue, "Queue (default: default)")->group("Job");
  verb.add_option("--pool", pool, "Pool of workers (default: the queue's)")->group("Job");
  verb.add_option("--priority", priority, "Higher goes first, in queues of discipline priority")->group("Job");
  verb.add_flag("--front", front, "Ahead of its equals in the queue")->group("Job");
  verb.add_option("--attempts", attempts, "Runs in all before it fails (default: the queue's, else 1)")
      ->group("Job")
      ->check(at_least_one());
  const auto add_duration = [&verb](const char* option, std::string& value, const char* what) {
    return verb.add_option(option, value, what)->group("Job");
  };
  const auto add_limit = [&](const std::string& option, std::string& value, const char* what) {
    const std::string way_out = "use no " + option + " for no limit";
    add_duration(option.c_str(), value, what)->check(duration_over_zero(option, way_out));
  };
  add_duration("--backoff", backoff, "Wait before the second attempt; doubles each time")->check(duration("--backoff"));
  verb.add_option("--retry-only", retry_only,
                  "Retry only this error: its class, TIMEOUT, OUT_OF_MEMORY, exit:N or signal:N; may be given again")
      ->group("Job")
      ->allow_extra_args(false);
  verb.add_option("--retry-except", retry_except, "Never retry this error; may be given again")
      ->group("Job")
      ->allow_extra_args(false);
  verb.add_option("--retry-memory", retry_memory,
                  "After an attempt that was out of memory the next one's limit is so many times as high: 2 doubles it")
      ->group("Job")
      ->check(above_one(limits::kMemoryFactorMax));
  verb.add_option("--retry-memory-max", retry_memory_max,
                  "But never higher than this: 2GiB, 512MiB or a number of bytes")
      ->group("Job");
  verb.add_option("--crashes", crashes, "Workers it may take down before it is quarantined (default: 3)")
      ->group("Job")
      ->check(at_least_one());
  add_limit("--timeout", timeout, "Kill an attempt that runs longer");
  add_limit("--soft-timeout", soft_timeout, "Ask an attempt to stop that runs longer; keep its stacks if it does not");
  add_limit("--heartbeat-timeout", heartbeat_timeout, "Kill an attempt that gives no sign of life for longer");
  add_limit("--queue-timeout", queue_timeout, "End it when it has not started within that time");
  add_limit("--total-timeout", total_timeout, "End it when it has not ended within that time, all attempts included");
  add_duration("--grace", grace, "Between SIGTERM and the kill (default: 1s)")
      ->check(duration_over_zero("--grace", "write 1ms for next to none"));
  add_duration("--retention", retention, "Keep it so long after its end (default: its queue's, or the daemon's)")
      ->check(duration_over_zero("--retention", "write 1ms for next to none"));
  verb.add_flag("--at-most-once", at_most_once, "Never run twice, not even after a crash")->group("Job");
  verb.add_option("--name", name, "Shown in lists")->group("Job");
  verb.add_option("--needs", needs, "Permits that it holds while it runs, such as gpu=1,license=2; may be given again")
      ->group("Job")
      ->allow_extra_args(false);
  verb.add_option("--limit-key", limit_key, "Its key, for queues with limits per key")->group("Job");
  verb.add_option("--fairness-key", fairness_key, "Its key, for queues whose keys take turns")->group("Job");
  callbacks.add_to(verb);
}

void check_retry_class(const char* option, const std::string& word) {
  require_utf8(option, word);
  const auto is_number = [&word](std::string_view begin, unsigned most) {
    unsigned number = 0;
    const char* const end = word.data() + word.size();
    const auto [rest, problem] = std::from_chars(word.data() + begin.size(), end, number);
    return problem == std::errc() && rest == end && number <= most;
  };
  if (word.starts_with("exit:") && !is_number("exit:", 255)) {
    throw UsageError(std::string(option) + ": \"" + word +
                     "\" is no exit code: write exit:0 to exit:255, one an option");
  }
  if (word.starts_with("signal:") && !is_number("signal:", 64)) {
    throw UsageError(std::string(option) + ": \"" + word +
                     "\" is no signal: write signal:1 to signal:64, one an option");
  }
}

namespace {

void add_need(const std::string& word, std::map<std::string, std::uint32_t>& needs) {
  const std::size_t sign = word.rfind('=');
  const std::string name = word.substr(0, sign);
  std::uint32_t permits = 1;
  bool is_sound = !name.empty();
  if (sign != std::string::npos) {
    const char* const end = word.data() + word.size();
    const auto [rest, problem] = std::from_chars(word.data() + sign + 1, end, permits);
    is_sound = is_sound && problem == std::errc() && rest == end && permits > 0;
  }
  if (!is_sound) {
    throw UsageError("--needs: \"" + word +
                     "\" is no need: write SEMAPHORE=PERMITS, such as gpu=1, or SEMAPHORE for one");
  }
  if (!needs.emplace(name, permits).second) {
    throw UsageError("--needs: \"" + name + "\" is named twice: name it once, with the sum");
  }
}

std::map<std::string, std::uint32_t> needs_of(const std::vector<std::string>& words) {
  std::map<std::string, std::uint32_t> needs;
  for (const std::string& word : words) {
    require_utf8("--needs", word);
    std::size_t begin = 0;
    while (begin <= word.size()) {
      const std::size_t end = std::min(word.find(',', begin), word.size());
      add_need(word.substr(begin, end - begin), needs);
      begin = end + 1;
    }
  }
  return needs;
}

}  // namespace

client::JobOptions JobFlags::options() const {
  // Empty: not given, for what is given has been looked at.
  const auto given = [](const std::string& word, const char* option) {
    return word.empty() ? client::Milliseconds(0) : parse_duration(word, option);
  };
  require_utf8("--queue", queue);
  require_utf8("--pool", pool);
  require_utf8("--name", name);
  client::JobOptions options;
  options.queue = queue;
  options.pool = pool;
  options.priority = priority;
  options.front = front;
  options.retries.max_attempts = attempts;
  options.retries.backoff = given(backoff, "--backoff");
  for (const std::string& entry : retry_only) check_retry_class("--retry-only", entry);
  for (const std::string& entry : retry_except) check_retry_class("--retry-except", entry);
  options.retries.only_classes = retry_only;
  options.retries.except_classes = retry_except;
  options.retries.memory_factor = retry_memory;
  options.retries.memory_bytes_max = retry_memory_limit();
  options.crashes_max = crashes;
  options.timeouts.run = given(timeout, "--timeout");
  options.timeouts.soft = given(soft_timeout, "--soft-timeout");
  options.timeouts.heartbeat = given(heartbeat_timeout, "--heartbeat-timeout");
  options.timeouts.queue = given(queue_timeout, "--queue-timeout");
  options.timeouts.total = given(total_timeout, "--total-timeout");
  options.timeouts.grace = given(grace, "--grace");
  if (options.timeouts.run.count() != 0 && options.timeouts.soft >= options.timeouts.run) {
    throw UsageError("--soft-timeout: " + soft_timeout + " is not under the --timeout of " + timeout +
                     ", which kills: nobody would be asked to stop");
  }
  options.retention = given(retention, "--retention");
  options.at_most_once = at_most_once;
  options.name = name;
  start.put_into(options);
  dependencies.put_into(options);
  require_utf8("--limit-key", limit_key);
  require_utf8("--fairness-key", fairness_key);
  options.needs = needs_of(needs);
  options.limit_key = limit_key;
  options.fairness_key = fairness_key;
  cache.put_into(options);
  options.callbacks = callbacks.callbacks();
  return options;
}

// The two are of use together only.
std::int64_t JobFlags::retry_memory_limit() const {
  if (retry_memory == 0 && retry_memory_max.empty()) return 0;
  if (retry_memory == 0) {
    throw UsageError("--retry-memory-max: say with --retry-memory how many times as much the next attempt may have");
  }
  if (retry_memory_max.empty()) {
    throw UsageError("--retry-memory: say with --retry-memory-max how much an attempt may have at most");
  }
  const std::int64_t most = parse_bytes(retry_memory_max, "--retry-memory-max");
  if (most > limits::kRetryMemoryBytesMax) {
    throw UsageError("--retry-memory-max: " + retry_memory_max + " is over " +
                     bytes_text(limits::kRetryMemoryBytesMax) + ", more than any machine has: write what it may take");
  }
  return most;
}

void KeyFlag::add_to(CLI::App& verb) {
  verb.add_option("--key", key, "Submit once: with a key that I used before, it is that first job")
      ->group("Job")
      ->check([](const std::string& word) {
        return std::string(word.empty() ? "it is empty: leave the option out for no key" : "");
      });
}

client::SubmitOptions KeyFlag::options() const {
  require_utf8("--key", key);
  return {.idempotency_key = key};
}

void CommandFlags::add_to(CLI::App& verb) {
  verb.add_option("--env", env, "NAME=VALUE added to the environment; may be given again")
      ->group("Command")
      ->allow_extra_args(false);
  verb.add_option("--cwd", cwd, "Directory to run in (default: this one, or a pool's private_directory)")
      ->group("Command");
  verb.add_option("--stdin-result-of", stdin_result_of,
                  "Hand it what this job, a command, wrote to its standard output, when it has succeeded")
      ->group("Command")
      ->check(at_least_one());
}

bool CommandFlags::has_private_directory(const client::Client& client, const std::string& pool) const {
  if (!cwd.empty()) return false;
  // The daemon chooses the first pool that runs commands. A name that it does not know, it will refuse itself.
  const std::vector<client::PoolInfo> pools = client.pools();
  const auto chosen = std::ranges::find_if(
      pools, [&](const client::PoolInfo& info) { return pool.empty() ? info.mode == "COMMAND" : info.name == pool; });
  return chosen != pools.end() && chosen->settings.private_directory;
}

client::CommandLine CommandFlags::command(std::vector<std::string> argv) const {
  client::CommandLine command;
  command.argv = std::move(argv);
  command.env = env;
  command.stdin_result_of = stdin_result_of;
  for (const std::string& setting : env) {
    if (setting.find('=') == std::string::npos || setting.starts_with('=')) {
      throw UsageError("--env: \"" + setting + "\" is not NAME=VALUE");
    }
  }
  std::error_code problem;
  const std::filesystem::path directory =
      cwd.empty() ? std::filesystem::current_path(problem) : std::filesystem::absolute(cwd, problem);
  if (problem) throw UsageError("--cwd: " + problem.message() + ": name a directory that exists");
  command.cwd = directory.string();
  command.umask = ::umask(0);
  ::umask(*command.umask);  // it cannot be read otherwise
  return command;
}

}  // namespace futured::cli
