#include "client/cli/queue_flags.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <memory>
#include <utility>

#include "client/cli/input.h"
#include "client/cli/job_flags.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

using Options = client::QueueOptions;

constexpr const char* kGroup = "Options";
constexpr const char* kDefaults = "Of jobs that say nothing else";

bool is_none(const std::string& word) { return word == "none" || word == "0"; }

client::Milliseconds duration_of(const std::string& word, const char* option) {
  return is_none(word) ? client::Milliseconds(0) : parse_duration(word, option);
}

std::int64_t bytes_of(const std::string& word, const char* option) {
  return is_none(word) ? 0 : parse_bytes(word, option);
}

template <auto Member>
void copy(const Options& from, Options& to) {
  to.*Member = from.*Member;
}

// By the names of futured.v1.QueueOptions.
constexpr std::pair<const char*, void (*)(const Options&, Options&)> kFields[] = {
    {"concurrency_max", copy<&Options::concurrency_max>},
    {"concurrency_per_key_max", copy<&Options::concurrency_per_key_max>},
    {"rate", copy<&Options::rate>},
    {"rate_per_key", copy<&Options::rate_per_key>},
    {"queued_jobs_max", copy<&Options::queued_jobs_max>},
    {"queued_bytes_max", copy<&Options::queued_bytes_max>},
    {"pools", copy<&Options::pools>},
    {"weight", copy<&Options::weight>},
    {"fair", copy<&Options::fair>},
    {"ageing_ms", copy<&Options::ageing>},
    {"default_retries", copy<&Options::retries>},
    {"default_timeouts", copy<&Options::timeouts>},
    {"default_retention_ms", copy<&Options::retention>},
};

}  // namespace

// `set` is given the options and the value.
template <typename Value, typename Set>
CLI::Option& QueueFlags::add(CLI::App& verb, const Words& words, Set set) {
  const auto value = std::make_shared<Value>();
  CLI::Option& option = *verb.add_option(words.option, *value, words.what)->group(words.group);
  flags_.push_back({&option, words.field, [value, set](Options& options) { set(options, *value); }});
  return option;
}

// `of` tells which of the options it is: so do those below.
template <typename Of>
void QueueFlags::add_number(CLI::App& verb, const Words& words, Of of) {
  using Number = std::remove_reference_t<decltype(of(std::declval<Options&>()))>;
  add<Number>(verb, words, [of](Options& options, Number value) { of(options) = value; });
}

template <typename Of>
void QueueFlags::add_duration(CLI::App& verb, const Words& words, Of of) {
  add<std::string>(verb, words, [of, option = words.option](Options& options, const std::string& word) {
    of(options) = duration_of(word, option);
  });
}

template <typename Of>
void QueueFlags::add_list(CLI::App& verb, const Words& words, Of of) {
  using List = std::vector<std::string>;
  add<List>(verb, words, [of, option = words.option](Options& options, const List& given) {
    for (const std::string& word : given) require_utf8(option, word);
    of(options) = given == List{"none"} ? List() : given;
  }).allow_extra_args(false);
}

// A burst holds for the rate that is given with it, or that is there.
template <typename Of>
void QueueFlags::add_rate(CLI::App& verb, const Words& rate, const Words& burst, Of of) {
  add<std::string>(verb, rate, [of, option = rate.option](Options& options, const std::string& word) {
    const std::uint32_t before = of(options).burst;
    of(options) = parse_rate(word, option);
    if (of(options).starts != 0) of(options).burst = before;
  });
  add<std::uint32_t>(verb, burst,
                     [of, name = burst.option, option = rate.option](Options& options, std::uint32_t at_once) {
                       if (of(options).starts == 0) throw UsageError(std::string(name) + ": it goes with a " + option);
                       of(options).burst = at_once;
                     });
}

