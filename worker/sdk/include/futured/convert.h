// How payload parts become typed arguments, and a task's value becomes its result. Public; standard library only.
//
//   C++ type                                    as an argument                      as a result
//   integers, bool, double, float               a JSON number or text of one        application/json
//   std::string, std::string_view               the text; a JSON string unquoted    text/plain
//   std::span<const std::byte>                  the bytes of any part               application/octet-stream
//   std::vector<std::byte>                      a copy of them                      application/octet-stream
//   Array<const T>                              an array of exactly this dtype      an array (Array<T> too)
//   PartView                                    any part, with its content type     -
//   Parts                                       all parts from here on; last only   -
//   Output                                      -                                   its own content type
//   std::tuple<…>, std::vector<Output>          -                                   one part for each element
//   void                                        -                                   no parts
//
// with futured/json.h, for which nlohmann-json must be there:
//   nlohmann::json, ordered_json                JSON                                application/json
//   classes with from_json and to_json,         JSON of their shape                 application/json
//   containers of what nlohmann converts
//
// with futured/protobuf.h, for which protobuf must be there:
//   generated message types                     a message of exactly this type      application/x-protobuf; type="…"
//
// A type of your own becomes an argument by a specialisation of sdk::Argument, and a result by one of sdk::ResultOf:
// those two headers are examples.
//
// Views (string_view, span, Array, PartView) are into the payload itself and hold during the call, unless an Array's
// owner is kept: it keeps a mapped segment alive.
#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "futured/context.h"

namespace futured {

inline constexpr std::string_view kJsonType = "application/json";
inline constexpr std::string_view kTextType = "text/plain";

// One part of a payload with its bytes at hand, wherever they came from.
struct PartView {
  std::string_view content_type;  // empty: application/octet-stream
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  // keeps `bytes` mapped when they lie in a segment; else null

  [[nodiscard]] std::string_view text() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
};
using Parts = std::span<const PartView>;

// A result part of any content type.
struct Output {
  std::string content_type;
  std::string bytes;
};

// Where a task's result goes.
class ResultWriter {
 public:
  virtual void add(std::string_view content_type, std::string_view bytes) = 0;
  // `bytes` are the elements in C order; memory from Context::make_array is passed on, anything else is copied once.
  virtual void add_array(std::string_view dtype, const std::vector<std::uint64_t>& shape,
                         std::span<const std::byte> bytes) = 0;

