#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/command.h"
#include "base/limits.h"
#include "base/payload.h"
#include "base/stored_segment.h"
#include "daemon/rpc/convert.h"

namespace futured::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Items = google::protobuf::RepeatedPtrField<api::Item>;

Result<std::uint64_t> no_segments(SegmentId id) {
  return Error{ErrorCode::kNotFound, "no segment " + std::to_string(id.value)};
}
Result<std::uint64_t> of_100_bytes(SegmentId) { return std::uint64_t{100}; }

std::vector<std::string> payloads_of(const Payloads& payloads) {
  std::vector<std::string> each;
  std::uint32_t begin = 0;
  for (const std::uint32_t end : payloads.ends) {
    each.push_back(payloads.bytes->substr(begin, end - begin));
    begin = end;
  }
  EXPECT_EQ(begin, payloads.bytes->size());
  return each;
}

std::string encoded(const Part& part) {
  std::string bytes;
  append_part(bytes, part);
  return bytes;
}

void expect_refused(const Result<Payloads>& payloads, ErrorCode code, const std::string& field) {
  ASSERT_FALSE(payloads.ok()) << field;
  EXPECT_EQ(payloads.error().code, code) << payloads.error().message;
  EXPECT_EQ(field_of(payloads.error()), field);
}

TEST(Packed, EveryJobHasOneInlinePart) {
  api::PackedItems packed;
  packed.set_data("onetwothree" + std::string(300, 'x'));
  for (const std::uint32_t size : {3, 3, 0, 5, 300}) packed.add_sizes(size);
  for (const char* type : {"", "text/plain"}) {
    packed.set_content_type(type);
    const auto payloads = to_payloads(packed, false);
    ASSERT_TRUE(payloads.ok()) << payloads.error().message;
    EXPECT_FALSE(payloads->has_segments);
    EXPECT_THAT(
        payloads_of(*payloads),
        ElementsAre(encoded({.content_type = type, .bytes = "one"}), encoded({.content_type = type, .bytes = "two"}),
                    encoded({.content_type = type, .bytes = ""}), encoded({.content_type = type, .bytes = "three"}),
                    encoded({.content_type = type, .bytes = std::string(300, 'x')})));
  }
}

TEST(Packed, SizesThatDoNotAddUpAreRefused) {
  for (const std::vector<std::uint32_t>& sizes :
       {std::vector<std::uint32_t>{1, 2}, {1}, {UINT32_MAX, 3}, {UINT32_MAX, UINT32_MAX}}) {
    api::PackedItems packed;
    packed.set_data("ab");
    packed.mutable_sizes()->Add(sizes.begin(), sizes.end());
    expect_refused(to_payloads(packed, false), ErrorCode::kInvalidArgument, "packed.sizes");
  }
}

TEST(Packed, BoundsAreRefusedByName) {
  api::PackedItems none;
  expect_refused(to_payloads(none, false), ErrorCode::kInvalidArgument, "packed.sizes");
  api::PackedItems many;
  for (std::size_t i = 0; i <= limits::kBatchItemsMax; ++i) many.add_sizes(0);
  expect_refused(to_payloads(many, false), ErrorCode::kResourceExhausted, "packed.sizes");
  api::PackedItems large;
  large.set_data(std::string(limits::kPayloadBytesMax + 1, 'x'));
  large.add_sizes(limits::kPayloadBytesMax + 1);
  expect_refused(to_payloads(large, false), ErrorCode::kResourceExhausted, "packed.sizes");
  api::PackedItems commands;
  commands.add_sizes(0);
  expect_refused(to_payloads(commands, true), ErrorCode::kInvalidArgument, "packed");
  api::PackedItems typed;
  typed.add_sizes(0);
  typed.set_content_type("text/plain\n");
  expect_refused(to_payloads(typed, false), ErrorCode::kInvalidArgument, "packed.content_type");
}

