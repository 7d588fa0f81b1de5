// What a client is told of a number that no job has, or none any more.
#pragma once

#include "base/id.h"
#include "base/result.h"
#include "daemon/store/store.h"

namespace futured::rpc {

// kNotFound, or why the store cannot say. Asked after the job was looked for and not found.
[[nodiscard]] inline Error no_job(JobId id, StoreReader& reader) {
  const Result<std::uint64_t> until = reader.trimmed_until();
  if (!until.ok()) return until.error();
  const std::string job = "job " + std::to_string(id.value);
  if (id.value == 0 || id.value >= *until) return {ErrorCode::kNotFound, "no " + job};
  return {ErrorCode::kNotFound, job +
                                    " is not kept any more: retention removed it after it ended; [retention] in the "
                                    "daemon's settings, or the job's own retention, says how long jobs are kept"};
}

}  // namespace futured::rpc
