#include "client/cli/options_text.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/limits.h"
#include "client/cli/callback_flags.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

// As types.proto says. The daemon tells them for what was not asked.
constexpr double kFactorDefault = 2;
constexpr client::Milliseconds kBackoffMaxDefault(3'600'000);

constexpr std::size_t kCallbacksShown = 4;

void add(std::string& text, const std::string& entry) { text += (text.empty() ? "" : ", ") + entry; }

void add(std::string& text, const char* name, client::Milliseconds duration) {
  if (duration.count() != 0) add(text, name + (" " + exact_duration_text(duration)));
}

std::string number_text(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", number);
  return text;
}

}  // namespace

std::string timeouts_text(const client::Timeouts& timeouts) {
  std::string text;
  add(text, "queue", timeouts.queue);
  add(text, "run", timeouts.run);
  add(text, "soft", timeouts.soft);
  add(text, "heartbeat", timeouts.heartbeat);
  add(text, "total", timeouts.total);
  if (timeouts.grace.count() != limits::kKillGraceMs) add(text, "grace", timeouts.grace);
  return text;
}

std::string retries_text(const client::Retries& retries) {
  std::string text;
  if (retries.max_attempts > 1) add(text, std::to_string(retries.max_attempts) + " attempts");
  add(text, "backoff", retries.backoff);
  if (retries.factor != 0 && retries.factor != kFactorDefault) add(text, "factor " + number_text(retries.factor));
  if (retries.backoff_max != kBackoffMaxDefault) add(text, "at most", retries.backoff_max);
  if (retries.jitter != 0) add(text, "jitter " + number_text(retries.jitter));
  if (retries.memory_factor != 0) {
    add(text, number_text(retries.memory_factor) + " times the memory up to " + bytes_text(retries.memory_bytes_max));
  }
  return text;
}

std::string caching_text(const client::CacheOptions& caching) {
  std::string text;
  if (!caching.key.empty()) add(text, "key " + caching.key);
  if (caching.ttl.count() != 0) add(text, "ttl", caching.ttl);
  std::string ignored;
  for (const std::uint32_t part : caching.ignored_parts) ignored += " part " + std::to_string(part);
  for (const std::string& field : caching.ignored_fields) ignored += " field " + field;
  if (!ignored.empty()) add(text, "ignores" + ignored);
  if (caching.failures) add(text, "failures, too");
  if (caching.explain) add(text, "explained");
  return text.empty() ? "by its arguments" : text;
}

std::string crashes_text(const client::JobOptions& options) {
  if (options.crashes_max == 0 || options.crashes_max == limits::kCrashesDefault) return {};
  return "quarantined after " + std::to_string(options.crashes_max) +
         (options.crashes_max == 1 ? " worker" : " workers");
}

std::string callbacks_text(std::span<const client::CallbackInfo> callbacks) {
  std::string text;
  for (const client::CallbackInfo& info : callbacks.first(std::min(callbacks.size(), kCallbacksShown))) {
    const std::string whose = info.callback.whole_batch ? " of the batch" : "";
    add(text, target_text(info.callback) + " (" + condition_text(info.callback.on) + whose + ", " + info.state + ")");
  }
  if (callbacks.size() > kCallbacksShown) add(text, "…");
  return text.empty() ? text : std::to_string(callbacks.size()) + ": " + text;
}

}  // namespace futured::cli