TEST(Parts, ComeThroughInOrder) {
  Items items;
  api::Item& item = *items.Add();
  item.add_parts()->set_data("first");
  item.mutable_parts(0)->set_content_type("application/json");
  item.add_parts()->mutable_segment()->set_id(7);
  item.mutable_parts(1)->mutable_segment()->set_begin(8);
  item.add_parts();
  items.Add();
  const auto payloads = to_payloads(items, false, of_100_bytes);
  ASSERT_TRUE(payloads.ok()) << payloads.error().message;
  EXPECT_TRUE(payloads->has_segments);
  EXPECT_THAT(payloads_of(*payloads),
              ElementsAre(encoded({.content_type = "application/json", .bytes = "first"}) +
                              encoded({.kind = PartKind::kSegment, .segment = SegmentId{7}, .begin = 8, .end = 100}) +
                              encoded({}),
                          ""));
}

TEST(Parts, APayloadThatTakesAResultBeginsWithThat) {
  Items items;
  items.Add()->add_parts()->set_result_of(3);
  api::Item& second = *items.Add();
  second.add_parts()->set_data("own");
  second.add_parts()->set_result_of_item("third");
  items.Add()->set_alias("third");
  const auto payloads = to_payloads(items, false, of_100_bytes);
  ASSERT_TRUE(payloads.ok()) << payloads.error().message;
  EXPECT_TRUE(payloads->names_results);
  EXPECT_THAT(payloads_of(*payloads), ElementsAre(encoded({.kind = PartKind::kResult, .result_of = JobId{3}}),
                                                  encoded({.kind = PartKind::kResult}) + encoded({.bytes = "own"}) +
                                                      encoded({.kind = PartKind::kResult, .item = 3}),
                                                  ""));
  const std::string second_payload = payloads_of(*payloads)[1];
  EXPECT_TRUE(names_result(second_payload));
  EXPECT_EQ(name_jobs(second_payload, JobId{10}), encoded({.kind = PartKind::kResult}) + encoded({.bytes = "own"}) +
                                                      encoded({.kind = PartKind::kResult, .result_of = JobId{12}}));
}

TEST(Parts, AnArrayBecomesItsContentType) {
  Items items;
  api::Part& part = *items.Add()->add_parts();
  part.mutable_segment()->set_id(1);
  part.mutable_segment()->set_end(96);
  part.mutable_array()->set_dtype("float64");
  part.mutable_array()->add_shape(3);
  part.mutable_array()->add_shape(4);
  const auto payloads = to_payloads(items, false, of_100_bytes);
  ASSERT_TRUE(payloads.ok()) << payloads.error().message;
  const auto parts = decode_parts(*payloads->bytes);
  EXPECT_EQ((*parts)[0].content_type, "application/x-futured-array; dtype=float64; shape=3x4");

  api::Part told;
  to_api((*parts)[0], true, told);
  EXPECT_EQ(told.array().dtype(), "float64");
  EXPECT_THAT(told.array().shape(), ElementsAre(3, 4));
  EXPECT_EQ(told.segment().end(), 96u);
}

TEST(Parts, ADigestIsTheWholeOfWhatWasSent) {
  const SegmentId id{kStoredSegmentsFrom | 9};
  const auto find = [&](const std::string& digest) -> Result<NamedContent> {
    if (digest != "sha256:1") return Error{ErrorCode::kNotFound, digest + " is unknown"};
    return NamedContent{id, 16, "application/x-futured-array; dtype=float64; shape=2"};
  };
  Items items;
  items.Add()->add_parts()->set_digest("sha256:1");
  items[0].add_parts()->set_digest("sha256:1");
  items[0].mutable_parts(1)->set_content_type("a/b");
  const auto payloads = to_payloads(items, false, no_segments, find);
  ASSERT_TRUE(payloads.ok()) << payloads.error().message;
  EXPECT_FALSE(payloads->has_segments) << "nothing of it lies in memory only";
  const auto parts = decode_parts(*payloads->bytes);
  EXPECT_EQ((*parts)[0].content_type, "application/x-futured-array; dtype=float64; shape=2");
  EXPECT_EQ((*parts)[0].segment, id);
  EXPECT_EQ((*parts)[0].end, 16u);
  EXPECT_EQ((*parts)[1].content_type, "a/b");
  api::Part told;
  to_api((*parts)[0], true, told);
  EXPECT_FALSE(told.volatile_bytes());

  items[0].mutable_parts(1)->mutable_array()->set_dtype("float64");
  items[0].mutable_parts(1)->clear_content_type();
  items[0].mutable_parts(1)->mutable_array()->add_shape(3);
  expect_refused(to_payloads(items, false, no_segments, find), ErrorCode::kInvalidArgument, "items[0].parts[1].array");
  items[0].mutable_parts(1)->Clear();
  items[0].mutable_parts(1)->set_digest("sha256:2");
  expect_refused(to_payloads(items, false, no_segments, find), ErrorCode::kNotFound, "items[0].parts[1].digest");
}

