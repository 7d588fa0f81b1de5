// What all modes do around a call of a task: its arguments are found, and what it throws becomes a failure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "segment/mapping_cache.h"
#include "worker/channel/worker_end.h"
#include "worker/runtime/failure.h"
#include "worker/runtime/task_context.h"

namespace futured::runtime {

// Gives every part of a taken run's payload its bytes: in the payload's memory, or in a mapped segment.
[[nodiscard]] std::optional<Failure> resolve(channel::Run& run, MappingCache& mappings, std::vector<PartView>& parts);

// Of a run whose payload or segments did not arrive.
[[nodiscard]] Failure unreadable_payload();
// Of a run that names a task by a number that none has.
[[nodiscard]] Failure unknown_task(std::uint32_t number);

// For a handler: what the exception that is being handled says of the task.
[[nodiscard]] Failure failure_of_exception(TaskContext& context);

void tell(const Failure& failure, channel::Outcome& outcome);

// The name of a type as C++ writes it.
[[nodiscard]] std::string demangled(const char* name);

}  // namespace futured::runtime
