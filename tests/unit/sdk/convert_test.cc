#include "futured/convert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/unit/sdk/fakes.h"

namespace futured::sdk {
namespace {

template <typename T>
T converted(const PartView& from) {
  return Argument<T>(from, 1).get();
}

TEST(Convert, NumbersComeFromJsonAndFromText) {
  EXPECT_EQ(converted<int>(part(kJsonType, "-12")), -12);
  EXPECT_EQ(converted<std::uint64_t>(part(kTextType, "18446744073709551615")), UINT64_MAX);
  EXPECT_EQ(converted<double>(part(kJsonType, "1.5e3")), 1500.0);
  EXPECT_EQ(converted<float>(part(kJsonType, "0.25")), 0.25f);
  EXPECT_TRUE(converted<bool>(part(kJsonType, "true")));
  EXPECT_FALSE(converted<bool>(part(kJsonType, "false")));
}

TEST(Convert, WhatIsNoNumberOfItsTypeIsRefused) {
  EXPECT_THROW(converted<int>(part(kJsonType, "")), BadArgument);
  EXPECT_THROW(converted<int>(part(kJsonType, "1.5")), BadArgument);
  EXPECT_THROW(converted<int>(part(kJsonType, "1 ")), BadArgument);
  EXPECT_THROW(converted<int>(part(kJsonType, "\"1\"")), BadArgument);
  EXPECT_THROW(converted<std::int8_t>(part(kJsonType, "128")), BadArgument);
  EXPECT_THROW(converted<std::uint32_t>(part(kJsonType, "-1")), BadArgument);
  EXPECT_THROW(converted<double>(part(kJsonType, "1e999")), BadArgument);
  EXPECT_THROW(converted<bool>(part(kJsonType, "1")), BadArgument);
}

TEST(Convert, TheMessageNamesTheArgumentAndIsShort) {
  try {
    Argument<int>(part(kTextType, std::string(1000, 'x')), 3);
    FAIL();
  } catch (const BadArgument& error) {
    EXPECT_NE(std::string(error.what()).find("argument 3"), std::string::npos);
    EXPECT_LT(std::string(error.what()).size(), 200u);
  }
}

TEST(Convert, TextIsTakenAsItIs) {
  EXPECT_EQ(converted<std::string>(part(kTextType, "\"quoted\"")), "\"quoted\"");
  EXPECT_EQ(converted<std::string>(part("", std::string_view("a\0b", 3))), std::string("a\0b", 3));
  EXPECT_EQ(converted<std::string>(part(kJsonType, "12")), "12");
}

TEST(Convert, AJsonStringIsUnquoted) {
  EXPECT_EQ(converted<std::string>(part(kJsonType, R"("a\"\\\/\n\tb")")), "a\"\\/\n\tb");
  EXPECT_EQ(converted<std::string>(part(kJsonType, R"("\u00e9\u20ac\ud83d\ude00")")), "é€😀");
  EXPECT_EQ(call_task([](std::string_view text) { return std::string(text); }, {part(kJsonType, R"("x\ny")")}),
            "text/plain=x\ny;");
  for (const char* bad : {R"("open)", R"("a" b)", R"("\x")", R"("\ud83d")", R"("\ude00")", R"("\u12")", R"("\)"}) {
    EXPECT_THROW(converted<std::string>(part(kJsonType, bad)), BadArgument) << bad;
  }
}

TEST(Convert, ResultsCarryTheirContentTypes) {
  EXPECT_EQ(call_task([] { return 42; }, {}), "application/json=42;");
  EXPECT_EQ(call_task([] { return 0.1; }, {}), "application/json=0.1;");
  EXPECT_EQ(call_task([] { return true; }, {}), "application/json=true;");
  EXPECT_EQ(call_task([] { return "text"; }, {}), "text/plain=text;");
  EXPECT_EQ(call_task([] { return std::vector{std::byte{'x'}}; }, {}), "=x;");
  EXPECT_EQ(call_task([] { return Output{"image/png", "…"}; }, {}), "image/png=…;");
  EXPECT_EQ(call_task([] { return std::tuple(1, std::string("a"), 2.5); }, {}),
            "application/json=1;text/plain=a;application/json=2.5;");
  EXPECT_EQ(call_task([] { return Array<float>::zeros({2, 3}); }, {}), "float32[2]24;");
  EXPECT_EQ(call_task([] {}, {}), "");
}

TEST(Convert, ArgumentsOfAChildAreConvertedLikeResults) {
  FakeContext context;
  EXPECT_EQ(context.submit("one", 3), 7u);
  context.submit("two", std::tuple(std::string("a"), 2.5), {.queue = "q"});
  context.submit("outputs", std::vector<Output>{{"image/png", "x"}});
  context.submit("none");
  EXPECT_EQ(context.submitted,
            "one(application/json=3;)@two(text/plain=a;application/json=2.5;)@qoutputs(image/png=x;)@none()@");
}

TEST(Convert, DoublesSurviveTheirText) {
  for (const double value : {0.1, 1.0 / 3, 1e300, 5e-324, -0.0, std::numeric_limits<double>::infinity()}) {
    Collected out;
    add_result(out, value);
    const std::string text = out.all.substr(17, out.all.size() - 18);
    EXPECT_EQ(converted<double>(part(kJsonType, text)), value) << text;
  }
}

TEST(Convert, ACallableMayTakeContextPartsOrNeither) {
  EXPECT_EQ(call_task([](Context& context, int a) { return a + static_cast<int>(context.attempt()); },
                      {part(kJsonType, "4")}),
            "application/json=5;");
  EXPECT_EQ(call_task([](int first, Parts rest) { return first + static_cast<int>(rest.size()); },
                      {part(kJsonType, "4"), part("", "a"), part("", "b")}),
            "application/json=6;");
  EXPECT_EQ(call_task([](const std::string& a, std::string b) { return a + b; }, {part("", "x"), part("", "y")}),
            "text/plain=xy;");
  int (*const function)(int) = [](int a) { return -a; };
  EXPECT_EQ(call_task(function, {part(kJsonType, "4")}), "application/json=-4;");
}

struct Meters {
  int value;
};

}  // namespace

// As the author of a task would, who has a type of his own.
template <>
struct Argument<Meters> {
  Argument(const PartView& part, std::size_t index) : number(part, index) {}
  Meters get() { return {number.get()}; }
  Argument<int> number;
};
template <>
struct ResultOf<Meters> {
  static void add(ResultWriter& out, Meters value) { add_result(out, std::to_string(value.value) + " m"); }
};

namespace {

TEST(Convert, ATypeOfYourOwnIsTakenAndReturnedAloneAndInATuple) {
  const auto twice = [](Meters length) { return std::tuple(Meters{2 * length.value}, 1); };
  EXPECT_EQ(call_task(twice, {part(kJsonType, "4")}), "text/plain=8 m;application/json=1;");
  EXPECT_THROW(call_task(twice, {part(kTextType, "4 m")}), BadArgument);
}

TEST(Convert, TheTypeParameterIsFoundAmongOthersAndWithQuotes) {
  EXPECT_EQ(type_parameter("application/x-protobuf; type=\"a.B\""), "a.B");
  EXPECT_EQ(type_parameter("application/x-protobuf;type=a.B"), "a.B");
  EXPECT_EQ(type_parameter("application/x-protobuf; subtype=c; type=a.B ; x=y"), "a.B");
  for (const char* none : {"", "application/x-protobuf", "type=a.B", "x; ", "x; type", "x; type=", "x; type=\"\""}) {
    EXPECT_EQ(type_parameter(none), "") << none;
  }
  EXPECT_EQ(type_parameter("x; type=\""), "\"");
}

TEST(Convert, TheNumberOfArgumentsMustFit) {
  const auto two = [](int, int) {};
  EXPECT_THROW(call_task(two, {}), BadArgument);
  EXPECT_THROW(call_task(two, std::vector(3, part(kJsonType, "1"))), BadArgument);
  EXPECT_THROW(call_task([](int, Parts) {}, {}), BadArgument);
}

TEST(Convert, TheResultOfAChildIsConvertedAsAnArgumentIs) {
  FakeContext context;
  EXPECT_TRUE(context.wait({5, 6}));
  EXPECT_THROW((void)context.outcome(5), WaitError);
  context.outcome_of_all = {.job = 5, .parts = {{std::string(kJsonType), "42"}}};
  EXPECT_EQ(context.result(5).value<int>(), 42);
  EXPECT_EQ(context.result(5).value<std::string>(), "42");
  EXPECT_THROW((void)context.result(5).value<bool>(), BadArgument);
  context.outcome_of_all.parts.clear();
  EXPECT_THROW((void)context.result(5).value<int>(), BadArgument);
  context.outcome_of_all = {.job = 5,
                            .state = ChildState::kFailed,
                            .cause = "TASK_ERROR",
                            .error_class = "Broken",
                            .message = "it is broken"};
  try {
    (void)context.result(9).value<int>();
    FAIL();
  } catch (const ChildFailed& failed) {
    EXPECT_EQ(failed.job(), 9u);
    EXPECT_STREQ(failed.what(), "job 9 has not succeeded (TASK_ERROR): Broken: it is broken");
  }
}

}  // namespace
}  // namespace futured::sdk
