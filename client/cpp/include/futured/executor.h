// Executor: submits jobs that share options; submissions are gathered into batches by themselves.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "futured/future.h"
#include "futured/mapped.h"
#include "futured/types.h"

namespace futured::client {

class ExecutorState;

// A copyable handle, safe from any thread. submit() blocks only while the daemon has no room for more (back-pressure).
class Executor {
 public:
  // A call of a task with one part of bytes.
  Future submit(std::string_view task, std::string_view payload) const;
  Future submit(std::string_view task, std::string_view payload, const SubmitOptions& options) const;
  // A call of a task with any parts.
  Future submit(std::string_view task, const std::vector<Part>& payload, const SubmitOptions& options = {}) const;
  // A command line.
  Future submit(const CommandLine& command, const SubmitOptions& options = {}) const;

  // As many calls of a task as there are payloads, 1 to 10,000 and 16 MiB in all, as one batch: it is accepted or
  // refused as a whole, and a CompletionCallback with whole_batch means it, as does an idempotency key. Error of kind
  // kInvalidArgument when there are none, kResourceExhausted when there are too many.
  std::vector<Future> submit_all(std::string_view task, std::span<const std::string> payloads,
                                 const SubmitOptions& options = {}) const;

  // Results of task(input) for every input, in order or as they end, with bounded look-ahead.
  [[nodiscard]] Mapped map(std::string_view task, std::vector<std::string> inputs, MapOptions options = {}) const;
  // The same for inputs that are made while the map goes on; the source returns nothing at its end.
  [[nodiscard]] Mapped map(std::string_view task, Mapped::Source source, MapOptions options = {}) const;
  // The same for any range of text or numbers, an endless one too. One that is not moved in must outlive the Mapped.
  template <std::ranges::input_range Range>
  requires MapInput<std::ranges::range_value_t<Range>>
  [[nodiscard]] Mapped map(std::string_view task, Range&& inputs, MapOptions options = {}) const {
    return map(task, map_source(std::forward<Range>(inputs)), options);
  }

  // Refuses further submits. `cancel_futures` cancels what has not ended (refused where JobOptions::follow is false);
  // `wait` waits until all has ended.
  void shutdown(bool wait = true, bool cancel_futures = false) const;

 private:
  friend class Client;
  friend class Mapped;
  friend class Session;
  explicit Executor(std::shared_ptr<ExecutorState> state) : state_(std::move(state)) {}

  std::shared_ptr<ExecutorState> state_;
};

}  // namespace futured::client
