#include "daemon/rpc/cache_key.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "base/payload.h"
#include "daemon/rpc/json_form.h"

namespace futured::rpc {
namespace {

std::string formed(std::string_view text, const std::set<std::string>& ignored = {}) {
  const auto form = json_form(text, ignored);
  return form.ok() ? *form : "refused: " + form.error().message;
}

TEST(JsonForm, IsTheSameHoweverItIsWritten) {
  EXPECT_EQ(formed("{ \"b\" : [1, 2.50 ,-3e+2],\n\"a\":{\"y\":null,\"x\":true} }"),
            R"({"a":{"x":true,"y":null},"b":[1,2.50,-3e+2]})");
  EXPECT_EQ(formed(R"("\u0041\/\u00e9\ud83d\ude00\n\u000a")"), "\"A/é😀\\u000a\\u000a\"");
  EXPECT_EQ(formed(R"({"\u0061":1})"), R"({"a":1})");
  EXPECT_EQ(formed("7"), "7");
}

TEST(JsonForm, LeavesOutMembersOfTheOutermostObject) {
  EXPECT_EQ(formed(R"({"seed":1,"x":{"seed":2}})", {"seed"}), R"({"x":{"seed":2}})");
  EXPECT_EQ(formed("[1]", {"seed"}), "refused: no object at byte 0");
}

TEST(JsonForm, RefusesWhatIsNoJson) {
  for (const char* const text :
       {"", "{", "[1,]", "{\"a\" 1}", "{\"a\":1,}", "01", "1.", "+1", "nul", "\"a", "\"\\x\"", "\"\\u12\"",
        "{\"a\":1,\"a\":2}", "1 2", "\"\t\"", "\xff", "{\"a\":1,\"\\u0061\":2}"}) {
    EXPECT_FALSE(json_form(text, {}).ok()) << text;
  }
  EXPECT_FALSE(json_form(std::string(200'000, '['), {}).ok());
  EXPECT_TRUE(json_form(std::string(limits::kJsonDepthMax, '[') + std::string(limits::kJsonDepthMax, ']'), {}).ok());
}

Payloads payloads_of(const std::vector<std::vector<Part>>& items) {
  Payloads payloads;
  std::string bytes;
  for (const auto& parts : items) {
    for (const Part& part : parts) append_part(bytes, part);
    payloads.ends.push_back(static_cast<std::uint32_t>(bytes.size()));
  }
  payloads.bytes = std::make_shared<const std::string>(std::move(bytes));
  return payloads;
}

Part json(std::string_view text) { return {.content_type = "application/json", .bytes = text}; }

std::vector<std::string> digests(const CacheArguments& arguments, const std::vector<std::vector<Part>>& items) {
  const auto all = to_cache_digests(arguments, payloads_of(items));
  EXPECT_TRUE(all.ok()) << all.error().message;
  return all.ok() ? all->digests : std::vector<std::string>(items.size());
}

TEST(CacheKey, SameArgumentsHaveTheSameDigest) {
  const auto all = digests({.enabled = true}, {{json(R"({"a":1,"b":2})")},
                                               {json(R"({ "b": 2, "a": 1 })")},
                                               {json(R"({"a":1,"b":3})")},
                                               {{.bytes = R"({"a":1,"b":2})"}},
                                               {}});
  EXPECT_EQ(all[0].size(), 32u);
  EXPECT_EQ(all[0], all[1]);
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), 4u);
}

TEST(CacheKey, PartsAndFieldsAreIgnored) {
  const auto parts = digests({.enabled = true, .ignored_parts = {1}}, {{{.bytes = "x"}, {.bytes = "noise"}},
                                                                       {{.bytes = "x"}, {.bytes = "other"}},
                                                                       {{.bytes = "x"}},
                                                                       {{.bytes = "y"}, {.bytes = "noise"}}});
  EXPECT_EQ(parts[0], parts[1]);
  EXPECT_EQ(parts[0], parts[2]);
  EXPECT_NE(parts[0], parts[3]);
  const auto fields = digests({.enabled = true, .ignored_fields = {"seed"}},
                              {{json(R"({"n":1,"seed":1})")}, {json(R"({"seed":2,"n":1})")}, {json(R"({"n":2})")}});
  EXPECT_EQ(fields[0], fields[1]);
  EXPECT_NE(fields[0], fields[2]);
}

TEST(CacheKey, BoundariesOfPartsCount) {
  const auto all = digests({.enabled = true},
                           {{{.bytes = "ab"}, {.bytes = "c"}}, {{.bytes = "a"}, {.bytes = "bc"}}, {{.bytes = "abc"}}});
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), 3u);
}

TEST(CacheKey, AKeyStandsForTheArguments) {
  const auto all = digests({.enabled = true, .key = "nightly"}, {{{.bytes = "x"}}, {{.bytes = "y"}}});
  EXPECT_EQ(all[0], all[1]);
  EXPECT_NE(all[0], digests({.enabled = true, .key = "daily"}, {{{.bytes = "x"}}})[0]);
}

TEST(CacheKey, NothingIsAskedOfJobsThatAreNotCached) { EXPECT_TRUE(digests({}, {{{.bytes = "x"}}}).empty()); }

TEST(CacheKey, WhatCannotBeComparedIsRefused) {
  const Part segment{.kind = PartKind::kSegment, .segment = SegmentId{5}, .begin = 0, .end = 8};
  const auto refused = to_cache_digests({.enabled = true}, payloads_of({{{.bytes = "x"}, segment}}));
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("items[0].parts[1]"), std::string::npos);
  EXPECT_TRUE(to_cache_digests({.enabled = true, .ignored_parts = {1}}, payloads_of({{{.bytes = "x"}, segment}})).ok());
  const auto no_json = to_cache_digests({.enabled = true, .ignored_fields = {"a"}}, payloads_of({{{.bytes = "x"}}}));
  ASSERT_FALSE(no_json.ok());
  EXPECT_EQ(no_json.error().code, ErrorCode::kInvalidArgument);
}

TEST(CacheKey, APolicyThatContradictsItselfIsRefused) {
  struct {
    std::string field;
    std::function<void(api::CachePolicy&)> change;
  } const cases[] = {
      {"spec.cache.enabled", [](auto& policy) { policy.set_key("k"); }},
      {"spec.cache.enabled", [](auto& policy) { policy.set_explain(true); }},
      {"spec.cache.ttl_ms", [](auto& policy) { policy.set_ttl_ms(-1); }},
  };
  for (const auto& one : cases) {
    api::JobSpec spec;
    one.change(*spec.mutable_cache());
    const auto terms = to_cache_terms(spec);
    ASSERT_FALSE(terms.ok()) << one.field;
    EXPECT_EQ(field_of(terms.error()), one.field);
  }
  struct {
    std::string field;
    std::function<void(api::JobSpec&)> change;
  } const arguments[] = {
      {"spec.cache.key",
       [](auto& spec) { spec.mutable_cache()->set_key(std::string(limits::kCacheKeyBytesMax + 1, 'k')); }},
      {"spec.cache.key",
       [](auto& spec) {
         spec.mutable_cache()->set_key("k");
         spec.mutable_cache()->add_ignored_parts(1);
       }},
      {"spec.cache.ignored_fields",
       [](auto& spec) {
         spec.set_task("");
         spec.mutable_cache()->add_ignored_fields("a");
       }},
      {"spec.cache.ignored_fields",
       [](auto& spec) {
         spec.mutable_cache()->add_ignored_fields("a");
         spec.mutable_cache()->add_ignored_parts(0);
       }},
      {"spec.cache.ignored_parts",
       [](auto& spec) {
         for (unsigned i = 0; i <= limits::kCacheIgnoredMax; ++i) spec.mutable_cache()->add_ignored_parts(i);
       }},
  };
  for (const auto& one : arguments) {
    api::JobSpec spec;
    spec.set_task("work");
    spec.mutable_cache()->set_enabled(true);
    one.change(spec);
    const auto parsed = to_cache_arguments(spec);
    ASSERT_FALSE(parsed.ok()) << one.field;
    EXPECT_EQ(field_of(parsed.error()), one.field);
  }
}

TEST(CacheKey, WhatIsIgnoredAndNotThereIsTold) {
  const std::vector<std::vector<Part>> items = {{json(R"({"seed":1,"size":2})"), {.bytes = "x"}},
                                                {json(R"({"size":2})")}};
  CacheArguments arguments{.enabled = true, .ignored_parts = {1}, .ignored_fields = {"seed"}, .explain = true};
  const auto all = to_cache_digests(arguments, payloads_of(items));
  ASSERT_TRUE(all.ok());
  ASSERT_EQ(all->remarks.size(), 2u);
  EXPECT_EQ(all->remarks[0], "");
  EXPECT_EQ(all->remarks[1], "part 1, field \"seed\" is not among the arguments: there was nothing to ignore");
  arguments.explain = false;
  EXPECT_TRUE(to_cache_digests(arguments, payloads_of(items))->remarks.empty());
  EXPECT_EQ(to_cache_digests(arguments, payloads_of(items))->digests, all->digests);
}

}  // namespace
}  // namespace futured::rpc
