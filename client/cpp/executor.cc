#include "futured/executor.h"

#include <string>
#include <utility>

#include "base/limits.h"
#include "client/cpp/executor_state.h"
#include "client/cpp/waiting.h"

namespace futured::client {

namespace {

// A message that the daemon cannot take breaks the stream for all that share it, so it never leaves.
void refuse_over(std::size_t bytes, const char* what, const char* way_out) {
  if (bytes <= limits::kPayloadBytesMax) return;
  throw Error(ErrorKind::kResourceExhausted, std::string(what) + ": " + std::to_string(bytes) + " bytes are over the " +
                                                 std::to_string(limits::kPayloadBytesMax) + " of a job: " + way_out);
}

}  // namespace

std::shared_ptr<const Spec> ExecutorState::spec_for(std::string_view task) {
  client->check_process();
  if (closed.load(std::memory_order_relaxed)) {
    throw Error(ErrorKind::kFailedPrecondition, "this executor has been shut down: make another one");
  }
  const std::lock_guard guard(mutex_);
  if (const auto known = specs_.find(task); known != specs_.end()) return known->second;
  auto spec = std::make_shared<Spec>();
  spec->proto = to_spec(options, task);
  spec->follow = options.follow;
  spec->tally = tally;
  return specs_.emplace(task, std::move(spec)).first->second;
}

Future Executor::submit(std::string_view task, std::string_view payload) const {
  return state_->client->pipeline.submit(state_->spec_for(task), payload);
}

Future Executor::submit(std::string_view task, const std::vector<Part>& payload) const {
  api::Item item;
  std::size_t bytes = 0;
  std::size_t inline_bytes = 0;
  for (const Part& part : payload) {
    to_part(part, *item.add_parts());
    bytes += part.bytes.size() + part.content_type.size() + 16;
    if (part.segment.id == 0 && part.result_of == 0) inline_bytes += part.bytes.size();
  }
  refuse_over(inline_bytes, "payload", "hand them over as a segment with put()");
  return state_->client->pipeline.submit(state_->spec_for(task), std::move(item), bytes);
}

Future Executor::submit(const CommandLine& command) const {
  api::Item item;
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

struct Mapped::State {
  Executor executor;
  std::string task;
  Source source;
  MapOptions options;
  Deadline deadline;
  bool exhausted = false;
  std::deque<Future> window;                   // ordered
  std::shared_ptr<CompletionQueue> completed;  // or as they end
  std::size_t out = 0;                         // submitted and not given out
};

Mapped::Mapped(const Executor& executor, std::string task, Source source, MapOptions options)
    : state_(std::make_unique<State>(State{.executor = executor,
                                           .task = std::move(task),
                                           .source = std::move(source),
                                           .options = options,
                                           .deadline = deadline_after(options.timeout)})) {
  if (options.look_ahead == 0)
    throw Error(ErrorKind::kInvalidArgument, "MapOptions::look_ahead is 0: nothing could run");
  if (!options.ordered) state_->completed = std::make_shared<CompletionQueue>();
  fill();
}

Mapped::Mapped(Mapped&&) noexcept = default;
Mapped& Mapped::operator=(Mapped&&) noexcept = default;
Mapped::~Mapped() = default;

// Keeps look_ahead jobs out. Refilled in one go when half of them are through, so that submissions share batches.
void Mapped::fill() {
  State& state = *state_;
  if (state.exhausted || state.out > state.options.look_ahead / 2) return;
  while (state.out < state.options.look_ahead) {
    const std::optional<std::string> input = state.source();
    if (!input) {
      state.exhausted = true;
      return;
    }
    Future future = state.executor.submit(state.task, *input);
    ++state.out;
    if (state.completed) {
      state.completed->add(future);
    } else {
      state.window.push_back(std::move(future));
    }
  }
}

std::optional<Future> Mapped::next_future() {
  State& state = *state_;
  if (state.out == 0) return std::nullopt;
  Future next;
  if (state.completed) {
    next = *state.completed->next(state.deadline);
  } else {
    next = state.window.front();
    wait_for_end(next, state.deadline);
    state.window.pop_front();
  }
  --state.out;
  fill();
  return next;
}

std::optional<std::string> Mapped::next() {
  const std::optional<Future> future = next_future();
  if (!future) return std::nullopt;
  return future->result();
}

}  // namespace futured::client
