#include "client/cli/queue_flags.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

constexpr const char* kGroup = "Options";
constexpr const char* kDefaults = "Of jobs that say nothing else";

bool is_none(const std::string& word) { return word == "none" || word == "0"; }

client::Milliseconds duration_of(const std::string& word, const char* option) {
  return is_none(word) ? client::Milliseconds(0) : parse_duration(word, option);
}

}  // namespace

void QueueFlags::add_to(CLI::App& verb) {
  const auto add = [&](const char* field, const char* group, const char* option, auto& value, const char* what) {
    all_.push_back({verb.add_option(option, value, what)->group(group), field});
  };
  add("concurrency_max", kGroup, "--concurrency", concurrency_, "Jobs at once; 0 = no limit");
  add("concurrency_per_key_max", kGroup, "--concurrency-per-key", concurrency_per_key_,
      "Jobs at once with one limit key; 0 = no limit");
  add("rate", kGroup, "--rate", rate_, "Starts in a time: 10/s, 100/m, 5/10s; none = no limit");
  add("rate", kGroup, "--burst", burst_, "Starts at once after a pause (default: 1)");
  add("rate_per_key", kGroup, "--rate-per-key", rate_per_key_, "Likewise, of jobs with one limit key");
  add("rate_per_key", kGroup, "--burst-per-key", burst_per_key_, "Likewise");
  add("queued_jobs_max", kGroup, "--max-jobs", max_jobs_,
      "Jobs that have not ended; over it submits wait; 0 = no limit");
  add("queued_bytes_max", kGroup, "--max-bytes", max_bytes_, "Bytes of their payloads, such as 1GiB; none = no limit");
  all_.push_back({verb.add_option("--pool", pools_,
                                  "Pool that its jobs may name, the first is theirs by default; may be given again; "
                                  "none = any")
                      ->group(kGroup)
                      ->allow_extra_args(false),
                  "pools"});
  add("weight", kGroup, "--weight", weight_, "Turns among the queues of a pool (default: 1)");
  all_.push_back({verb.add_flag("--fair,!--no-fair", fair_, "Fairness keys take turns")->group(kGroup), "fair"});
  add("ageing_ms", kGroup, "--ageing", ageing_, "A step of priority for every so long of waiting; none");
  add("default_retries", kDefaults, "--attempts,--retries", attempts_, "Runs in all before a job fails (default: 1)");
  add("default_retries", kDefaults, "--backoff", backoff_, "Wait before the second attempt");
  add("default_retries", kDefaults, "--backoff-factor", backoff_factor_, "Each further wait is so many times the last");
  add("default_retries", kDefaults, "--backoff-max", backoff_max_, "No wait is longer (default: 1h)");
  add("default_retries", kDefaults, "--jitter", jitter_, "Share of a wait that is random, 0 to 1");
  add("default_timeouts", kDefaults, "--run-timeout", run_timeout_, "Kill an attempt that runs longer");
  add("default_timeouts", kDefaults, "--soft-timeout", soft_timeout_, "Ask an attempt to stop that runs longer");
  add("default_timeouts", kDefaults, "--heartbeat-timeout", heartbeat_timeout_, "Kill one that gives no sign of life");
  add("default_timeouts", kDefaults, "--queue-timeout", queue_timeout_, "End a job that has not started in time");
  add("default_timeouts", kDefaults, "--total-timeout", total_timeout_, "End a job that has not ended in time");
  add("default_timeouts", kDefaults, "--grace", grace_, "Between SIGTERM and the kill (default: 1s)");
  add("default_retention_ms", kDefaults, "--retention", retention_, "Kept so long after the end");
}

bool QueueFlags::is_given(const char* option) const {
  return std::ranges::any_of(
      all_, [&](const Given& one) { return one.option->check_name(option) && one.option->count() > 0; });
}

std::vector<std::string> QueueFlags::fields() const {
  std::vector<std::string> fields;
  for (const Given& one : all_) {
    const bool is_new = std::ranges::find(fields, one.field) == fields.end();
    if (one.option->count() > 0 && is_new) fields.emplace_back(one.field);
  }
  return fields;
}

void QueueFlags::apply(client::QueueOptions& options) const {
  apply_limits(options);
  apply_retries(options.retries);
  apply_timeouts(options.timeouts);
  if (is_given("--retention")) options.retention = duration_of(retention_, "--retention");
}

