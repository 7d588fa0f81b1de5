#include <gmock/gmock.h>

#include "tests/unit/core/stage.h"

namespace futured {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint32_t kUser = 1000;

event::Submit keyed(Stage& stage, std::vector<event::SubmitKey> keys, std::uint32_t count) {
  auto submit = std::get<event::Submit>(stage.submit(Stage::work(), count));
  submit.key_is_of_batch = keys.size() != count || count == 1;
  submit.keys = std::move(keys);
  return submit;
}

event::KeysFound nothing(std::size_t keys = 1) { return {KeyAnswer(keys)}; }
event::KeysFound found(KeyRow row) { return {KeyAnswer{std::move(row)}}; }
KeyRow row(const std::string& key, std::uint64_t first, std::uint32_t count, std::uint64_t fingerprint) {
  return {{kUser, key}, JobId{first}, count, fingerprint};
}

Lines only(const Lines& lines, const std::string& start) {
  Lines wanted;
  for (const std::string& line : lines) {
    if (line.starts_with(start)) wanted.push_back(line);
  }
  return wanted;
}

TEST(Keys, AJobStartsOnlyAfterItsKeyWasLookedUp) {
  Stage stage;
  EXPECT_THAT(stage.turn({keyed(stage, {{"k", 7}}, 1)}), ElementsAre("key? k"));
  EXPECT_FALSE(stage.scheduler->idle());
  EXPECT_THAT(stage.turn({nothing()}), ElementsAre("offer 1.1 slot 1", "accepted 1: 1 x1"));
  EXPECT_THAT(stage.rows(), Contains("key k: 1 x1"));
}

TEST(Keys, AKnownKeyGivesTheFirstJobsAndMakesNone) {
  Stage stage;
  stage.turn({keyed(stage, {{"k", 7}}, 3)});
  EXPECT_THAT(stage.turn({found(row("k", 40, 3, 7))}), ElementsAre("accepted 1: 0 x0 40 41 42 old 0 1 2"));
  EXPECT_THAT(only(stage.rows(), "job"), IsEmpty());
  EXPECT_TRUE(stage.scheduler->idle());
}

TEST(Keys, OtherWorkUnderAKnownKeyIsRefusedNamingBoth) {
  for (const KeyRow& other : {row("k", 40, 1, 8), row("k", 40, 2, 7)}) {
    Stage stage;
    stage.turn({keyed(stage, {{"k", 7}}, 1)});
    const Lines lines = stage.turn({found(other)});
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_THAT(lines[0], HasSubstr("key \"k\" belongs to job"));
    EXPECT_THAT(lines[0], HasSubstr("40"));
    EXPECT_TRUE(stage.scheduler->idle());
  }
}

TEST(Keys, TwoSubmitsInOneQuestionMakeOneJob) {
  Stage stage;
  EXPECT_THAT(stage.turn({keyed(stage, {{"k", 7}}, 2), keyed(stage, {{"k", 7}}, 2)}), ElementsAre("key? k", "key? k"));
  EXPECT_THAT(only(stage.turn({nothing(2)}), "accepted"),
              ElementsAre("accepted 1: 1 x2", "accepted 2: 0 x0 1 2 old 0 1"));
}

TEST(Keys, OneQuestionAtATime) {
  Stage stage;
  stage.turn({keyed(stage, {{"a", 7}}, 1)});
  EXPECT_THAT(stage.turn({keyed(stage, {{"a", 7}}, 1)}), IsEmpty()) << "the first answer may bring the key";
  EXPECT_THAT(stage.turn({nothing()}), Contains("key? a"));
}

TEST(Keys, ItemsOfABatchHaveTheirOwn) {
  Stage stage;
  stage.turn({keyed(stage, {{"a", 1}, {}, {"b", 2}, {"a", 1}, {"c", 3}}, 5)});
  const Lines lines = stage.turn({event::KeysFound{{std::nullopt, row("b", 40, 1, 2), std::nullopt, std::nullopt}}});
  EXPECT_THAT(only(lines, "accepted"), ElementsAre("accepted 1: 1 x3 1 2 40 1 3 old 2 3"));
  EXPECT_THAT(only(stage.rows(), "key"), ElementsAre("key a: 1 x1", "key c: 3 x1"));
}

TEST(Keys, OneItemOfOtherWorkRefusesTheBatch) {
  Stage stage;
  stage.turn({keyed(stage, {{"a", 1}, {"a", 2}}, 2)});
  const Lines lines = stage.turn({nothing(2)});
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], HasSubstr("items[1].idempotency_key: key \"a\" belongs to items[0].idempotency_key"));
  EXPECT_THAT(only(stage.rows(), "job"), IsEmpty());
}

TEST(Keys, ARefusedSpecTakesNoKey) {
  Stage stage;
  auto submit = keyed(stage, {{"k", 7}}, 1);
  submit.spec.task = "no such task";
  stage.turn({submit});
  EXPECT_THAT(only(stage.turn({nothing()}), "refused"), testing::SizeIs(1));
  EXPECT_THAT(only(stage.rows(), "key"), IsEmpty());
}

TEST(Keys, ABatchOfItemsWithoutKeysAsksNothing) {
  Stage stage;
  EXPECT_THAT(only(stage.turn({keyed(stage, {{}, {}}, 2)}), "accepted"), ElementsAre("accepted 1: 1 x2"));
}

TEST(Keys, WhatWaitsIsCounted) {
  Stage stage;
  stage.turn({keyed(stage, {{"a", 1}}, 30)});
  stage.turn({keyed(stage, {{"b", 1}}, 12)});
  EXPECT_EQ(stage.scheduler->keyed_jobs(), 42u);
  stage.turn({nothing()});
  EXPECT_EQ(stage.scheduler->keyed_jobs(), 12u);
}

TEST(Keys, ARefusalNamesTheBatchOrTheItemThatHasTheKey) {
  for (const bool of_batch : {true, false}) {
    Stage stage;
    auto submit = keyed(stage, {{"k", 7}}, 1);
    submit.key_is_of_batch = of_batch;
    stage.turn({submit});
    const Lines lines = stage.turn({found(row("k", 40, 1, 8))});
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_THAT(lines[0], HasSubstr(of_batch ? " idempotency_key: key" : " items[0].idempotency_key: key"));
  }
}

}  // namespace
}  // namespace futured
