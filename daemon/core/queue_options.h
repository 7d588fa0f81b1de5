// QueueOptions: what a queue allows and gives its jobs, beside their order. All of it may change while the queue lives.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace futured {

// A token bucket: `starts` in each `per`, and at most `burst` at once after a pause. starts == 0: no limit.
struct RateLimit {
  double starts = 0;
  Duration per{0};
  std::uint32_t burst = 1;

  [[nodiscard]] bool is_set() const { return starts > 0; }
  bool operator==(const RateLimit&) const = default;
};

// What jobs of the queue get whose submit says nothing else; 0: nothing.
struct QueueDefaults {
  std::uint32_t max_attempts = 0;
  Duration backoff{0};
  double backoff_factor = 0;
  Duration backoff_max{0};
  double jitter = 0;
  Duration queue_timeout{0};
  Duration soft_timeout{0};
  Duration run_timeout{0};
  Duration heartbeat_timeout{0};
  Duration total_timeout{0};
  Duration grace{0};
  Duration retention{0};
  std::vector<std::string> retry_only;  // for jobs that name neither these nor those
  std::vector<std::string> retry_except;
  // Left out for a job with one attempt, or whose pool has no limit that it could raise.
  double retry_memory_factor = 0;
  std::uint64_t retry_memory_bytes_max = 0;

  bool operator==(const QueueDefaults&) const = default;
};

struct QueueOptions {
  std::uint32_t concurrency_max = 0;          // jobs offered or running at once; 0: no limit
  std::uint32_t concurrency_per_key_max = 0;  // likewise, by JobSpec::limit_key
  RateLimit rate;                             // of starts
  RateLimit rate_per_key;                     // by JobSpec::limit_key
  std::uint64_t queued_jobs_max = 0;          // unfinished jobs; over it a submit is refused. 0: no limit
  std::uint64_t queued_bytes_max = 0;         // of their payloads
  std::vector<std::string> pools;             // that its jobs may name; the first is that of jobs that name none
  std::uint32_t weight = 1;                   // among the queues of a pool
  bool fair = false;                          // fairness keys take turns
  Duration ageing{0};                         // one step of priority for every so long of waiting; 0: none
  QueueDefaults defaults;

  bool operator==(const QueueOptions&) const = default;
};

// A change names those it sets; the others stay as they are.
enum class QueueField : std::uint8_t {
  kConcurrencyMax,
  kConcurrencyPerKeyMax,
  kRate,
  kRatePerKey,
  kQueuedJobsMax,
  kQueuedBytesMax,
  kPools,
  kWeight,
  kFair,
  kAgeing,
  kDefaultRetries,
  kDefaultTimeouts,
  kDefaultRetention,
};

// Takes the named fields over from `changed`.
void change(QueueOptions& options, const QueueOptions& changed, const std::vector<QueueField>& fields);

// As the store keeps them: docs/formats/database.md. Nothing but defaults is no bytes at all.
[[nodiscard]] std::string encode_queue_options(const QueueOptions& options);
[[nodiscard]] Result<QueueOptions> decode_queue_options(std::string_view encoded);

}  // namespace futured
