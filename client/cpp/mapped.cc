#include "futured/mapped.h"

#include <algorithm>
#include <deque>
#include <unordered_map>

#include "base/chunk.h"
#include "base/limits.h"
#include "base/payload.h"
#include "client/cpp/bounds.h"
#include "client/cpp/executor_state.h"
#include "client/cpp/waiting.h"
#include "futured/executor.h"

namespace futured::client {

namespace {

constexpr std::size_t kCallBytes = 16;  // what the encoding of a call adds to its input, at most

// How many calls the next automatic chunk gets.
class ChunkSize {
 public:
  explicit ChunkSize(std::size_t max) : max_(std::max<std::size_t>(max, 1)) {}
  [[nodiscard]] std::size_t calls() const { return calls_; }
  void measured(std::int64_t took_ns, std::size_t calls) {
    const std::int64_t ns_per_call = std::max<std::int64_t>(took_ns / static_cast<std::int64_t>(calls), 1);
    const auto ideal = std::clamp<std::size_t>(static_cast<std::size_t>(kChunkNs / ns_per_call), 1, max_);
    // Small chunks that were submitted before it grew are told later, and must not make it shrink.
    calls_ = ideal < calls_ ? ideal : std::max(calls_, std::min(ideal, calls * kChunkGrowthMax));
  }

 private:
  const std::size_t max_;
  std::size_t calls_ = 1;
};

// A job of the map.
struct Chunk {
  std::uint64_t first = 0;  // index of its first input
  std::size_t calls = 0;
  Future future;               // or
  std::exception_ptr refusal;  // it could not even be submitted
};

std::string name_of(std::uint64_t index) { return "call " + std::to_string(index) + " of the map"; }

// What kept the call from running, naming it.
[[noreturn]] void throw_refusal(const std::exception_ptr& why, std::uint64_t index) {
  try {
    std::rethrow_exception(why);
  } catch (const Unavailable& error) {
    throw Unavailable(name_of(index) + ": " + error.what());
  } catch (const Error& error) {
    throw Error(error.kind(), name_of(index) + ": " + error.what());
  }
}

std::string first_bytes(const std::vector<Part>& parts) { return parts.empty() ? std::string() : parts.front().bytes; }

std::vector<Part> parts_of(std::string_view encoded) {
  std::vector<Part> parts;
  const auto decoded = decode_parts(encoded);
  if (!decoded) throw Error(ErrorKind::kDataLoss, "the result of a call is damaged: " + decoded.error().message);
  for (const futured::Part& part : *decoded) {
    parts.push_back({.content_type = std::string(part.content_type), .bytes = std::string(part.bytes)});
  }
  return parts;
}

}  // namespace

struct Mapped::State {
  State(const Executor& of, Source inputs, MapOptions map_options, bool chunked, std::shared_ptr<const Spec> of_jobs)
      : executor(of),
        source(std::move(inputs)),
        options(map_options),
        deadline(deadline_after(map_options.timeout)),
        packs(chunked),
        spec(std::move(of_jobs)),
        size(map_options.look_ahead / 8) {}

  void fill();
  bool gather();
  bool submit_chunk();
  std::optional<std::string> draw();
  // True when `current` has a call that was not given out.
  bool advance();
  Chunk take_ended();
  void open(Chunk chunk);
  CallEnd next_end();
  [[nodiscard]] std::uint64_t give_out();
  [[nodiscard]] Outcome outcome_of(const CallEnd& end) const;
  [[nodiscard]] bool is_automatic() const { return packs && options.chunk_size == kAutomaticChunks; }

  const Executor executor;
  const Source source;
  const MapOptions options;
  const Deadline deadline;
  const bool packs;  // jobs are chunks, be it of one call
  const std::shared_ptr<const Spec> spec;
  ChunkSize size;

  bool exhausted = false;
  std::exception_ptr problem;       // of the source, not told yet
  std::string gathered;             // payload of the next job: kept, whatever the source throws
  std::size_t gathered_calls = 0;   // in it
  std::optional<std::string> held;  // drawn, but had no room in the last chunk
  std::uint64_t submitted = 0;      // calls
  std::size_t calls_out = 0;        // submitted and not given out
  std::size_t chunks_out = 0;
  std::deque<Chunk> window;                          // ordered; else those that were refused
  std::shared_ptr<CompletionQueue> completed;        // the others as they end,
  std::unordered_map<std::uint64_t, Chunk> waiting;  // by their first index

