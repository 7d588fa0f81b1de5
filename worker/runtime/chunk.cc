#include "worker/runtime/chunk.h"

#include <utility>

#include "base/limits.h"
#include "base/payload.h"
#include "segment/array_type.h"

namespace futured::runtime {

namespace {

using channel::DoneStatus;

constexpr std::size_t kEndsBytesMax = limits::kResultBytesMax / 2;  // there must be room for one more, and for streams

Failure damaged(const std::string& why) { return {DoneStatus::kBadPayload, "BadPayload", "chunk: " + why, true}; }

CallEnd end_of(const Failure& failure) {
  return {.status = failure.status == DoneStatus::kBadPayload ? CallStatus::kBadPayload : CallStatus::kTaskError,
          .error_class = std::string_view(failure.error_class).substr(0, limits::kErrorClassBytesMax),
          .message = std::string_view(failure.message).substr(0, limits::kErrorMessageBytesMax)};
}

}  // namespace

bool is_chunk(Parts payload) { return payload.size() == 1 && payload.front().content_type == kChunkType; }

// The parts of one call's result, all of them inline: what a chunk gives back is one run of bytes.
class ChunkRun::CallResult final : public ResultWriter {
 public:
  void begin() {
    encoded_.clear();
    parts_ = 0;
  }
  [[nodiscard]] std::string_view encoded() const { return encoded_; }

  void add(std::string_view content_type, std::string_view bytes) override {
    if (++parts_ > limits::kPayloadPartsMax) {
      throw ResultTooLarge("the result has more than " + std::to_string(limits::kPayloadPartsMax) + " parts");
    }
    append_part(encoded_, {.content_type = content_type, .bytes = bytes});
  }
  void add_array(std::string_view dtype, const std::vector<std::uint64_t>& shape,
                 std::span<const std::byte> bytes) override {
    add(format_array_type({std::string(dtype), shape}), {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }

 private:
  std::string encoded_;
  std::size_t parts_ = 0;
};

ChunkRun::ChunkRun(const PartView& chunk, TaskContext& context)
    : context_(context), calls_(chunk.text()), result_(std::make_unique<CallResult>()) {}
ChunkRun::~ChunkRun() = default;

ResultWriter& ChunkRun::result() { return *result_; }

std::optional<Parts> ChunkRun::next() {
  const auto fail = [this](Failure why) {
    failure_ = std::move(why);
    return std::nullopt;
  };
  if (failure_ || calls_.at_end()) return std::nullopt;
  if (context_.stop_requested()) return fail({DoneStatus::kStopped, "Stopped", "a chunk of calls was stopped"});
  const auto parts = decode_parts(calls_.bytes());
  if (calls_.failed()) return fail(damaged("it is cut short"));
  if (!parts) return fail(damaged(parts.error().message));
  arguments_.clear();
  for (const Part& part : *parts) {
    if (part.kind != PartKind::kInline) return fail(damaged("a call has a segment"));
    arguments_.push_back({part.content_type, std::as_bytes(std::span(part.bytes)), nullptr});
  }
  result_->begin();
  return arguments_;
}

void ChunkRun::ended(const std::optional<Failure>& failure) {
  if (failure && failure->status == DoneStatus::kStopped) {
    failure_ = failure;
    return;
  }
  append_end(ends_, failure ? end_of(*failure) : CallEnd{.result = result_->encoded()});
  context_.forget_shared_memory();
  if (ends_.size() <= kEndsBytesMax) return;
  failure_ = {DoneStatus::kResultTooLarge, "ResultTooLarge",
              "the results of a chunk's calls together have more than " + std::to_string(kEndsBytesMax) + " bytes",
              true};
}

std::optional<Failure> ChunkRun::finish(ResultWriter& out) {
  if (!failure_) out.add(chunk_result_type((monotonic_now() - began_).count()), ends_);
  return failure_;
}

std::optional<Failure> run_chunk(const PartView& chunk, TaskContext& context, const ChunkCall& call,
                                 ResultWriter& out) {
  ChunkRun run(chunk, context);
  while (const auto arguments = run.next()) run.ended(call(*arguments, run.result()));
  return run.finish(out);
}

}  // namespace futured::runtime