 protected:
  ~ResultWriter() = default;
};

namespace sdk {

// Of the worker, for the templates below. All throw BadArgument, naming the argument by its number, from 1.
struct ArrayView {
  std::vector<std::uint64_t> shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};
[[nodiscard]] ArrayView view_array(const PartView& part, std::size_t index, std::string_view dtype,
                                   std::size_t alignment);
[[nodiscard]] bool is_json_string(const PartView& part);
[[nodiscard]] std::string unquote_json(const PartView& part, std::size_t index);
// The value of `type="value"` or `type=value` behind a content type's semicolons; empty without one. Throws nothing.
[[nodiscard]] std::string_view type_parameter(std::string_view content_type);
[[noreturn]] void refuse_argument(std::size_t index, const PartView& part, std::string_view wanted);
[[noreturn]] void refuse_count(std::size_t given, std::size_t wanted, bool or_more);

template <typename T>
concept Number = (std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char>) || std::floating_point<T>;

// Argument<T> holds what an argument of type T needs while the task runs; get() is the argument.
template <typename T>
struct Argument;

template <Number T>
struct Argument<T> {
  Argument(const PartView& part, std::size_t index) {
    const std::string_view text = part.text();
    const char* end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    if (error == std::errc::result_out_of_range) refuse_argument(index, part, "number in the range of its type");
    if (error != std::errc() || stopped != end || text.empty()) {
      refuse_argument(index, part, std::integral<T> ? "integer" : "number");
    }
  }
  T get() { return value; }
  T value{};
};

template <>
struct Argument<bool> {
  Argument(const PartView& part, std::size_t index) : value(part.text() == "true") {
    if (!value && part.text() != "false") refuse_argument(index, part, "true or false");
  }
  bool get() { return value; }
  bool value;
};

template <>
struct Argument<std::string_view> {
  Argument(const PartView& part, std::size_t index) : value(part.text()) {
    if (is_json_string(part)) {
      unquoted = unquote_json(part, index);
      value = unquoted;
    }
  }
  Argument(const Argument&) = delete;
  std::string_view get() { return value; }
  std::string unquoted;
  std::string_view value;
};

template <>
struct Argument<std::string> {
  Argument(const PartView& part, std::size_t index)
      : value(is_json_string(part) ? unquote_json(part, index) : std::string(part.text())) {}
  std::string&& get() { return std::move(value); }
  std::string value;
};

template <>
struct Argument<std::span<const std::byte>> {
  Argument(const PartView& part, std::size_t) : value(part.bytes) {}
  std::span<const std::byte> get() { return value; }
  std::span<const std::byte> value;
};

template <>
struct Argument<std::vector<std::byte>> {
  Argument(const PartView& part, std::size_t) : value(part.bytes.begin(), part.bytes.end()) {}
  std::vector<std::byte>&& get() { return std::move(value); }
  std::vector<std::byte> value;
};

template <>
struct Argument<PartView> {
  Argument(const PartView& part, std::size_t) : value(part) {}
  PartView&& get() { return std::move(value); }
  PartView value;
};

template <typename T>
struct Argument<Array<const T>> {
  Argument(const PartView& part, std::size_t index) {
    ArrayView view = view_array(part, index, dtype_of<T>(), alignof(T));
    const std::span<const T> elements(reinterpret_cast<const T*>(view.bytes.data()), view.bytes.size() / sizeof(T));
    value = Array<const T>(elements, std::move(view.shape), std::move(view.owner));
  }
  Array<const T>&& get() { return std::move(value); }
  Array<const T> value;
};

// ResultOf<R>::add(out, value) adds the parts of a result of type R.
template <typename R>
struct ResultOf;

template <typename R>
void add_result(ResultWriter& out, const R& value) {
  static_assert(
      requires { ResultOf<R>::add(out, value); }, "a task cannot return this type: see futured/convert.h");
  ResultOf<R>::add(out, value);
}

template <typename R>
concept TextResult = std::convertible_to<const R&, std::string_view>;
template <typename R>
concept BytesResult = std::convertible_to<const R&, std::span<const std::byte>>;

template <Number R>
struct ResultOf<R> {
  static void add(ResultWriter& out, R value) {
    char text[64];
    const auto written = std::to_chars(text, text + sizeof text, value);
    out.add(kJsonType, std::string_view(text, static_cast<std::size_t>(written.ptr - text)));
  }
};

template <>
struct ResultOf<bool> {
  static void add(ResultWriter& out, bool value) { out.add(kJsonType, value ? "true" : "false"); }
};

template <TextResult R>
struct ResultOf<R> {
  static void add(ResultWriter& out, const R& value) { out.add(kTextType, value); }
};

template <BytesResult R>
struct ResultOf<R> {
  static void add(ResultWriter& out, std::span<const std::byte> bytes) {
    out.add("", std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
};

template <>
struct ResultOf<Output> {
  static void add(ResultWriter& out, const Output& value) { out.add(value.content_type, value.bytes); }
};

template <>
struct ResultOf<std::vector<Output>> {
  static void add(ResultWriter& out, const std::vector<Output>& values) {
    for (const Output& value : values) add_result(out, value);
  }
};

template <typename T>
struct ResultOf<Array<T>> {
  static void add(ResultWriter& out, const Array<T>& value) {
    out.add_array(dtype_of<T>(), value.shape(), std::as_bytes(value.elements()));
  }
};

template <typename... T>
struct ResultOf<std::tuple<T...>> {
  static void add(ResultWriter& out, const std::tuple<T...>& values) {
    std::apply([&](const T&... each) { (add_result(out, each), ...); }, values);
  }
};

}  // namespace sdk

template <typename T>
T ChildOutcome::value() const {
  if (!succeeded()) throw ChildFailed(*this);
  if (parts.empty()) throw BadArgument("job " + std::to_string(job) + " returned nothing");
  const std::string& bytes = parts.front().bytes;
  const PartView part{parts.front().content_type, std::as_bytes(std::span(bytes)), nullptr};
  sdk::Argument<T> converted(part, 1);
  return converted.get();
}

template <typename Arguments>
std::uint64_t Context::submit(std::string_view task, const Arguments& arguments, const SubmitOptions& options) {
  return submit_job(
      task, [&](ResultWriter& out) { sdk::add_result(out, arguments); }, options);
}

}  // namespace futured
