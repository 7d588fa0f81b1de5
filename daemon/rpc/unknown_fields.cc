#include "daemon/rpc/unknown_fields.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>

#include <string>

namespace futured::rpc {

namespace {

using google::protobuf::FieldDescriptor;

// Of an entry of a map, the parser keeps no more than key and value.
bool holds_messages(const FieldDescriptor& field) {
  const FieldDescriptor& value = field.is_map() ? *field.message_type()->map_value() : field;
  return value.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
}

}  // namespace

Status check_known(const google::protobuf::Message& message) {
  if (const Status known = check_known_here(message); !known.ok()) return known;
  const google::protobuf::Descriptor& type = *message.GetDescriptor();
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* const field = type.field(i);
    if (!holds_messages(*field)) continue;
    if (!field->is_repeated()) {
      if (!reflection.HasField(message, field)) continue;
      if (const Status known = check_known(reflection.GetMessage(message, field)); !known.ok()) return known;
      continue;
    }
    const int count = reflection.FieldSize(message, field);
    for (int at = 0; at < count; ++at) {
      const Status known = check_known(reflection.GetRepeatedMessage(message, field, at));
      if (!known.ok()) return known;
    }
  }
  return {};
}

Status check_known_here(const google::protobuf::Message& message) {
  const google::protobuf::UnknownFieldSet& unknown = message.GetReflection()->GetUnknownFields(message);
  if (unknown.empty()) return {};
  return Error{ErrorCode::kUnimplemented, message.GetDescriptor()->name() + " has no field " +
                                              std::to_string(unknown.field(0).number()) +
                                              " here: is the client newer than this daemon?"};
}

}  // namespace futured::rpc
