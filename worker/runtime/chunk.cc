#include "worker/runtime/chunk.h"

#include <string>
#include <vector>

#include "base/chunk.h"
#include "base/limits.h"
#include "base/payload.h"
#include "base/time.h"
#include "segment/array_type.h"

namespace futured::runtime {

namespace {

using channel::DoneStatus;

constexpr std::size_t kEndsBytesMax = limits::kResultBytesMax / 2;  // there must be room for one more, and for streams

// The parts of one call's result, all of them inline: what a chunk gives back is one run of bytes.
class CallResult final : public ResultWriter {
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

Failure damaged(const std::string& why) { return {DoneStatus::kBadPayload, "BadPayload", "chunk: " + why, true}; }

CallEnd end_of(const Failure& failure) {
  return {.status = failure.status == DoneStatus::kBadPayload ? CallStatus::kBadPayload : CallStatus::kTaskError,
          .error_class = std::string_view(failure.error_class).substr(0, limits::kErrorClassBytesMax),
          .message = std::string_view(failure.message).substr(0, limits::kErrorMessageBytesMax)};
}

}  // namespace

bool is_chunk(Parts payload) { return payload.size() == 1 && payload.front().content_type == kChunkType; }

std::optional<Failure> run_chunk(const PartView& chunk, TaskContext& context, const ChunkCall& call,
                                 ResultWriter& out) {
  const Instant began = monotonic_now();
  WireReader calls(chunk.text());
  CallResult result;
  std::string ends;
  std::vector<PartView> arguments;
  while (!calls.at_end()) {
    if (context.stop_requested()) return Failure{DoneStatus::kStopped, "Stopped", "a chunk of calls was stopped"};
    const auto parts = decode_parts(calls.bytes());
    if (calls.failed()) return damaged("it is cut short");
    if (!parts) return damaged(parts.error().message);
    arguments.clear();
    for (const Part& part : *parts) {
      if (part.kind != PartKind::kInline) return damaged("a call has a segment");
      arguments.push_back({part.content_type, std::as_bytes(std::span(part.bytes)), nullptr});
    }
    result.begin();
    const std::optional<Failure> failure = call(arguments, result);
    if (failure && failure->status == DoneStatus::kStopped) return failure;
    append_end(ends, failure ? end_of(*failure) : CallEnd{.result = result.encoded()});
    context.forget_shared_memory();
    if (ends.size() > kEndsBytesMax) {
      return Failure{
          DoneStatus::kResultTooLarge, "ResultTooLarge",
          "the results of a chunk's calls together have more than " + std::to_string(kEndsBytesMax) + " bytes", true};
    }
  }
  out.add(chunk_result_type((monotonic_now() - began).count()), ends);
  return std::nullopt;
}

}  // namespace futured::runtime
