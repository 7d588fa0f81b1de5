// Runs a chunk: many calls of one task within one job (docs/formats/chunk.md).
#pragma once

#include <functional>
#include <optional>

#include "worker/runtime/failure.h"
#include "worker/runtime/task_context.h"

namespace futured::runtime {

[[nodiscard]] bool is_chunk(Parts payload);

// Makes one call and says what went wrong.
using ChunkCall = std::function<std::optional<Failure>(Parts, ResultWriter&)>;

// Makes the calls one after the other. Each one's result or error goes to `out`, and none stops the others; a stop of
// the job, or a damaged chunk, is a failure of the whole.
[[nodiscard]] std::optional<Failure> run_chunk(const PartView& chunk, TaskContext& context, const ChunkCall& call,
                                               ResultWriter& out);

}  // namespace futured::runtime