struct WrongItem {
  const char* field;
  ErrorCode code;
  std::function<void(api::Item&)> ask;
};

TEST(Parts, WhatCannotBeRightIsRefusedByName) {
  constexpr auto kInvalid = ErrorCode::kInvalidArgument;
  constexpr auto kTooMuch = ErrorCode::kResourceExhausted;
  constexpr auto kUnbuilt = ErrorCode::kUnimplemented;
  const WrongItem wrong[] = {
      {"items[1].name", kUnbuilt, [](auto& i) { i.set_name("n"); }},
      {"items[1].command", kInvalid, [](auto& i) { i.mutable_command(); }},
      {"items[1].parts[0].result_of", kInvalid, [](auto& i) { i.add_parts()->set_result_of(0); }},
      {"items[1].parts[0].result_of_item", kInvalid, [](auto& i) { i.add_parts()->set_result_of_item("nobody"); }},
      {"items[1].parts[0].content_type", kInvalid,
       [](auto& i) {
         i.add_parts()->set_result_of(3);
         i.mutable_parts(0)->set_content_type("text/plain");
       }},
      {"items[1].parts[0].digest", kUnbuilt, [](auto& i) { i.add_parts()->set_digest("sha256:0"); }},
      {"items[1].parts[0].volatile_bytes", kInvalid, [](auto& i) { i.add_parts()->set_volatile_bytes(true); }},
      {"items[1].parts[0].content_type", kInvalid, [](auto& i) { i.add_parts()->set_content_type("a\nb"); }},
      {"items[1].parts[0].content_type", kTooMuch,
       [](auto& i) { i.add_parts()->set_content_type(std::string(1025, 'x')); }},
      {"items[1].parts[0].content_type", kInvalid,
       [](auto& i) { i.add_parts()->set_content_type("application/x-futured-array; dtype=none; shape=1"); }},
      {"items[1].parts[0].array", kInvalid, [](auto& i) { i.add_parts()->mutable_array()->set_dtype("none"); }},
      {"items[1].parts[0].array", kInvalid, [](auto& i) { i.add_parts()->mutable_array()->set_dtype("int8"); }},
      {"items[1].parts[0].array.shape", kInvalid,
       [](auto& i) {
         i.add_parts()->mutable_array()->set_dtype("int8");
         i.mutable_parts(0)->mutable_array()->add_shape(-1);
       }},
      {"items[1].parts[0].segment", kInvalid,
       [](auto& i) {
         i.add_parts()->mutable_segment()->set_id(1);
         i.mutable_parts(0)->mutable_segment()->set_end(101);
       }},
      {"items[1].parts[0].segment", kInvalid,
       [](auto& i) {
         i.add_parts()->mutable_segment()->set_id(1);
         i.mutable_parts(0)->mutable_segment()->set_begin(101);
       }},
      {"items[1]", kTooMuch, [](auto& i) { i.add_parts()->set_data(std::string(limits::kPayloadBytesMax + 1, 'x')); }},
      {"items[1].parts", kTooMuch,
       [](auto& i) {
         for (int part = 0; part < 65; ++part) i.add_parts()->set_data("x");
       }},
  };
  for (const WrongItem& one : wrong) {
    Items items;
    items.Add();
    one.ask(*items.Add());
    expect_refused(to_payloads(items, false, of_100_bytes), one.code, one.field);
  }
}

