// What a task asks about jobs that it waits for, and what it is told of how one ended: the requests of a CALL beside
// that of base/child.h, and the answer to one of them. docs/formats/channel.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"

namespace futured {

struct WaitCall {
  // The values are those of the first byte, which no request for a job begins with.
  enum class Kind : std::uint8_t {
    kWait = 0x81,    // have these jobs ended? If not, the run is nudged when they have, and asks again
    kGiveUp = 0x82,  // it waits for them no longer
    kRead = 0x83,    // how one of them ended, from an offset on
  };
  Kind kind = Kind::kWait;
  std::uint32_t wait = 0;      // kWait, kGiveUp: which wait of the run, by a number of its own
  bool lends_permits = false;  // kWait: those of semaphores too
  std::vector<JobId> jobs;     // kWait: at most limits::kWaitJobsMax. kRead: one
  std::uint64_t offset = 0;    // kRead

  bool operator==(const WaitCall&) const = default;
};

[[nodiscard]] bool is_wait_call(std::string_view encoded);
// At most limits::kChildBytesMax bytes.
[[nodiscard]] std::string encode_wait_call(const WaitCall& call);
// Refuses what is damaged or out of bounds.
[[nodiscard]] Result<WaitCall> decode_wait_call(std::string_view encoded);
[[nodiscard]] Status check_wait_call(std::string_view encoded);

// The text of the answer to kWait: whether there is anything left to wait for.
inline constexpr std::string_view kWaitIsOver = "over";
inline constexpr std::string_view kWaitIsOpen = "open";

// How a job ended, as a task is told. Views are the caller's.
struct WaitedOutcome {
  std::uint32_t state = 0;  // JobState of the API: 5 SUCCEEDED, 6 FAILED, 7 CANCELLED, 8 TIMED_OUT
  std::uint32_t exit_code = 0;
  std::uint32_t signal = 0;
  std::string_view cause;  // of the API, without its prefix: "TASK_ERROR"; empty: it succeeded
  std::string_view error_class;
  std::string_view message;
  std::string_view result;  // encoded parts (base/payload.h), all of them inline

  bool operator==(const WaitedOutcome&) const = default;
};

[[nodiscard]] std::string encode_outcome(const WaitedOutcome& outcome);
// Views into `encoded`.
[[nodiscard]] Result<WaitedOutcome> decode_outcome(std::string_view encoded);

// The text of the answer to kRead: a page of an encoded outcome, and how large all of it is.
struct OutcomePage {
  std::uint64_t total = 0;
  std::string_view bytes;
};
[[nodiscard]] std::string encode_page(std::string_view outcome, std::uint64_t offset);
[[nodiscard]] Result<OutcomePage> decode_page(std::string_view encoded);

}  // namespace futured
