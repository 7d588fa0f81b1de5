// A chunk: many calls of one task within one job (docs/formats/chunk.md).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/chunk.h"
#include "base/time.h"
#include "worker/runtime/failure.h"
#include "worker/runtime/task_context.h"

namespace futured::runtime {

[[nodiscard]] bool is_chunk(Parts payload);

// The calls of a chunk, one after the other. Each one's result or error goes into the chunk's, and none stops the
// others; a stop of the job, or a damaged chunk, is a failure of the whole.
class ChunkRun {
 public:
  // Both outlive it.
  ChunkRun(const PartView& chunk, TaskContext& context);
  ~ChunkRun();
  ChunkRun(const ChunkRun&) = delete;
  ChunkRun& operator=(const ChunkRun&) = delete;

  // The arguments of the next call, until the one after it. Nothing: none is left, or the chunk has failed.
  [[nodiscard]] std::optional<Parts> next();
  // Where that call puts its result.
  [[nodiscard]] ResultWriter& result();
  void ended(const std::optional<Failure>& failure);

  // After the last call: puts all the results there, or says what went wrong.
  [[nodiscard]] std::optional<Failure> finish(ResultWriter& out);

 private:
  class CallResult;

  TaskContext& context_;
  const Instant began_ = monotonic_now();
  WireReader calls_;
  std::unique_ptr<CallResult> result_;
  std::string ends_;
  std::vector<PartView> arguments_;
  std::optional<Failure> failure_;
};

// Makes one call and says what went wrong.
using ChunkCall = std::function<std::optional<Failure>(Parts, ResultWriter&)>;

[[nodiscard]] std::optional<Failure> run_chunk(const PartView& chunk, TaskContext& context, const ChunkCall& call,
                                               ResultWriter& out);

}  // namespace futured::runtime
