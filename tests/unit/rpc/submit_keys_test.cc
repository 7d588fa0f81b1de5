#include "daemon/rpc/submit_keys.h"

#include <gtest/gtest.h>

#include "base/stored_segment.h"

namespace futured::rpc {
namespace {

using Items = google::protobuf::RepeatedPtrField<api::Item>;

JobSpec of_task(const std::string& task) {
  JobSpec spec;
  spec.task = task;
  return spec;
}

std::vector<event::SubmitKey> keys_of(const Items& items, const std::string& batch_key, const std::string& task = "t") {
  const auto payloads = to_payloads(items, false, [](SegmentId) -> Result<std::uint64_t> { return 100; });
  EXPECT_TRUE(payloads.ok());
  const auto keys = to_keys(of_task(task), *payloads, items, batch_key);
  EXPECT_TRUE(keys.ok()) << keys.error().message;
  return *keys;
}

Items items_of(const std::vector<std::string>& payloads, const std::string& key = {}) {
  Items items;
  for (const std::string& payload : payloads) {
    api::Item& item = *items.Add();
    item.add_parts()->set_data(payload);
    item.set_idempotency_key(key);
  }
  return items;
}

std::uint64_t fingerprint(const std::vector<std::string>& payloads, const std::string& task = "t") {
  return keys_of(items_of(payloads), "k", task).at(0).fingerprint;
}

TEST(Fingerprints, SameWorkHasTheSame) {
  EXPECT_EQ(fingerprint({"a", "b"}), fingerprint({"a", "b"}));
  EXPECT_NE(fingerprint({"a", "b"}), fingerprint({"b", "a"}));
  EXPECT_NE(fingerprint({"ab"}), fingerprint({"a", "b"}));
  EXPECT_NE(fingerprint({"a"}), fingerprint({"a"}, "other"));
  EXPECT_NE(fingerprint({std::string(1, '\0')}), fingerprint({std::string(2, '\0')}));
}

// They are stored: another value would refuse after an upgrade what was accepted before it.
TEST(Fingerprints, NeverChange) { EXPECT_EQ(fingerprint({"payload"}), 937862796088070388u); }

TEST(Fingerprints, OfASegmentCoverItsSizeAlone) {
  const auto of = [](std::uint64_t id, std::uint64_t end) {
    Items items = items_of({"x"});
    api::SegmentSlice& slice = *items[0].add_parts()->mutable_segment();
    slice.set_id(id);
    slice.set_end(end);
    return keys_of(items, "k").at(0).fingerprint;
  };
  EXPECT_EQ(of(1, 50), of(2, 50));
  EXPECT_NE(of(1, 50), of(1, 60));
  // One in a file is what it holds.
  EXPECT_EQ(of(kStoredSegmentsFrom | 1, 50), of(kStoredSegmentsFrom | 1, 50));
  EXPECT_NE(of(kStoredSegmentsFrom | 1, 50), of(kStoredSegmentsFrom | 2, 50));
}

TEST(Keys, OneOfABatchOrOneOfEachItem) {
  EXPECT_TRUE(keys_of(items_of({"a"}), "").empty());
  EXPECT_EQ(keys_of(items_of({"a", "b"}), "k").size(), 1u);
  Items items = items_of({"a", "b"});
  items[1].set_idempotency_key("second");
  const auto keys = keys_of(items, "");
  ASSERT_EQ(keys.size(), 2u);
  EXPECT_EQ(keys[0].key, "");
  EXPECT_EQ(keys[1].key, "second");
  // A batch of one job and an item are the same thing.
  EXPECT_EQ(keys_of(items_of({"a"}), "k")[0].fingerprint, keys_of(items_of({"a"}, "k"), "")[0].fingerprint);
}

}  // namespace
}  // namespace futured::rpc
