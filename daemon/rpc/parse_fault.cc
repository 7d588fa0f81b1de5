#include "daemon/rpc/parse_fault.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/rpc/convert.h"

namespace futured::rpc {

namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

// What the walk through a message came to.
struct Walk {
  bool sound = false;              // to the end of the message
  std::optional<std::string> bad;  // the path of a text that is not UTF-8
};

Walk walk(const Descriptor& type, CodedInputStream& in);

Walk walk_text(const FieldDescriptor& field, std::uint32_t size, CodedInputStream& in) {
  std::string text;
  if (!in.ReadString(&text, static_cast<int>(size))) return {};
  if (is_utf8(text)) return {.sound = true};
  return {.bad = field.name()};
}

Walk walk_message(const FieldDescriptor& field, std::uint32_t size, CodedInputStream& in) {
  const auto [limit, depth_left] = in.IncrementRecursionDepthAndPushLimit(static_cast<int>(size));
  if (depth_left < 0) return {};
  Walk inner = walk(*field.message_type(), in);
  if (inner.bad) return {.bad = field.name() + "." + *inner.bad};
  return {.sound = inner.sound && in.DecrementRecursionDepthAndPopLimit(limit)};
}

Walk walk(const Descriptor& type, CodedInputStream& in) {
  while (const std::uint32_t tag = in.ReadTag()) {
    const FieldDescriptor* const field = type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
    const bool sized = WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
    const bool is_text = field != nullptr && sized && field->type() == FieldDescriptor::TYPE_STRING;
    const bool is_message = field != nullptr && sized && field->type() == FieldDescriptor::TYPE_MESSAGE;
    if (!is_text && !is_message) {
      if (!WireFormatLite::SkipField(&in, tag)) return {};
      continue;
    }
    std::uint32_t size = 0;
    if (!in.ReadVarint32(&size)) return {};
    Walk step = is_text ? walk_text(*field, size, in) : walk_message(*field, size, in);
    if (!step.sound) return step;
  }
  return {.sound = in.ConsumedEntireMessage()};
}

}  // namespace

Error parse_fault(const Descriptor& type, google::protobuf::io::ZeroCopyInputStream& bytes) {
  CodedInputStream in(&bytes);
  const Walk walked = walk(type, in);
  if (walked.bad) return invalid(*walked.bad, "text must be UTF-8");
  return {ErrorCode::kInvalidArgument, "a message is no " + type.name()};
}

}  // namespace futured::rpc