void QueueFlags::add_limits(CLI::App& verb) {
  add_number(
      verb, {"concurrency_max", kGroup, "--concurrency", "Jobs at once; 0 = no limit"},
      [](Options & options) -> auto& { return options.concurrency_max; });
  add_number(
      verb,
      {"concurrency_per_key_max", kGroup, "--concurrency-per-key", "Jobs at once with one limit key; 0 = no limit"},
      [](Options & options) -> auto& { return options.concurrency_per_key_max; });
  add_rate(
      verb, {"rate", kGroup, "--rate", "Starts in a time: 10/s, 100/m, 5/10s; none = no limit"},
      {"rate", kGroup, "--burst", "Starts at once after a pause (default: 1)"},
      [](Options & options) -> auto& { return options.rate; });
  add_rate(
      verb, {"rate_per_key", kGroup, "--rate-per-key", "Likewise, of jobs with one limit key"},
      {"rate_per_key", kGroup, "--burst-per-key", "Likewise"},
      [](Options & options) -> auto& { return options.rate_per_key; });
  add_number(
      verb, {"queued_jobs_max", kGroup, "--max-jobs", "Jobs that have not ended; over it submits wait; 0 = no limit"},
      [](Options & options) -> auto& { return options.queued_jobs_max; });
  add<std::string>(
      verb, {"queued_bytes_max", kGroup, "--max-bytes", "Bytes of their payloads, such as 1GiB; none = no limit"},
      [](Options& options, const std::string& word) {
        options.queued_bytes_max = static_cast<std::uint64_t>(bytes_of(word, "--max-bytes"));
      });
  add_list(
      verb,
      {"pools", kGroup, "--pool",
       "Pool that its jobs may name, the first is theirs by default; may be given again; none = any"},
      [](Options & options) -> auto& { return options.pools; });
  add<std::uint32_t>(
      verb, {"weight", kGroup, "--weight", "Turns among the queues of a pool (default: 1)"},
      [](Options& options, std::uint32_t weight) {
        if (weight == 0) {
          throw UsageError("--weight: 0 turns would start nothing; 1 is the least, and fut queue pause starts nothing");
        }
        options.weight = weight;
      });
  const auto fair = std::make_shared<bool>(false);
  flags_.push_back({verb.add_flag("--fair,!--no-fair", *fair, "Fairness keys take turns")->group(kGroup), "fair",
                    [fair](Options& options) { options.fair = *fair; }});
  add_duration(
      verb,
      {"ageing_ms", kGroup, "--ageing",
       "Of a priority queue: a step of priority for every so long of waiting, such as 10s; none"},
      [](Options & options) -> auto& { return options.ageing; });
}

void QueueFlags::add_retries(CLI::App& verb) {
  const auto words = [](const char* option, const char* what) {
    return Words{"default_retries", kDefaults, option, what};
  };
  add_number(
      verb, words("--attempts,--retries", "Runs in all before a job fails (default: 1)"),
      [](Options & options) -> auto& { return options.retries.max_attempts; });
  add_duration(
      verb, words("--backoff", "Wait before the second attempt"),
      [](Options & options) -> auto& { return options.retries.backoff; });
  add_number(
      verb, words("--backoff-factor", "Each further wait is so many times the last"),
      [](Options & options) -> auto& { return options.retries.factor; });
  add_duration(
      verb, words("--backoff-max", "No wait is longer (default: 1h)"),
      [](Options & options) -> auto& { return options.retries.backoff_max; });
  add_number(
      verb, words("--jitter", "Share of a wait that is random, 0 to 1"),
      [](Options & options) -> auto& { return options.retries.jitter; });
  add_list(
      verb,
      words("--retry-only",
            "Retry only this error: its class, TIMEOUT, OUT_OF_MEMORY, exit:N or signal:N; may be given again; "
            "none = all"),
      [](Options & options) -> auto& { return options.retries.only_classes; });
  add_list(
      verb, words("--retry-except", "Never retry this error; may be given again; none = none is left out"),
      [](Options & options) -> auto& { return options.retries.except_classes; });
  add<double>(
      verb,
      words("--retry-memory",
            "After an attempt that was out of memory the next one's limit is so many times as high; 0 = the same"),
      [](Options& options, double factor) {
        options.retries.memory_factor = factor;
        if (factor == 0) options.retries.memory_bytes_max = 0;
      });
  add<std::string>(verb, words("--retry-memory-max", "But never higher than this: 2GiB, 512MiB or a number of bytes"),
                   [](Options& options, const std::string& word) {
                     options.retries.memory_bytes_max = bytes_of(word, "--retry-memory-max");
                   });
}

