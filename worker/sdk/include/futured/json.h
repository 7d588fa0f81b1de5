// JSON as a task's arguments and result: nlohmann::json itself, and every class that it converts. Public; needs
// nlohmann-json, and nothing else of futured does.
//
//   struct Point { double x, y; };
//   NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Point, x, y)
//
//   FUTURED_TASK("mirrored", [](const Point& point) { return Point{-point.x, -point.y}; });
//   FUTURED_TASK("keys_of", [](const nlohmann::json& object) { … });
//
// An argument that is no JSON, or JSON that from_json refuses, is a BadArgument. What a task asks of a nlohmann::json
// later, it must check itself: an exception of its own is an error of the task, and may be tried again.
#pragma once

#include <concepts>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>
#include <utility>

#include "futured/convert.h"

namespace futured::sdk {

template <typename T>
concept Json = std::same_as<T, nlohmann::json> || std::same_as<T, nlohmann::ordered_json>;

// Types that convert.h takes itself stay as they are: its specialisations are the narrower ones.
template <typename T>
concept FromJson = std::is_class_v<T> && requires(const nlohmann::json& json) {
  json.get<T>();
};
template <typename R>
concept ToJson =
    std::is_class_v<R> && !TextResult<R> && !BytesResult<R> && std::constructible_from<nlohmann::json, const R&>;

template <FromJson T>
struct Argument<T> {
  Argument(const PartView& part, std::size_t index) try : value(read(part.text())) {
  } catch (const nlohmann::json::exception& error) {
    throw BadArgument("argument " + std::to_string(index) + " is not the JSON that the task takes: " + error.what());
  }
  T&& get() { return std::move(value); }
  T value;

 private:
  static T read(std::string_view text) {
    if constexpr (Json<T>) {
      return T::parse(text);
    } else {
      return nlohmann::json::parse(text).get<T>();
    }
  }
};

// Named one by one: what json converts to implicitly would make it a text as well.
template <Json R>
struct JsonResult {
  static void add(ResultWriter& out, const R& value) { out.add(kJsonType, value.dump()); }
};
template <>
struct ResultOf<nlohmann::json> : JsonResult<nlohmann::json> {};
template <>
struct ResultOf<nlohmann::ordered_json> : JsonResult<nlohmann::ordered_json> {};

template <ToJson R>
struct ResultOf<R> {
  static void add(ResultWriter& out, const R& value) { add_result(out, nlohmann::json(value)); }
};

}  // namespace futured::sdk
