#include <gtest/gtest.h>

#include "daemon/rpc/convert.h"

namespace futured::rpc {
namespace {

using Items = google::protobuf::RepeatedPtrField<api::Item>;

api::Item& add(Items& items, const std::string& alias) {
  api::Item& item = *items.Add();
  item.set_alias(alias);
  return item;
}

Error refusal(const Items& items, std::size_t of_spec = 0) {
  const auto read = to_dependencies(items, of_spec);
  EXPECT_FALSE(read.ok());
  return read.ok() ? Error{} : read.error();
}

TEST(Dependencies, ItemsNameEachOtherInAnyOrder) {
  Items items;
  add(items, "join").add_dependencies()->set_item("b");
  items[0].add_dependencies()->set_item("a");
  add(items, "a");
  add(items, "b").add_dependencies()->set_job_id(7);
  items[2].mutable_dependencies(0)->set_condition(api::DEPENDENCY_CONDITION_SUCCEEDED);
  const auto read = to_dependencies(items, 0);
  ASSERT_TRUE(read.ok());
  ASSERT_EQ(read->size(), 3u);
  EXPECT_EQ((*read)[0].first, 0u);
  EXPECT_EQ((*read)[0].second.item, 2u);
  EXPECT_EQ((*read)[1].second.item, 1u);
  EXPECT_EQ((*read)[2].second.on.job, JobId{7});
  EXPECT_EQ((*read)[2].second.on.condition, DependencyCondition::kSucceeded);
}

TEST(Dependencies, ACircleIsRefusedInItsOrder) {
  Items items;
  add(items, "start");
  add(items, "a").add_dependencies()->set_item("b");
  add(items, "b").add_dependencies()->set_item("start");
  items[2].add_dependencies()->set_item("c");
  add(items, "c").add_dependencies()->set_item("a");
  const Error error = refusal(items);
  EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(field_of(error), "items[1].dependencies");
  EXPECT_NE(error.message.find("a -> b -> c -> a is a circle"), std::string::npos) << error.message;
}

TEST(Dependencies, AnItemThatWaitsForItselfIsACircle) {
  Items items;
  add(items, "a").add_dependencies()->set_item("a");
  EXPECT_NE(refusal(items).message.find("a -> a is a circle"), std::string::npos);
}

TEST(Dependencies, ALongChainIsNoCircle) {
  Items items;
  for (int i = 0; i < 10'000; ++i) {
    add(items, std::to_string(i)).add_dependencies()->set_item(std::to_string(i + 1));
  }
  add(items, "10000");
  EXPECT_TRUE(to_dependencies(items, 0).ok());
}

TEST(Dependencies, WhatCannotBeIsRefusedByItsField) {
  const struct {
    const char* field;
    ErrorCode code;
    std::function<void(api::Item&)> ask;
  } wrongs[] = {
      {"items[0].dependencies[0]", ErrorCode::kInvalidArgument, [](auto& item) { item.add_dependencies(); }},
      {"items[0].dependencies[0].job_id", ErrorCode::kInvalidArgument,
       [](auto& item) { item.add_dependencies()->set_job_id(0); }},
      {"items[0].dependencies[0].batch_id", ErrorCode::kInvalidArgument,
       [](auto& item) { item.add_dependencies()->set_batch_id(0); }},
      {"items[0].dependencies[0].event", ErrorCode::kInvalidArgument,
       [](auto& item) { item.add_dependencies()->set_event(""); }},
      {"items[0].dependencies[0].item", ErrorCode::kInvalidArgument,
       [](auto& item) { item.add_dependencies()->set_item("nobody"); }},
      {"items[0].dependencies[0].holds", ErrorCode::kInvalidArgument,
       [](auto& item) {
         item.add_dependencies()->set_job_id(1);
         item.mutable_dependencies(0)->set_holds(true);
       }},
      {"items[0].dependencies[0].condition", ErrorCode::kInvalidArgument,
       [](auto& item) {
         item.add_dependencies()->set_event("go");
         item.mutable_dependencies(0)->set_condition(api::DEPENDENCY_CONDITION_SUCCEEDED);
       }},
      {"items[0].dependencies", ErrorCode::kResourceExhausted,
       [](auto& item) {
         for (int i = 0; i < 1'001; ++i) item.add_dependencies()->set_job_id(1);
       }},
      {"items[0].alias", ErrorCode::kInvalidArgument, [](auto& item) { item.set_alias("a\nb"); }},
  };
  for (const auto& wrong : wrongs) {
    Items items;
    wrong.ask(*items.Add());
    const Error error = refusal(items);
    EXPECT_EQ(field_of(error), wrong.field);
    EXPECT_EQ(error.code, wrong.code) << wrong.field;
  }
  Items twice;
  add(twice, "a");
  add(twice, "a");
  EXPECT_EQ(field_of(refusal(twice)), "items[1].alias");
  Items keyed;
  add(keyed, "a").set_idempotency_key("k");
  add(keyed, "b").add_dependencies()->set_item("a");
  EXPECT_EQ(refusal(keyed).code, ErrorCode::kInvalidArgument);
  Items many;
  add(many, "").add_dependencies()->set_job_id(1);
  EXPECT_EQ(refusal(many, 1'000).code, ErrorCode::kResourceExhausted);
  api::JobSpec spec;
  spec.add_dependencies()->set_item("a");
  EXPECT_EQ(field_of(to_start(spec).error()), "spec.dependencies[0].item");
}

}  // namespace
}  // namespace futured::rpc
