// What was asked of a job, in words, as fut show has them. Each is "" when there is nothing but what holds by itself.
#pragma once

#include <span>
#include <string>

#include "futured/client.h"

namespace futured::cli {

[[nodiscard]] std::string timeouts_text(const client::Timeouts& timeouts);  // "queue 5 s, run 2 min, grace 10 s"
[[nodiscard]] std::string retries_text(const client::Retries& retries);     // "3 attempts, backoff 1 s, factor 3"
// "key nightly, ttl 12 h"; "by its arguments" when there is no more to tell.
[[nodiscard]] std::string caching_text(const client::CacheOptions& caching);
[[nodiscard]] std::string crashes_text(const client::JobOptions& options);
// "2: https://example.org/done (success, WAITING), sh:… (failure, WAITING)": the first of them.
[[nodiscard]] std::string callbacks_text(std::span<const client::CallbackInfo> callbacks);

}  // namespace futured::cli
