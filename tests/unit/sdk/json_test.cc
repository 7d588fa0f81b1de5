#include "futured/json.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "tests/unit/sdk/fakes.h"

namespace futured::sdk {
namespace {

struct Point {
  int x = 0;
  int y = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Point, x, y)

std::string refusal_of(auto function, std::vector<PartView> parts) {
  try {
    return "accepted: " + call_task(function, std::move(parts));
  } catch (const BadArgument& error) {
    return error.what();
  }
}

const auto same = [](nlohmann::json value) { return value; };

TEST(Json, IsTakenFromAnyPartThatHoldsIt) {
  EXPECT_EQ(call_task(same, {part(kJsonType, R"({"b": [1, 2.5, null], "a": "é"})")}),
            R"(application/json={"a":"é","b":[1,2.5,null]};)");
  EXPECT_EQ(call_task(same, {part("", " 7 ")}), "application/json=7;");
  EXPECT_EQ(call_task([](const nlohmann::json& value) { return value.is_string(); }, {part(kJsonType, "\"x\"")}),
            "application/json=true;");
  EXPECT_EQ(call_task([](nlohmann::ordered_json value) { return value; }, {part(kJsonType, R"({"b":1,"a":2})")}),
            R"(application/json={"b":1,"a":2};)");
}

TEST(Json, WhatIsNoneIsRefusedByTheNumberOfItsArgument) {
  for (const char* bad : {"", "{", "word", "1 2", R"({"a": })", "\"\xff\""}) {
    EXPECT_TRUE(refusal_of([](int, const nlohmann::json&) {}, {part(kJsonType, "1"), part(kTextType, bad)})
                    .starts_with("argument 2 is not the JSON that the task takes: "))
        << bad;
  }
}

TEST(Json, AClassWithFromJsonAndToJsonIsAnArgumentAndAResult) {
  const auto mirrored = [](const Point& point) { return Point{-point.x, -point.y}; };
  EXPECT_EQ(call_task(mirrored, {part(kJsonType, R"({"x":1,"y":2})")}), R"(application/json={"x":-1,"y":-2};)");
  for (const char* bad : {R"({"x":1})", R"({"x":"one","y":2})", "[1,2]", "no"}) {
    EXPECT_TRUE(refusal_of(mirrored, {part(kJsonType, bad)}).starts_with("argument 1 is not the JSON")) << bad;
  }
}

TEST(Json, SoAreContainersOfWhatIsConverted) {
  const auto sums = [](const std::vector<Point>& points) {
    std::map<std::string, int> sum;
    for (const Point& point : points) sum["x"] += point.x, sum["y"] += point.y;
    return sum;
  };
  EXPECT_EQ(call_task(sums, {part(kJsonType, R"([{"x":1,"y":2},{"x":3,"y":4}])")}),
            R"(application/json={"x":4,"y":6};)");
}

TEST(Json, TakesNothingOverThatWasConvertedWithoutIt) {
  EXPECT_EQ(call_task([](std::string text, std::vector<std::byte> bytes) { return std::tuple(text, bytes); },
                      {part(kJsonType, "\"a\""), part("", "b")}),
            "text/plain=a;=b;");
  EXPECT_EQ(call_task(
                [] {
                  return std::tuple(Output{"image/png", "…"}, Array<float>::zeros({2}), Point{1, 2});
                },
                {}),
            R"(image/png=…;float32[1]8;application/json={"x":1,"y":2};)");
  const auto count = [](Array<const std::int8_t> values) { return values.size(); };
  EXPECT_EQ(call_task(count, {part("application/x-futured-array; dtype=int8; shape=3", "abc")}), "application/json=3;");
}

}  // namespace
}  // namespace futured::sdk
