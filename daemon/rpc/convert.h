// Between the messages of futured.v1 and the words of the core. No gRPC, no state.
//
// What is asked is checked here once: a refusal begins with the name of the field that it is about
// ("spec.retries.max_attempts: 2000 is over 1000"), and what is known but not built is refused by name.
#pragma once

#include <google/protobuf/repeated_ptr_field.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/payload.h"
#include "base/result.h"
#include "daemon/core/event.h"
#include "daemon/core/rows.h"
#include "daemon/core/types.h"
#include "daemon/rpc/callback_names.h"
#include "futured/v1/types.pb.h"

namespace futured::rpc {

namespace api = futured::v1;

// ---- Asked ----------------------------------------------------------------------------------------------------

[[nodiscard]] Error invalid(std::string_view field, std::string_view why);
[[nodiscard]] Error too_much(std::string_view field, std::string_view why);
[[nodiscard]] Error unbuilt(std::string_view field);
// The field that a refusal of this folder names.
[[nodiscard]] std::string field_of(const Error& error);

[[nodiscard]] bool is_utf8(std::string_view text);
// A name as types.proto defines it. An empty one is refused.
[[nodiscard]] Status check_name(std::string_view name, std::string_view field);

// All but when it may start, and behind what.
[[nodiscard]] Result<JobSpec> to_spec(const api::JobSpec& spec, const CallbackNames& names = {});

// Which errors are tried again, and with how much memory: of a job, or of a queue for its jobs.
struct RetryChoice {
  std::vector<std::string> only;
  std::vector<std::string> except;
  double memory_factor = 0;
  std::uint64_t memory_bytes_max = 0;
};
// `field` is that of the retries. Refuses a memory_factor beside one attempt; what a pool allows is checked where that
// is known.
[[nodiscard]] Result<RetryChoice> to_retry_choice(const api::Retries& retries, const std::string& field);
// Where no client hands segments in, so that none would be stored.
[[nodiscard]] Status refuse_durable_segments(const api::JobSpec& spec, const std::string& field);

// When the jobs of a batch may start. At most one of the two times is set.
struct Start {
  WallTime at;       // 0: at once
  Duration after{};  // the submit
  std::vector<event::AskedDependency> dependencies = {};
};
[[nodiscard]] Result<Start> to_start(const api::JobSpec& spec);

// Of the items themselves, ascending by item. A cycle is refused, naming its items in order.
using ItemDependencies = std::vector<std::pair<std::uint32_t, event::AskedDependency>>;
[[nodiscard]] Result<std::vector<event::AskedDependency>> to_dependencies(const api::JobSpec& spec);
[[nodiscard]] Result<ItemDependencies> to_dependencies(const google::protobuf::RepeatedPtrField<api::Item>& items,
                                                       std::size_t of_spec);
void to_api(const DependencyRow& row, api::Dependency& out);

// The payloads of a batch, encoded one after another: what event::Submit takes.
struct Payloads {
  std::shared_ptr<const std::string> bytes;
  std::vector<std::uint32_t> ends;
  bool has_segments = false;   // in memory only
  bool names_results = false;  // of other jobs, which are dependencies then
};

// How large a segment is, if the caller may use it.
using SegmentSize = std::function<Result<std::uint64_t>(SegmentId)>;

// What a user has sent once and names by its digest, as it was written.
struct NamedContent {
  SegmentId id;
  std::uint64_t bytes = 0;
  std::string content_type;
};
using FindContent = std::function<Result<NamedContent>(const std::string& digest)>;

[[nodiscard]] Result<Payloads> to_payloads(const api::PackedItems& packed, bool commands);
// Without `find_content` parts that name a digest are refused.
[[nodiscard]] Result<Payloads> to_payloads(const google::protobuf::RepeatedPtrField<api::Item>& items, bool commands,
                                           const SegmentSize& segment_size, const FindContent& find_content = nullptr);

// ---- Told -----------------------------------------------------------------------------------------------------

// Text that a worker wrote, for a message of the API, which carries UTF-8 only.
[[nodiscard]] std::string as_utf8(std::string_view text);
[[nodiscard]] api::JobState to_api(JobState state);
// Unset for a number that no state has.
[[nodiscard]] Result<JobState> from_api(api::JobState state, std::string_view field);
// Those that the API tells as this one; empty for one that no job ends by.
[[nodiscard]] std::vector<CauseKind> from_api(api::CauseKind kind);
[[nodiscard]] api::QueueDiscipline to_api(Discipline discipline);
void to_api(const Cause& cause, api::Cause& out);
void to_api(const JobSpec& spec, api::JobSpec& out);
void to_api(const AttemptRow& attempt, api::Attempt& out);
void to_api(const Error& error, api::Error& out);

// The number of the gRPC status code that stands for this kind of error.
[[nodiscard]] int status_code(ErrorCode code);

// One part of a result or payload. Without bytes: what it is and how it is found, but not what it holds.
void to_api(const Part& part, bool with_bytes, api::Part& out);

enum class ResultWanted { kInline, kNone };

// How a job ended. The result is left out over limits::kResultInlineBytesMax, or when it is not wanted.
void to_outcome(JobId id, const Ending& ending, ResultWanted wanted, api::Outcome& out);

// The command line of a command job's encoded payload, without standard input. False: it is none.
bool to_command(std::string_view payload, api::Command& out);

// Gathers outcomes, the cheapest ones packed. `first` is the smallest id that will be added.
class OutcomePacker {
 public:
  using Outcomes = google::protobuf::RepeatedPtrField<api::Outcome>;
  using Packed = google::protobuf::RepeatedPtrField<api::PackedOutcomes>;

  OutcomePacker(JobId first, ResultWanted wanted, Outcomes& outcomes, Packed& packed)
      : first_(first), wanted_(wanted), outcomes_(outcomes), packed_(packed) {}

  // Returns about how many bytes this adds to the message.
  std::size_t add(JobId id, const Ending& ending);

 private:
  std::size_t pack(api::PackedOutcomes*& into, JobId id);

  JobId first_;
  ResultWanted wanted_;
  Outcomes& outcomes_;
  Packed& packed_;
  api::PackedOutcomes* empty_ = nullptr;     // of jobs without a part
  api::PackedOutcomes* one_part_ = nullptr;  // of jobs with one
};

}  // namespace futured::rpc
