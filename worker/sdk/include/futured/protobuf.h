// Protobuf messages as a task's arguments and result. Public; needs protobuf, and nothing else of futured's task
// headers does.
//
//   FUTURED_TASK("centre", [](const geometry::Polygon& polygon) {
//     geometry::Point centre;
//     …
//     return centre;
//   });
//
// A result's content type is `application/x-protobuf; type="geometry.Point"`. An argument may be of any content type
// but text and JSON, whose bytes could pass for a message; one that names a type must name that of the parameter.
#pragma once

#include <google/protobuf/message_lite.h>

#include <climits>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "futured/convert.h"

namespace futured {

inline constexpr std::string_view kProtobufType = "application/x-protobuf";

namespace sdk {

template <typename T>
concept Protobuf = std::derived_from<T, google::protobuf::MessageLite>;

template <Protobuf T>
struct Argument<T> {
  Argument(const PartView& part, std::size_t index) {
    const std::string_view named = type_parameter(part.content_type);
    const bool readable = part.content_type != kTextType && part.content_type != kJsonType &&
                          (named.empty() || named == value.GetTypeName()) && part.bytes.size() <= INT_MAX;
    if (!readable || !value.ParsePartialFromArray(part.bytes.data(), static_cast<int>(part.bytes.size()))) {
      refuse_argument(index, part, "message " + value.GetTypeName());
    }
    if (!value.IsInitialized()) {
      throw BadArgument("argument " + std::to_string(index) + ", a " + value.GetTypeName() +
                        ", lacks required fields: " + value.InitializationErrorString());
    }
  }
  T&& get() { return std::move(value); }
  T value;
};

template <Protobuf R>
struct ResultOf<R> {
  static void add(ResultWriter& out, const R& value) {
    std::string bytes;
    if (!value.IsInitialized() || !value.SerializePartialToString(&bytes)) {
      throw TaskError("BadResult",
                      "the " + value.GetTypeName() + " of the result lacks required fields or is over 2 GiB",
                      Retry::kPointless);
    }
    out.add(std::string(kProtobufType) + "; type=\"" + value.GetTypeName() + "\"", bytes);
  }
};

}  // namespace sdk
}  // namespace futured
