// A worker's side of a task without a worker.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "futured/task.h"

namespace futured::sdk {

inline PartView part(std::string_view type, std::string_view bytes) {
  return {type, {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, nullptr};
}

// Collects a result as "type=bytes;".
struct Collected final : ResultWriter {
  void add(std::string_view type, std::string_view bytes) override {
    all += std::string(type) + "=" + std::string(bytes) + ";";
  }
  void add_array(std::string_view dtype, const std::vector<std::uint64_t>& shape,
                 std::span<const std::byte> bytes) override {
    all += std::string(dtype) + "[" + std::to_string(shape.size()) + "]" + std::to_string(bytes.size()) + ";";
  }
  std::string all;
};

struct FakeContext final : Context {
  std::uint64_t job_id() const override { return 1; }
  std::uint32_t epoch() const override { return 1; }
  std::uint32_t attempt() const override { return 1; }
  std::uint64_t jobs_run_before() const override { return 0; }
  std::optional<std::chrono::steady_clock::time_point> deadline() const override { return ends_at; }
  bool stop_requested() override { return reason != StopReason::kNone; }
  [[nodiscard]] StopReason stop_reason() override { return reason; }
  bool wait_for(std::chrono::nanoseconds) override { return !stop_requested(); }
  void progress(std::uint64_t, std::uint64_t, std::string_view) override {}
  void log(LogLevel, std::string_view) override {}
  void heartbeat() override {}
  void emit(std::string_view) override { throw_if_stopped(); }
  Shared make_shared_memory(std::size_t bytes) override {
    const std::shared_ptr<std::byte[]> memory(new std::byte[bytes]());
    return {{memory.get(), bytes}, memory};
  }
  // Notes what is asked as "task(type=bytes;)@queue".
  std::uint64_t submit_job(std::string_view task, const AddArguments& add_arguments,
                           const SubmitOptions& options) override {
    throw_if_stopped();
    if (task == "unknown") throw SubmitError("NOT_FOUND", "no task \"unknown\"");
    Collected arguments;
    add_arguments(arguments);
    submitted += std::string(task) + "(" + arguments.all + ")@" + options.queue;
    return 7;
  }

  bool wait_jobs(const std::vector<std::uint64_t>& jobs, const WaitJobs& options) override {
    throw_if_stopped();
    if (std::ranges::find(jobs, job_id()) != jobs.end()) throw WaitError("FAILED_PRECONDITION", "job 1 -> job 1");
    waited += jobs.size();
    return options.timeout.count() == 0;
  }
  ChildOutcome read_outcome(std::uint64_t job) override {
    if (outcome_of_all.job == 0) throw WaitError("FAILED_PRECONDITION", "it has not ended");
    ChildOutcome told = outcome_of_all;
    told.job = job;
    return told;
  }

  std::size_t waited = 0;
  ChildOutcome outcome_of_all;
  StopReason reason = StopReason::kNone;
  std::optional<std::chrono::steady_clock::time_point> ends_at;
  std::string submitted;
};

// Its result, as Collected has it.
std::string call_task(auto function, std::vector<PartView> parts) {
  FakeContext context;
  Collected out;
  wrap(function)(context, parts, out);
  return out.all;
}

}  // namespace futured::sdk