void QueueFlags::add_timeouts(CLI::App& verb) {
  const auto add_one = [&](const char* option, const char* what, auto of) {
    add_duration(verb, {"default_timeouts", kDefaults, option, what}, of);
  };
  add_one(
      "--run-timeout", "Kill an attempt that runs longer",
      [](Options & options) -> auto& { return options.timeouts.run; });
  add_one(
      "--soft-timeout", "Ask an attempt to stop that runs longer",
      [](Options & options) -> auto& { return options.timeouts.soft; });
  add_one(
      "--heartbeat-timeout", "Kill one that gives no sign of life",
      [](Options & options) -> auto& { return options.timeouts.heartbeat; });
  add_one(
      "--queue-timeout", "End a job that has not started in time",
      [](Options & options) -> auto& { return options.timeouts.queue; });
  add_one(
      "--total-timeout", "End a job that has not ended in time",
      [](Options & options) -> auto& { return options.timeouts.total; });
  add_one(
      "--grace", "Between SIGTERM and the kill (default: 1s)",
      [](Options & options) -> auto& { return options.timeouts.grace; });
}

void QueueFlags::add_to(CLI::App& verb) {
  add_limits(verb);
  add_retries(verb);
  add_timeouts(verb);
  add_duration(
      verb, {"default_retention_ms", kDefaults, "--retention", "Kept so long after the end"},
      [](Options & options) -> auto& { return options.retention; });
}

std::vector<std::string> QueueFlags::fields() const {
  std::vector<std::string> fields;
  for (const Flag& flag : flags_) {
    const bool is_new = std::ranges::find(fields, flag.field) == fields.end();
    if (flag.option->count() > 0 && is_new) fields.emplace_back(flag.field);
  }
  return fields;
}

void QueueFlags::apply(client::QueueOptions& options) const {
  for (const Flag& flag : flags_) {
    if (flag.option->count() > 0) flag.apply(options);
  }
  for (const std::string& entry : options.retries.only_classes) check_retry_class("--retry-only", entry);
  for (const std::string& entry : options.retries.except_classes) check_retry_class("--retry-except", entry);
}

client::QueueOptions only(const client::QueueOptions& options, const std::vector<std::string>& fields) {
  client::QueueOptions chosen;
  for (const auto& [field, copies] : kFields) {
    if (std::ranges::find(fields, field) != fields.end()) copies(options, chosen);
  }
  return chosen;
}

client::RateLimit parse_rate(const std::string& word, const std::string& option) {
  client::RateLimit rate;
  if (is_none(word)) return rate;
  const std::size_t slash = std::min(word.find('/'), word.size());
  const auto [rest, problem] = std::from_chars(word.data(), word.data() + slash, rate.starts);
  const bool is_number = problem == std::errc() && rest == word.data() + slash;
  if (!is_number || !std::isfinite(rate.starts) || rate.starts <= 0 || slash + 1 == word.size()) {
    throw UsageError(option + ": \"" + word + "\" is no rate: write 10/s, 100/m or 5/10s, or none for no limit");
  }
  std::string per = slash == word.size() ? "1s" : word.substr(slash + 1);
  if (per[0] < '0' || per[0] > '9') per.insert(per.begin(), '1');
  rate.per = parse_duration(per, option);
  if (rate.per.count() == 0) throw UsageError(option + ": \"" + word + "\" is in no time: write 10/s or 100/m");
  return rate;
}

std::string rate_text(const client::RateLimit& rate) {
  if (rate.starts == 0) return "";
  char number[32];
  const auto end = std::to_chars(number, number + sizeof number, rate.starts).ptr;
  const std::string starts(number, end);
  std::string text = starts + (rate.per == client::Milliseconds(1000) ? "/s" : " in " + exact_duration_text(rate.per));
  if (rate.burst > 1) text += ", " + std::to_string(rate.burst) + " at once";
  return text;
}

}  // namespace futured::cli
