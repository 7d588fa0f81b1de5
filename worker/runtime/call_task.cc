#include "worker/runtime/call_task.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <typeinfo>
#include <utility>

#include "base/payload.h"

namespace futured::runtime {

namespace {

using channel::DoneStatus;

const std::byte* bytes_at(std::string_view text) { return reinterpret_cast<const std::byte*>(text.data()); }

std::string class_of_current_exception() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  return type == nullptr ? "unknown exception" : demangled(type->name());
}

}  // namespace

std::string demangled(const char* name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> readable(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                        std::free);
  return status == 0 ? readable.get() : name;
}

std::optional<Failure> resolve(channel::Run& run, MappingCache& mappings, std::vector<PartView>& parts) {
  if (run.payload.empty()) return std::nullopt;
  const auto decoded = decode_parts(run.payload);
  if (!decoded) return Failure{DoneStatus::kBadPayload, "BadPayload", decoded.error().message, true};
  std::size_t next_descriptor = 0;
  for (const Part& part : *decoded) {
    if (part.kind == PartKind::kInline) {
      parts.push_back({part.content_type, {bytes_at(part.bytes), part.bytes.size()}, nullptr});
      continue;
    }
    if (next_descriptor == run.descriptors.size()) {
      return Failure{DoneStatus::kWorkerError, "PayloadUnreadable",
                     "a segment of the payload did not reach the worker"};
    }
    auto mapping = mappings.get(part.segment, std::move(run.descriptors[next_descriptor++]), run.taken_at);
    if (!mapping) return Failure{DoneStatus::kWorkerError, "PayloadUnreadable", mapping.error().message};
    const std::span<const std::byte> all = (*mapping)->bytes();
    if (part.end > all.size()) {
      return Failure{
          DoneStatus::kBadPayload, "BadPayload",
          "a slice ends at byte " + std::to_string(part.end) + " of a segment of " + std::to_string(all.size()), true};
    }
    parts.push_back({part.content_type, all.subspan(part.begin, part.end - part.begin), std::move(*mapping)});
  }
  return std::nullopt;
}

Failure unreadable_payload() {
  return {DoneStatus::kWorkerError, "PayloadUnreadable", "the job's payload or its segments did not reach the worker"};
}

Failure unknown_task(std::uint32_t number) {
  return {DoneStatus::kUnknownTask, "UnknownTask", "this worker has no task number " + std::to_string(number)};
}

Failure failure_of_exception(TaskContext& context) {
  try {
    throw;
  } catch (const BadArgument& error) {
    return {DoneStatus::kBadPayload, "BadArgument", error.what(), true};
  } catch (const Stopped& error) {
    if (context.stop_requested()) return {DoneStatus::kStopped, "Stopped", error.what()};
    return {DoneStatus::kTaskError, "futured::Stopped", "the task stopped though nobody asked it to"};
  } catch (const ResultTooLarge& error) {
    return {DoneStatus::kResultTooLarge, "ResultTooLarge", error.what(), true};
  } catch (const std::bad_alloc& error) {
    return {DoneStatus::kOutOfMemory, demangled(typeid(error).name()), "an allocation of the task failed"};
  } catch (const RetryAfter& error) {
    const auto ms = std::clamp<std::int64_t>(error.delay().count(), 1, UINT32_MAX);  // 0 would not be said
    return {DoneStatus::kTaskError, error.error_class(), error.what(), false, static_cast<std::uint32_t>(ms)};
  } catch (const TaskError& error) {
    return {DoneStatus::kTaskError, error.error_class(), error.what(), error.retry() == Retry::kPointless};
  } catch (const std::exception& error) {
    return {DoneStatus::kTaskError, demangled(typeid(error).name()), error.what()};
  } catch (...) {
    return {DoneStatus::kTaskError, class_of_current_exception(), "the task threw something that is no std::exception"};
  }
}

void tell(const Failure& failure, channel::Outcome& outcome) {
  outcome.status = failure.status;
  outcome.error_class = failure.error_class;
  outcome.error_message = failure.message;
  outcome.no_retry = failure.no_retry;
  outcome.retry_after_ms = failure.retry_after_ms;
}

}  // namespace futured::runtime
