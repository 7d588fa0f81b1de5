// Between the public values and the messages of futured.v1. Internal.
#pragma once

#include <grpcpp/grpcpp.h>

#include <exception>
#include <string>
#include <vector>

#include "futured/admin.h"
#include "futured/errors.h"
#include "futured/types.h"
#include "futured/v1/callback.grpc.pb.h"
#include "futured/v1/futured.grpc.pb.h"

namespace futured::client {

namespace api = futured::v1;

[[nodiscard]] api::JobSpec to_spec(const JobOptions& options, std::string_view task);
void to_dependencies(const SubmitOptions& options, api::Item& out);
void to_part(const Part& part, api::Part& out);
void to_command(const CommandLine& command, api::Command& out);
void to_retries(const Retries& retries, api::Retries& out);
// completion_callbacks.cc
void to_callback(const CompletionCallback& callback, api::CallbackSpec& out);
[[nodiscard]] CallbackInfo from_callback(const api::Callback& callback);

// A set of ids as ranges: those of one batch are consecutive.
void add_ranges(std::vector<std::uint64_t> ids, google::protobuf::RepeatedPtrField<api::IdRange>& out);

void to_filter(const JobFilter& filter, api::JobFilter& out);

[[nodiscard]] Outcome from_outcome(api::Outcome&& outcome);
[[nodiscard]] Part from_part(api::Part&& part);
[[nodiscard]] Cause from_cause(const api::Cause& cause);
[[nodiscard]] JobInfo from_job(const api::Job& job);
// Throws when the discipline is no word of it.
void to_queue_options(const QueueOptions& options, api::QueueOptions& out);
[[nodiscard]] QueueInfo from_queue(const api::Queue& queue);
[[nodiscard]] PoolInfo from_pool(const api::Pool& pool);
[[nodiscard]] WorkerInfo from_worker(const api::Worker& worker);

// The exception that stands for a status that is not OK.
[[nodiscard]] std::exception_ptr to_exception(int status_code, const std::string& message);
[[nodiscard]] inline std::exception_ptr to_exception(const grpc::Status& status) {
  return to_exception(status.error_code(), status.error_message());
}
// A broken connection or a daemon that is starting: worth another try.
[[nodiscard]] bool is_transient(const grpc::Status& status);
// A stream that ended with this may be opened again: also one that was cut off for reading too slowly.
[[nodiscard]] bool may_resume(const grpc::Status& status);

}  // namespace futured::client
