#include "daemon/rpc/child.h"

#include <gtest/gtest.h>

#include "base/child.h"
#include "base/payload.h"
#include "daemon/rpc/convert.h"
#include "daemon/rpc/submit_keys.h"

namespace futured::rpc {
namespace {

std::string payload_of(std::string_view bytes, std::string_view type = "text/plain") {
  std::string payload;
  append_part(payload, {.content_type = type, .bytes = bytes});
  return payload;
}

std::string refusal_of(const ChildRequest& request) {
  const auto submit = to_submit(encode_child(request));
  return submit.ok() ? "taken" : field_of(submit.error());
}

TEST(ChildSubmit, BecomesWhatAClientsSubmitWouldBe) {
  const std::string payload = payload_of("a.png");
  const auto submit = to_submit(encode_child({.task = "resize",
                                              .queue = "images",
                                              .name = "n",
                                              .priority = 4,
                                              .max_attempts = 3,
                                              .queue_timeout_ms = 1,
                                              .run_timeout_ms = 2,
                                              .total_timeout_ms = 3,
                                              .payload = payload}));
  ASSERT_TRUE(submit.ok()) << submit.error().message;
  JobSpec spec = *to_spec(api::JobSpec());
  spec.task = "resize";
  spec.queue = "images";
  spec.name = "n";
  spec.priority = 4;
  spec.max_attempts = 3;
  spec.queue_timeout = std::chrono::milliseconds(1);
  spec.run_timeout = std::chrono::milliseconds(2);
  spec.total_timeout = std::chrono::milliseconds(3);
  spec.backoff_max = submit->spec.backoff_max;
  EXPECT_EQ(submit->spec, spec);
  EXPECT_EQ(*submit->bytes, payload);
  EXPECT_EQ(submit->ends, std::vector<std::uint32_t>{static_cast<std::uint32_t>(payload.size())});
  EXPECT_TRUE(submit->keys.empty());
}

TEST(ChildSubmit, AKeyStandsForTheSameWorkAsAClients) {
  const std::string payload = payload_of("x");
  const auto submit = to_submit(encode_child({.task = "t", .key = "k", .payload = payload}));
  ASSERT_TRUE(submit.ok()) << submit.error().message;
  google::protobuf::RepeatedPtrField<api::Item> items;
  api::Part& part = *items.Add()->add_parts();
  part.set_content_type("text/plain");
  part.set_data("x");
  const auto payloads = to_payloads(items, false, [](SegmentId) -> Result<std::uint64_t> { return 0; });
  const auto keys = to_keys(submit->spec, *payloads, items, "k");
  ASSERT_EQ(submit->keys.size(), 1u);
  EXPECT_EQ(submit->keys[0].key, "k");
  EXPECT_EQ(submit->keys[0].fingerprint, keys->at(0).fingerprint);
  EXPECT_TRUE(submit->key_is_of_batch);
}

TEST(ChildSubmit, WhatNoClientMaySubmitIsRefusedByName) {
  EXPECT_EQ(refusal_of({.task = "t"}), "taken");
  EXPECT_EQ(refusal_of({.task = "a\x01"}), "spec.task");
  EXPECT_EQ(refusal_of({.task = "t", .queue = "\xff"}), "spec.queue");
  EXPECT_EQ(refusal_of({.task = "t",
                        .key = "\x01"
                               "1.1.1:1"}),
            "idempotency_key");
  EXPECT_EQ(refusal_of({.task = "t", .max_attempts = 5000}), "spec.retries.max_attempts");
  EXPECT_EQ(refusal_of({.task = "t", .max_attempts = 2, .at_most_once = true}), "spec.retries.max_attempts");
  EXPECT_EQ(refusal_of({.task = "t", .run_timeout_ms = INT64_MAX}), "spec.timeouts.run_ms");
  const std::string bad_type = payload_of("x", "text/\x02");
  EXPECT_EQ(refusal_of({.task = "t", .payload = bad_type}), "items[0].parts[0].content_type");
}

}  // namespace
}  // namespace futured::rpc
