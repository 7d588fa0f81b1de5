#include "daemon/rpc/uploads.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "base/limits.h"

namespace futured::rpc {
namespace {

constexpr std::uint32_t kOwner = 1000;
constexpr std::chrono::milliseconds kPatience{limits::kUploadUnusedMs};

SegmentId upload(SegmentTable& table, Uploads& uploads, Instant now) {
  constexpr std::string_view kText = "hello";
  auto segment = make_segment("test", std::as_bytes(std::span(kText)));
  EXPECT_TRUE(segment.ok());
  SegmentHold hold;
  const auto id = table.put(kOwner, std::move(*segment), "", hold);
  EXPECT_TRUE(id.ok());
  uploads.keep(kOwner, *id, std::move(hold), now);
  return *id;
}

TEST(Uploads, TheOwnerAndRootReleaseAndNobodyElse) {
  SegmentTable table;
  Uploads uploads;
  const SegmentId id = upload(table, uploads, {});
  EXPECT_EQ(uploads.release(kOwner + 1, id).error().code, ErrorCode::kPermissionDenied);
  EXPECT_EQ(table.usage().segments, 1u);
  EXPECT_TRUE(uploads.release(kOwner, id).ok());
  EXPECT_EQ(table.usage().segments, 0u);
  EXPECT_EQ(uploads.release(kOwner, id).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(uploads.release(0, upload(table, uploads, {})).ok());
}

TEST(Uploads, WhatIsUsedStaysAndWhatIsNotGoes) {
  SegmentTable table;
  Uploads uploads;
  const Instant start{};
  const SegmentId used = upload(table, uploads, start);
  const SegmentId unused = upload(table, uploads, start);
  uploads.touch(used, start + kPatience);
  uploads.forget_unused(start + kPatience);
  EXPECT_EQ(table.usage().segments, 2u);
  uploads.forget_unused(start + kPatience + std::chrono::milliseconds(1));
  EXPECT_TRUE(table.open(used, kOwner).ok());
  EXPECT_FALSE(table.open(unused, kOwner).ok());
}

class BrokenOff final : public OpenCall {
 public:
  void stop(const Error& why) override { fault = why; }
  std::optional<Error> fault;
};

TEST(Uploads, AnUploadOfWhichNothingComesIsBrokenOff) {
  constexpr std::chrono::milliseconds kStall{limits::kUploadStalledMs};
  Uploads uploads;
  const auto stalled = std::make_shared<BrokenOff>();
  const auto going_on = std::make_shared<BrokenOff>();
  const auto over = std::make_shared<BrokenOff>();
  const Instant start{};
  for (const auto& call : {stalled, going_on, over}) uploads.begin(call, start);
  uploads.goes_on(going_on.get(), start + kStall);
  uploads.ended(over.get());
  uploads.forget_unused(start + kStall);
  EXPECT_FALSE(stalled->fault);
  uploads.forget_unused(start + kStall + std::chrono::milliseconds(1));
  ASSERT_TRUE(stalled->fault);
  EXPECT_EQ(stalled->fault->code, ErrorCode::kDeadlineExceeded);
  EXPECT_FALSE(going_on->fault);
  EXPECT_FALSE(over->fault);
}

TEST(Uploads, AJobKeepsWhatWasReleased) {
  SegmentTable table;
  Uploads uploads;
  const SegmentId id = upload(table, uploads, {});
  SegmentHold job;
  ASSERT_TRUE(table.take_share(id, kOwner, job).ok());
  ASSERT_TRUE(uploads.release(kOwner, id).ok());
  EXPECT_TRUE(table.open(id, kOwner).ok());
}

}  // namespace
}  // namespace futured::rpc
