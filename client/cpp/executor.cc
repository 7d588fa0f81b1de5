#include "futured/executor.h"

#include <string>
#include <utility>

#include "base/chunk.h"
#include "base/limits.h"
#include "client/cpp/executor_state.h"

namespace futured::client {

namespace {

// A message that the daemon cannot take breaks the stream for all that share it, so it never leaves.
void refuse_over(std::size_t bytes, const char* what, const char* way_out) {
  if (bytes <= limits::kPayloadBytesMax) return;
  throw Error(ErrorKind::kResourceExhausted, std::string(what) + ": " + std::to_string(bytes) + " bytes are over the " +
                                                 std::to_string(limits::kPayloadBytesMax) + " of a job: " + way_out);
}

}  // namespace

void ExecutorState::check_open() const {
  client->check_process();
  if (closed.load(std::memory_order_relaxed)) {
    throw Error(ErrorKind::kFailedPrecondition, "this executor has been shut down: make another one");
  }
}

std::shared_ptr<const Spec> ExecutorState::spec_for(std::string_view task) {
  for (std::size_t i = 0; i < options.callbacks.size(); ++i) {
    if (!options.callbacks[i].whole_batch) continue;
    throw Error(ErrorKind::kInvalidArgument,
                "callbacks[" + std::to_string(i) + "].whole_batch: only submit_all() makes a batch");
  }
  return batch_spec_for(task);
}

std::shared_ptr<const Spec> ExecutorState::batch_spec_for(std::string_view task) {
  check_open();
  const std::lock_guard guard(mutex_);
  if (const auto known = specs_.find(task); known != specs_.end()) return known->second;
  auto spec = std::make_shared<Spec>();
  spec->proto = to_spec(options, task);
  spec->follow = options.follow;
  spec->tally = tally;
  return specs_.emplace(task, std::move(spec)).first->second;
}

std::shared_ptr<const Spec> ExecutorState::chunk_spec_for(std::string_view task) {
  auto spec = std::make_shared<Spec>(*spec_for(task));
  spec->content_type = kChunkType;
  return spec;
}

namespace {

bool has_dependencies(const SubmitOptions& options) {
  return !options.after.empty() || !options.after_success.empty() || !options.after_failure.empty() ||
         !options.when.empty() || !options.depends_on.empty();
}

}  // namespace

Future Executor::submit(std::string_view task, std::string_view payload) const {
  return state_->client->pipeline.submit(state_->spec_for(task), payload);
}

Future Executor::submit(std::string_view task, std::string_view payload, const SubmitOptions& options) const {
  if (options.idempotency_key.empty() && !has_dependencies(options)) return submit(task, payload);
  return submit(task, {Part{.bytes = std::string(payload)}}, options);
}

Future Executor::submit(std::string_view task, const std::vector<Part>& payload, const SubmitOptions& options) const {
  api::Item item;
  item.set_idempotency_key(options.idempotency_key);
  to_dependencies(options, item);
  std::size_t bytes = item.ByteSizeLong();
  std::size_t inline_bytes = 0;
  for (const Part& part : payload) {
    to_part(part, *item.add_parts());
    bytes += part.bytes.size() + part.content_type.size() + 16;
    if (part.segment.id == 0 && part.result_of == 0) inline_bytes += part.bytes.size();
  }
  refuse_over(inline_bytes, "payload", "hand them over as a segment with put()");
  return state_->client->pipeline.submit(state_->spec_for(task), std::move(item), bytes);
}

std::vector<Future> Executor::submit_all(std::string_view task, std::span<const std::string> payloads,
                                         const SubmitOptions& options) const {
  if (has_dependencies(options)) {
    throw Error(ErrorKind::kInvalidArgument, "what a whole batch waits for is said in the executor's JobOptions");
  }
  return state_->client->pipeline.submit_all(state_->batch_spec_for(task), payloads, options.idempotency_key);
}

Future Executor::submit(const CommandLine& command, const SubmitOptions& options) const {
  api::Item item;
  item.set_idempotency_key(options.idempotency_key);
  to_dependencies(options, item);
  to_command(command, *item.mutable_command());
  const std::size_t bytes = item.ByteSizeLong();
  refuse_over(command.stdin_bytes.size(), "standard input", "let the command read a file");
  refuse_over(bytes - command.stdin_bytes.size(), "command line", "let the command read a file");
  return state_->client->pipeline.submit(state_->spec_for({}), std::move(item), bytes);
}

Mapped Executor::map(std::string_view task, std::vector<std::string> inputs, MapOptions options) const {
  auto source = [inputs = std::move(inputs), next = std::size_t{0}]() mutable -> std::optional<std::string> {
    if (next == inputs.size()) return std::nullopt;
    return std::move(inputs[next++]);
  };
  return map(task, Mapped::Source(std::move(source)), options);
}

Mapped Executor::map(std::string_view task, Mapped::Source source, MapOptions options) const {
  return Mapped(*this, std::string(task), std::move(source), options);
}

void Executor::shutdown(bool wait, bool cancel_futures) const {
  if (cancel_futures && !state_->options.follow) {
    throw Error(
        ErrorKind::kFailedPrecondition,
        "shutdown: an executor that does not follow its jobs does not know which are open: cancel them by number");
  }
  state_->closed.store(true);
  ClientState& client = *state_->client;
  client.pipeline.flush();
  if (cancel_futures) {
    const std::vector<std::uint64_t> open = client.registry.open_ids_of(state_->tally.get());
    if (!open.empty()) client.cancel(open, {});
  }
  if (!wait || !state_->options.follow) return;
  Tally& tally = *state_->tally;
  std::unique_lock lock(tally.mutex);
  tally.none_open.wait(lock, [&] { return tally.open.load() == 0; });
}

}  // namespace futured::client