void QueueFlags::apply_limits(client::QueueOptions& options) const {
  if (is_given("--concurrency")) options.concurrency_max = concurrency_;
  if (is_given("--concurrency-per-key")) options.concurrency_per_key_max = concurrency_per_key_;
  const auto apply_rate = [&](client::RateLimit& rate, const char* option, const std::string& word, const char* burst,
                              std::uint32_t at_once) {
    if (is_given(option)) {
      const std::uint32_t before = rate.burst;
      rate = parse_rate(word, option);
      if (rate.starts != 0) rate.burst = before;
    }
    if (!is_given(burst)) return;
    if (rate.starts == 0) throw UsageError(std::string(burst) + ": it goes with a " + option);
    rate.burst = at_once;
  };
  apply_rate(options.rate, "--rate", rate_, "--burst", burst_);
  apply_rate(options.rate_per_key, "--rate-per-key", rate_per_key_, "--burst-per-key", burst_per_key_);
  if (is_given("--max-jobs")) options.queued_jobs_max = max_jobs_;
  if (is_given("--max-bytes")) {
    options.queued_bytes_max =
        is_none(max_bytes_) ? 0 : static_cast<std::uint64_t>(parse_bytes(max_bytes_, "--max-bytes"));
  }
  if (is_given("--pool")) {
    for (const std::string& pool : pools_) require_utf8("--pool", pool);
    options.pools = pools_ == std::vector<std::string>{"none"} ? std::vector<std::string>() : pools_;
  }
  if (is_given("--weight")) options.weight = weight_;
  if (is_given("--fair")) options.fair = fair_;
  if (is_given("--ageing")) options.ageing = duration_of(ageing_, "--ageing");
}

void QueueFlags::apply_retries(client::Retries& retries) const {
  if (is_given("--attempts")) retries.max_attempts = attempts_;
  if (is_given("--backoff")) retries.backoff = duration_of(backoff_, "--backoff");
  if (is_given("--backoff-factor")) retries.factor = backoff_factor_;
  if (is_given("--backoff-max")) retries.backoff_max = duration_of(backoff_max_, "--backoff-max");
  if (is_given("--jitter")) retries.jitter = jitter_;
}

void QueueFlags::apply_timeouts(client::Timeouts& timeouts) const {
  const struct {
    const char* option;
    const std::string& word;
    client::Milliseconds& into;
  } all[] = {
      {"--run-timeout", run_timeout_, timeouts.run},
      {"--soft-timeout", soft_timeout_, timeouts.soft},
      {"--queue-timeout", queue_timeout_, timeouts.queue},
      {"--heartbeat-timeout", heartbeat_timeout_, timeouts.heartbeat},
      {"--total-timeout", total_timeout_, timeouts.total},
      {"--grace", grace_, timeouts.grace},
  };
  for (const auto& one : all) {
    if (is_given(one.option)) one.into = duration_of(one.word, one.option);
  }
}

client::QueueOptions only(const client::QueueOptions& options, const std::vector<std::string>& fields) {
  client::QueueOptions chosen;
  const auto has = [&](const char* field) { return std::ranges::find(fields, field) != fields.end(); };
  if (has("concurrency_max")) chosen.concurrency_max = options.concurrency_max;
  if (has("concurrency_per_key_max")) chosen.concurrency_per_key_max = options.concurrency_per_key_max;
  if (has("rate")) chosen.rate = options.rate;
  if (has("rate_per_key")) chosen.rate_per_key = options.rate_per_key;
  if (has("queued_jobs_max")) chosen.queued_jobs_max = options.queued_jobs_max;
  if (has("queued_bytes_max")) chosen.queued_bytes_max = options.queued_bytes_max;
  if (has("pools")) chosen.pools = options.pools;
  if (has("weight")) chosen.weight = options.weight;
  if (has("fair")) chosen.fair = options.fair;
  if (has("ageing_ms")) chosen.ageing = options.ageing;
  if (has("default_retries")) chosen.retries = options.retries;
  if (has("default_timeouts")) chosen.timeouts = options.timeouts;
  if (has("default_retention_ms")) chosen.retention = options.retention;
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
