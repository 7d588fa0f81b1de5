#include "daemon/store/taken_results.h"

#include <map>
#include <utility>

#include "base/command.h"
#include "base/limits.h"
#include "base/payload.h"

namespace futured {

namespace {

std::string name_of(JobId job) { return "job " + std::to_string(job.value); }

bool is_of(const Part& part, std::string_view type) {
  return part.content_type.starts_with(type) &&
         (part.content_type.size() == type.size() || part.content_type[type.size()] == ';');
}

// What a task emitted or logged lies behind its result and is no part of it.
bool is_beside(const Part& part) {
  return part.kind != PartKind::kSegment && (is_of(part, kEmittedType) || is_of(part, kLogType));
}

// Of a command that wrote much the result has the end, and a file the rest.
bool is_cut(const Part& part) {
  return (is_of(part, kStdoutType) || is_of(part, kStderrType)) &&
         (part.content_type.find("; file=") != std::string_view::npos ||
          part.content_type.find(";file=") != std::string_view::npos);
}

class Payload {
 public:
  // Of the results that are put in; what the job brought itself was within its bounds.
  void add(const Part& part) {
    ++parts_;
    if (part.kind == PartKind::kInline) bytes_ += part.bytes.size();
    if (is_fit()) append_part(encoded_, part);
  }
  [[nodiscard]] bool is_fit() const { return parts_ <= limits::kPayloadPartsMax && bytes_ <= limits::kPayloadBytesMax; }
  [[nodiscard]] std::string why_unfit() const {
    if (parts_ > limits::kPayloadPartsMax) {
      return "with the results that it takes its payload has more than " + std::to_string(limits::kPayloadPartsMax) +
             " parts";
    }
    return "with the results that it takes its payload has over " + std::to_string(limits::kPayloadBytesMax) +
           " bytes inline; let the job that makes them return arrays, which are shared memory, or less";
  }
  [[nodiscard]] std::string take() { return std::move(encoded_); }

 private:
  std::string encoded_;
  std::size_t parts_ = 0;
  std::size_t bytes_ = 0;
};

// Why they cannot be part of a payload; empty: they were added.
std::string add_result(JobId of, std::string_view result, bool only_first, Payload& payload) {
  const auto parts = decode_parts(result);
  if (!parts.ok()) return "the result of " + name_of(of) + " is damaged";
  bool is_first = true;
  for (const Part& part : *parts) {
    if (is_beside(part)) continue;
    if (only_first && (is_of(part, kStderrType) || !std::exchange(is_first, false))) continue;
    if (is_cut(part)) {
      return "the output of " + name_of(of) + " is too large to be part of a payload; write it to a file of its own";
    }
    // A worker may have written anything; what it says of others' results is not followed.
    if (part.kind == PartKind::kResult) return "the result of " + name_of(of) + " is damaged";
    payload.add(part);
  }
  return {};
}

}  // namespace

Status put_results(StoredJob& job, const ResultOf& result_of) {
  const auto parts = decode_parts(job.payload.view());
  if (!parts.ok()) return {};
  std::map<JobId, std::string> results;
  Payload payload;
  for (const Part& part : *parts) {
    if (part.kind != PartKind::kResult) {
      payload.add(part);
      continue;
    }
    if (!part.result_of.is_set()) continue;
    auto result = results.find(part.result_of);
    if (result == results.end()) {
      auto found = result_of(part.result_of);
      if (!found.ok() && found.error().code != ErrorCode::kNotFound) return found.error();
      if (found.ok() && !*found) return {};
      if (!found.ok()) {
        const std::string why = "the result of " + name_of(part.result_of) + ": " + found.error().message;
        payload.add({.kind = PartKind::kLost, .bytes = why});
        continue;
      }
      result = results.emplace(part.result_of, **std::move(found)).first;
    }
    job.unfit = add_result(part.result_of, result->second, part.only_first, payload);
    if (job.unfit.empty() && !payload.is_fit()) job.unfit = payload.why_unfit();
    if (!job.unfit.empty()) return {};
  }
  if (!payload.is_fit()) {
    job.unfit = payload.why_unfit();
    return {};
  }
  job.own_bytes = job.payload.size;
  job.payload = SharedBytes::of(payload.take());
  return {};
}

}  // namespace futured