TEST(Parts, ASegmentThatIsNotThereIsRefusedByNumber) {
  Items items;
  items.Add()->add_parts()->mutable_segment()->set_id(424242);
  const auto payloads = to_payloads(items, false, no_segments);
  expect_refused(payloads, ErrorCode::kNotFound, "items[0].parts[0].segment");
  EXPECT_THAT(payloads.error().message, HasSubstr("424242"));
}

TEST(Items, BatchesHaveBounds) {
  Items items;
  expect_refused(to_payloads(items, false, no_segments), ErrorCode::kInvalidArgument, "items");
  for (std::size_t i = 0; i <= limits::kBatchItemsMax; ++i) items.Add();
  expect_refused(to_payloads(items, false, no_segments), ErrorCode::kResourceExhausted, "items");
}

TEST(Commands, RoundTrip) {
  Items items;
  api::Command& command = *items.Add()->mutable_command();
  command.add_argv("echo");
  command.add_argv("\xff not UTF-8");
  command.add_env("A=b");
  command.set_cwd("/tmp");
  command.set_stdin_bytes("input");
  const auto payloads = to_payloads(items, true, no_segments);
  ASSERT_TRUE(payloads.ok()) << payloads.error().message;
  const auto parts = decode_parts(*payloads->bytes);
  ASSERT_EQ(parts->size(), 2u);
  EXPECT_EQ((*parts)[0].content_type, kCommandType);
  EXPECT_EQ((*parts)[1].bytes, "input");
  const Command expected{{"echo", "\xff not UTF-8"}, {"A=b"}, "/tmp"};
  EXPECT_EQ(*decode_command((*parts)[0].bytes), expected);

  api::Command told;
  ASSERT_TRUE(to_command(*payloads->bytes, told));
  command.clear_stdin_bytes();
  EXPECT_EQ(told.SerializeAsString(), command.SerializeAsString());
}

TEST(Commands, WhatCannotRunIsRefusedByName) {
  constexpr auto kInvalid = ErrorCode::kInvalidArgument;
  constexpr auto kTooMuch = ErrorCode::kResourceExhausted;
  const WrongItem wrong[] = {
      {"items[0].command", kInvalid, [](auto& i) { i.clear_command(); }},
      {"items[0].parts", kInvalid, [](auto& i) { i.add_parts(); }},
      {"items[0].command.argv", kInvalid, [](auto& i) { i.mutable_command()->clear_argv(); }},
      {"items[0].command.argv", kInvalid, [](auto& i) { i.mutable_command()->set_argv(0, ""); }},
      {"items[0].command.argv", kInvalid, [](auto& i) { i.mutable_command()->add_argv(std::string("a\0b", 3)); }},
      {"items[0].command.argv", kTooMuch, [](auto& i) { i.mutable_command()->add_argv(std::string(128 * 1024, 'x')); }},
      {"items[0].command.argv", kTooMuch,
       [](auto& i) {
         for (int word = 0; word < 4096; ++word) i.mutable_command()->add_argv("x");
       }},
      {"items[0].command.env", kInvalid, [](auto& i) { i.mutable_command()->add_env("=x"); }},
      {"items[0].command.env", kInvalid, [](auto& i) { i.mutable_command()->add_env("x"); }},
      {"items[0].command.env", kInvalid, [](auto& i) { i.mutable_command()->add_env(std::string("a=\0", 3)); }},
      {"items[0].command.cwd", kInvalid, [](auto& i) { i.mutable_command()->set_cwd("here"); }},
      {"items[0].command.cwd", kInvalid, [](auto& i) { i.mutable_command()->set_cwd(std::string("/\0", 2)); }},
      {"items[0]", kTooMuch,
       [](auto& i) { i.mutable_command()->set_stdin_bytes(std::string(limits::kPayloadBytesMax + 1, 'x')); }},
  };
  for (const WrongItem& one : wrong) {
    Items items;
    items.Add()->mutable_command()->add_argv("true");
    one.ask(*items.Mutable(0));
    expect_refused(to_payloads(items, true, no_segments), one.code, one.field);
  }
}

}  // namespace
}  // namespace futured::rpc
