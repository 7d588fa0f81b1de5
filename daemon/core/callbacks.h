// Callbacks: what is to be done when a job or a batch has ended, and how a delivery of it is named and kept.
//
// A JobSpec carries its callbacks encoded: most jobs have none, and who only moves specs need not look into them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "daemon/core/types.h"

namespace futured {

// Values of these three are stored; they never change meaning.
enum class CompletionCondition : std::uint8_t { kEnded = 0, kSucceeded = 1, kNotSucceeded = 2 };
enum class CallbackTarget : std::uint8_t { kWebhook = 1, kGrpc = 2, kCommand = 3, kFollowUp = 4 };
// Delivering it is making a job.
[[nodiscard]] constexpr bool is_job(CallbackTarget target) {
  return target == CallbackTarget::kCommand || target == CallbackTarget::kFollowUp;
}
enum class DeliveryState : std::uint8_t {
  kWaiting = 1,     // registered after the submit; its job has not ended
  kDelivering = 2,  // due at its time
  kDelivered = 3,
  kFailed = 4,  // all attempts are used up
  kBehind = 5,  // due once one before it, of the same job and receiver, is settled
  kNotDue = 6,  // registered after the submit; its job ended otherwise than it asks for
};

// When a delivery that failed is tried again.
struct DeliveryRetries {
  std::uint32_t max_attempts = 12;  // with the rest as it is here: for about an hour
  Duration backoff = std::chrono::seconds(2);
  double factor = 2;
  Duration backoff_max = std::chrono::hours(1);
  double jitter = 0.1;  // share of each wait that is random

  bool operator==(const DeliveryRetries&) const = default;
};

struct CallbackSpec {
  CompletionCondition condition = CompletionCondition::kEnded;
  CallbackTarget target = CallbackTarget::kWebhook;
  bool whole_batch = false;
  std::uint32_t lane = 0;  // receiver, below limits::kCallbackLanes: those of one lane wait for each other
  DeliveryRetries retries;
  Duration timeout = std::chrono::seconds(10);  // of one delivery; kCommand: of one attempt of the job, 0: none
  std::string address;                          // kWebhook: URL; kGrpc: address
  std::string credential;                       // kWebhook: name of the secret; kGrpc: TLS name; empty: none
  std::vector<std::pair<std::string, std::string>> headers;  // kWebhook
  std::string body;                                          // kCommand: an encoded command (base/command.h);
                                                             // kFollowUp: the follow-up's options, as the API has them
  std::int32_t priority = 0;                                 // kFollowUp, as the three below: checked at the submit
  std::string queue;
  std::string pool;
  std::string task;

  bool operator==(const CallbackSpec&) const = default;
};

[[nodiscard]] std::string encode_callbacks(const std::vector<CallbackSpec>& callbacks);
[[nodiscard]] Result<std::vector<CallbackSpec>> decode_callbacks(std::string_view encoded);

// What the scheduler keeps of a callback.
struct CallbackTerms {
  CompletionCondition condition = CompletionCondition::kEnded;
  bool whole_batch = false;
  std::uint32_t lane = 0;
};
[[nodiscard]] inline CallbackTerms terms_of(const CallbackSpec& spec) {
  return {spec.condition, spec.whole_batch, spec.lane};
}
[[nodiscard]] bool is_met(CompletionCondition condition, bool succeeded);

// A callback of a submit needs no row to have a number: job and place give it. Those registered later are counted, and
// odd.
inline constexpr std::uint64_t kCallbackIdsPerJob = 32;
[[nodiscard]] constexpr CallbackId callback_of(JobId job, std::uint32_t index) {
  return {job.value * kCallbackIdsPerJob + 2 * std::uint64_t{index}};
}
[[nodiscard]] constexpr CallbackId later_callback(std::uint64_t number) { return {2 * number + 1}; }
[[nodiscard]] constexpr bool is_later(CallbackId id) { return id.value % 2 == 1; }
[[nodiscard]] constexpr JobId job_of(CallbackId id) { return {id.value / kCallbackIdsPerJob}; }
[[nodiscard]] constexpr std::uint32_t index_of(CallbackId id) {
  return static_cast<std::uint32_t>(id.value % kCallbackIdsPerJob / 2);
}

}  // namespace futured
