#include "segment/socket_protocol.h"

#include <optional>

#include "base/limits.h"
#include "base/wire.h"

namespace futured::segment_socket {

namespace {

constexpr std::uint8_t kVersion = 1;

enum class Type : std::uint8_t {
  kPut = 1,
  kGet = 2,
  kGetResult = 3,
  kDrop = 4,
  kStored = 65,
  kFound = 66,
  kDropped = 67,
  kRefused = 68,
};

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <typename... F>
Overloaded(F...) -> Overloaded<F...>;

void append_type(std::string& out, Type type) { out.push_back(static_cast<char>(type)); }

Error damaged(std::string_view what) { return {ErrorCode::kInvalidArgument, "segment socket: " + std::string(what)}; }

// The numbers of docs/formats/segment.md, which outlive the order of the enumeration.
constexpr ErrorCode kCodes[] = {
    ErrorCode::kInvalidArgument,  ErrorCode::kNotFound,           ErrorCode::kAlreadyExists,
    ErrorCode::kPermissionDenied, ErrorCode::kFailedPrecondition, ErrorCode::kResourceExhausted,
    ErrorCode::kUnimplemented,    ErrorCode::kUnavailable,        ErrorCode::kDeadlineExceeded,
    ErrorCode::kDataLoss,         ErrorCode::kInternal,
};

std::uint8_t number_of(ErrorCode code) {
  for (std::uint8_t i = 0; i < std::size(kCodes); ++i) {
    if (kCodes[i] == code) return i + 1;
  }
  return static_cast<std::uint8_t>(std::size(kCodes));
}

ErrorCode code_of(std::uint8_t number) {
  return number >= 1 && number <= std::size(kCodes) ? kCodes[number - 1] : ErrorCode::kInternal;
}

// Everything that every message has to be: version, tag, type, then a body that ends with the message.
struct Opened {
  std::uint64_t tag = 0;
  std::uint8_t type = 0;
};

Result<Opened> open(WireReader& reader, std::string_view bytes) {
  if (bytes.size() > limits::kSegmentMessageBytesMax) return damaged("message is too long");
  const std::uint8_t version = reader.byte();
  if (!reader.failed() && version != kVersion) return damaged("unknown version " + std::to_string(version));
  const Opened opened{reader.varint(), reader.byte()};
  if (reader.failed()) return damaged("message is cut short");
  return opened;
}

std::string read_content_type(WireReader& reader, bool& sound) {
  const std::string_view text = reader.bytes();
  sound = sound && text.size() <= limits::kContentTypeBytesMax;
  return std::string(text);
}

std::optional<Request> read_request(WireReader& reader, std::uint8_t type) {
  bool sound = true;
  switch (static_cast<Type>(type)) {
    case Type::kPut: {
      Put put{reader.varint(), {}};
      put.content_type = read_content_type(reader, sound);
      if (!sound || put.size > limits::kSegmentBytesMax) return std::nullopt;
      return put;
    }
    case Type::kGet: {
      const std::uint64_t count = reader.varint();
      if (count == 0 || count > limits::kDescriptorsPerMessageMax) return std::nullopt;
      Get get;
      for (std::uint64_t i = 0; i < count; ++i) get.segments.push_back(SegmentId{reader.varint()});
      return get;
    }
    case Type::kGetResult: {
      const JobId job{reader.varint()};
      const std::uint64_t part = reader.varint();
      if (part >= limits::kPayloadPartsMax) return std::nullopt;
      return GetResult{job, static_cast<std::uint32_t>(part)};
    }
    case Type::kDrop:
      return Drop{SegmentId{reader.varint()}};
    case Type::kStored:
    case Type::kFound:
    case Type::kDropped:
    case Type::kRefused:
      break;
  }
  return std::nullopt;
}

std::optional<Found> read_found(WireReader& reader) {
  const std::uint64_t count = reader.varint();
  if (count == 0 || count > limits::kDescriptorsPerMessageMax) return std::nullopt;
  Found found;
  for (std::uint64_t i = 0; i < count; ++i) {
    bool sound = true;
    FoundEntry entry{reader.varint(), reader.varint(), reader.varint(), {}};
    entry.content_type = read_content_type(reader, sound);
    if (!sound || entry.begin > entry.end || entry.end > entry.size) return std::nullopt;
    found.entries.push_back(std::move(entry));
  }
  return found;
}

std::optional<Reply> read_reply(WireReader& reader, std::uint8_t type) {
  switch (static_cast<Type>(type)) {
    case Type::kStored:
      return Stored{SegmentId{reader.varint()}};
    case Type::kFound: {
      auto found = read_found(reader);
      if (!found) return std::nullopt;
      return std::move(*found);
    }
    case Type::kDropped:
      return Dropped{};
    case Type::kRefused: {
      const ErrorCode code = code_of(reader.byte());
      const std::string_view message = reader.bytes();
      if (message.size() > limits::kErrorMessageBytesMax) return std::nullopt;
      return Refused{{code, std::string(message)}};
    }
    case Type::kPut:
    case Type::kGet:
    case Type::kGetResult:
    case Type::kDrop:
      break;
  }
  return std::nullopt;
}

std::string begin_message(std::uint64_t tag) {
  std::string out(1, static_cast<char>(kVersion));
  append_varint(out, tag);
  return out;
}

}  // namespace

std::size_t descriptors_of(const Request& request) { return std::holds_alternative<Put>(request) ? 1 : 0; }

std::size_t descriptors_of(const Reply& reply) {
  const Found* found = std::get_if<Found>(&reply);
  return found == nullptr ? 0 : found->entries.size();
}

std::string encode(const TaggedRequest& request) {
  std::string out = begin_message(request.tag);
  std::visit(Overloaded{
                 [&](const Put& put) {
                   append_type(out, Type::kPut);
                   append_varint(out, put.size);
                   append_bytes(out, put.content_type);
                 },
                 [&](const Get& get) {
                   append_type(out, Type::kGet);
                   append_varint(out, get.segments.size());
                   for (const SegmentId segment : get.segments) append_varint(out, segment.value);
                 },
                 [&](const GetResult& get) {
                   append_type(out, Type::kGetResult);
                   append_varint(out, get.job.value);
                   append_varint(out, get.part);
                 },
                 [&](const Drop& drop) {
                   append_type(out, Type::kDrop);
                   append_varint(out, drop.segment.value);
                 },
             },
             request.request);
  return out;
}

std::string encode(const TaggedReply& reply) {
  std::string out = begin_message(reply.tag);
  std::visit(Overloaded{
                 [&](const Stored& stored) {
                   append_type(out, Type::kStored);
                   append_varint(out, stored.segment.value);
                 },
                 [&](const Found& found) {
                   append_type(out, Type::kFound);
                   append_varint(out, found.entries.size());
                   for (const FoundEntry& entry : found.entries) {
                     append_varint(out, entry.size);
                     append_varint(out, entry.begin);
                     append_varint(out, entry.end);
                     append_bytes(out, entry.content_type);
                   }
                 },
                 [&](const Dropped&) { append_type(out, Type::kDropped); },
                 [&](const Refused& refused) {
                   append_type(out, Type::kRefused);
                   out.push_back(static_cast<char>(number_of(refused.error.code)));
                   append_bytes(out, std::string_view(refused.error.message).substr(0, limits::kErrorMessageBytesMax));
                 },
             },
             reply.reply);
  return out;
}

Result<TaggedRequest> decode_request(std::string_view bytes) {
  WireReader reader(bytes);
  auto opened = open(reader, bytes);
  if (!opened) return opened.error();
  auto request = read_request(reader, opened->type);
  if (!request || reader.failed()) return damaged("request is damaged or over a bound");
  if (!reader.at_end()) return damaged("request has bytes after its end");
  return TaggedRequest{opened->tag, std::move(*request)};
}

Result<TaggedReply> decode_reply(std::string_view bytes) {
  WireReader reader(bytes);
  auto opened = open(reader, bytes);
  if (!opened) return opened.error();
  auto reply = read_reply(reader, opened->type);
  if (!reply || reader.failed()) return damaged("reply is damaged or over a bound");
  if (!reader.at_end()) return damaged("reply has bytes after its end");
  return TaggedReply{opened->tag, std::move(*reply)};
}

}  // namespace futured::segment_socket