  Chunk current;
  std::size_t given = 0;          // of `current`
  Outcome outcome;                // of `current`, when it is a chunk that was accepted
  std::exception_ptr refusal;     // of `current`
  std::optional<ChunkEnds> ends;  // set when its calls have ends of their own
};

Mapped::Mapped(const Executor& executor, std::string task, Source source, MapOptions options) {
  if (options.look_ahead == 0)
    throw Error(ErrorKind::kInvalidArgument, "MapOptions::look_ahead is 0: nothing could run");
  if (options.chunk_size > options.look_ahead) {
    throw Error(ErrorKind::kInvalidArgument, "MapOptions::chunk_size " + std::to_string(options.chunk_size) +
                                                 " is over the look_ahead of " + std::to_string(options.look_ahead));
  }
  const bool retried = executor.state_->options.retries.max_attempts > 1;
  const bool packs = options.chunk_size == kAutomaticChunks ? !retried : options.chunk_size > 1;
  auto spec = packs ? executor.state_->chunk_spec_for(task) : executor.state_->spec_for(task);
  state_ = std::make_unique<State>(executor, std::move(source), options, packs, std::move(spec));
  if (!options.ordered) state_->completed = std::make_shared<CompletionQueue>();
  try {
    state_->fill();
  } catch (...) {  // next() throws it: what was submitted is not lost
    state_->problem = std::current_exception();
  }
}

Mapped::Mapped(Mapped&&) noexcept = default;
Mapped& Mapped::operator=(Mapped&&) noexcept = default;
Mapped::~Mapped() = default;

std::optional<std::string> Mapped::next() {
  State& state = *state_;
  if (!state.advance()) return std::nullopt;
  if (!state.packs && !state.refusal) {
    const Future future = state.current.future;
    const std::uint64_t index = state.give_out();
    try {
      return future.result();
    } catch (const JobFailed& failure) {
      throw_job_failed(failure.outcome(), name_of(index));
    }
  }
  if (state.ends) {
    const CallEnd end = state.next_end();
    if (end.status == CallStatus::kSucceeded) {
      static_cast<void>(state.give_out());
      const auto parts = decode_parts(end.result);
      if (parts && !parts->empty()) return std::string(parts->front().bytes);
      return first_bytes(parts_of(end.result));
    }
    Outcome failed = state.outcome_of(end);
    throw_job_failed(std::move(failed), name_of(state.give_out()));
  }
  const std::uint64_t index = state.give_out();
  if (state.refusal) throw_refusal(state.refusal, index);
  throw_job_failed(state.outcome, name_of(index));
}

std::optional<MappedCall> Mapped::next_call() {
  State& state = *state_;
  if (!state.advance()) return std::nullopt;
  MappedCall call;
  if (state.ends) {
    call.outcome = state.outcome_of(state.next_end());
    call.index = state.give_out();
    return call;
  }
  const Future future = state.current.future;
  call.index = state.give_out();
  if (state.refusal) throw_refusal(state.refusal, call.index);
  if (state.packs) {
    call.outcome = state.outcome;
    return call;
  }
  call.outcome = future.outcome();
  if (call.outcome.result_elided) call.outcome.result = future.parts();
  return call;
}

std::string MappedCall::result() const {
  if (!outcome.succeeded()) throw_job_failed(outcome, name_of(index));
  return first_bytes(outcome.result);
}

// ---- Inputs

// Refilled in one go when half of what may be out is through, so that submissions share batches.
void Mapped::State::fill() {
  if ((exhausted && gathered_calls == 0) || calls_out > options.look_ahead / 2) return;
  if (is_automatic() && chunks_out > kChunksOutMax / 2) return;
  while (calls_out < options.look_ahead && (!is_automatic() || chunks_out < kChunksOutMax)) {
    if (!submit_chunk()) return;
  }
}

// Draws for the next job. False at the end of the inputs.
bool Mapped::State::gather() {
  const std::size_t calls_wanted = !packs ? 1 : is_automatic() ? size.calls() : options.chunk_size;
  const std::size_t calls_max = std::min(calls_wanted, options.look_ahead - calls_out);
  // An automatic one stays small enough for the ring of its worker.
  const std::size_t bytes_max = is_automatic() ? limits::kInlineBytesMax - 64 : limits::kPayloadBytesMax;
  while (gathered_calls < calls_max) {
    std::optional<std::string> input = draw();
    if (!input) break;
    if (gathered_calls > 0 && gathered.size() + input->size() + kCallBytes > bytes_max) {
      held = std::move(input);
      break;
    }
    if (packs) {
      append_call(gathered, {}, *input);
    } else {
      gathered = std::move(*input);
    }
    ++gathered_calls;
  }
  return gathered_calls > 0;
}

// False at the end of the inputs.
bool Mapped::State::submit_chunk() {
  if (!gather()) return false;
  Chunk chunk{.first = submitted, .calls = gathered_calls};
  try {
    executor.state_->check_open();
    chunk.future = executor.state_->client->pipeline.submit(spec, gathered);
  } catch (const Error&) {  // its calls say so, each at its place
    chunk.refusal = std::current_exception();
  }
  gathered.clear();
  gathered_calls = 0;
  submitted += chunk.calls;
  calls_out += chunk.calls;
  ++chunks_out;
  if (completed && !chunk.refusal) {
    completed->add(chunk.future, chunk.first);
    waiting.emplace(chunk.first, std::move(chunk));
  } else {
    window.push_back(std::move(chunk));
  }
  return true;
}

std::optional<std::string> Mapped::State::draw() {
  if (held) return std::exchange(held, std::nullopt);
  if (exhausted) return std::nullopt;
  std::optional<std::string> input = source();
  exhausted = !input;
  return input;
}

// ---- Results

bool Mapped::State::advance() {
  if (problem) std::rethrow_exception(std::exchange(problem, nullptr));
  fill();  // first: what a source throws must not take a result along
  if (given < current.calls) return true;
  if (chunks_out == 0) return false;
  open(take_ended());
  return true;
}

Chunk Mapped::State::take_ended() {
  if (completed && window.empty()) {
    const std::uint64_t first = completed->next(deadline)->cookie;
    return std::move(waiting.extract(first).mapped());
  }
  if (!window.front().refusal) wait_for_end(window.front().future, deadline);
  Chunk ended = std::move(window.front());
  window.pop_front();
  return ended;
}

void Mapped::State::open(Chunk chunk) {
  current = std::move(chunk);
  given = 0;
  ends.reset();
  refusal = current.refusal;
  outcome = {};
  if (!packs || refusal) return;
  try {
    outcome = current.future.outcome();
    if (!outcome.succeeded()) return;
    if (outcome.result_elided) outcome.result = current.future.parts();
  } catch (const Error&) {
    refusal = std::current_exception();
    return;
  }
  const auto took_ns = !outcome.result.empty() ? took_ns_of(outcome.result.front().content_type) : std::nullopt;
  if (!took_ns) {
    refusal = std::make_exception_ptr(
        Error(ErrorKind::kFailedPrecondition,
              "job " + std::to_string(outcome.id) + ": its worker does not know chunks: map with a chunk_size of 1"));
    return;
  }
  size.measured(*took_ns, current.calls);
  ends.emplace(outcome.result.front().bytes);
}

CallEnd Mapped::State::next_end() {
  if (const auto end = ends->next()) return *end;
  static_cast<void>(give_out());
  throw Error(ErrorKind::kDataLoss,
              "job " + std::to_string(outcome.id) + ": its result ends before " + name_of(current.first + given - 1));
}

// The call's index. Its bytes stay until the next advance().
std::uint64_t Mapped::State::give_out() {
  const std::uint64_t index = current.first + given++;
  --calls_out;
  if (given == current.calls) {
    --chunks_out;
    current.future = Future();
  }
  return index;
}

Outcome Mapped::State::outcome_of(const CallEnd& end) const {
  Outcome call;
  call.id = outcome.id;
  call.attempts = outcome.attempts;
  call.state = end.status == CallStatus::kSucceeded ? JobState::kSucceeded : JobState::kFailed;
  if (call.succeeded()) {
    call.result = parts_of(end.result);
    call.result_bytes = end.result.size();
    return call;
  }
  call.cause.kind = end.status == CallStatus::kBadPayload ? CauseKind::kBadPayload : CauseKind::kTaskError;
  call.cause.error_class = end.error_class;
  call.cause.message = end.message;
  return call;
}

}  // namespace futured::client
