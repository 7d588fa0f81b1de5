#include "daemon/store/sent_contents.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/stored_segment.h"
#include "tests/store/scratch.h"

namespace futured {
namespace {

namespace fs = std::filesystem;

constexpr Instant kNow{1'000'000};

class SentContentsTest : public testing::Test {
 protected:
  [[nodiscard]] std::string directory() const { return (scratch_.folder() / "files").string(); }
  [[nodiscard]] std::size_t file_count() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory()), fs::directory_iterator()));
  }
  // The file, and who holds it.
  [[nodiscard]] Result<SentContent> send(const std::string& content, std::uint32_t owner, Instant now = kNow) {
    ContentFiles::Hold hold(files_);
    const auto digest = hold.add(content);
    if (!digest.ok()) return digest.error();
    return sent_.hold({.digest = *digest, .bytes = content.size(), .content_type = "a/b", .owner = owner}, now);
  }

  Scratch scratch_;
  const std::shared_ptr<ContentFiles> files_ = std::make_shared<ContentFiles>(directory(), 0);
  SentContents sent_{directory(), files_};
};

TEST_F(SentContentsTest, IsThereForWhoSentItAndForRoot) {
  const auto sent = send("hello", 1000);
  ASSERT_TRUE(sent.ok());
  EXPECT_EQ(sent->id, stored_segment(Digest::of("hello").bytes));
  EXPECT_EQ(sent_.find(1000, sent->digest, kNow)->content_type, "a/b");
  EXPECT_EQ(sent_.find(0, sent->id, kNow)->bytes, 5u);
  EXPECT_FALSE(sent_.find(1001, sent->digest, kNow));
  EXPECT_FALSE(sent_.find(1001, sent->id, kNow));
  EXPECT_FALSE(sent_.find(1000, Digest::of("other"), kNow));
  EXPECT_EQ(sent_.release(1001, sent->id).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(file_count(), 2u);
}

TEST_F(SentContentsTest, EachHoldsForHimselfAndTheFileIsOne) {
  const SegmentId id = send("hello", 1000)->id;
  ASSERT_EQ(send("hello", 1001)->id, id);
  EXPECT_EQ(file_count(), 3u);
  ASSERT_TRUE(sent_.release(1000, id).ok());
  files_->drop_unless(Digest::of("hello"), [] { return false; });
  EXPECT_TRUE(sent_.find(1001, id, kNow));
  EXPECT_EQ(file_count(), 2u);
  ASSERT_TRUE(sent_.release(1001, id).ok());
  files_->drop_unless(Digest::of("hello"), [] { return false; });
  EXPECT_EQ(file_count(), 0u);
}

TEST_F(SentContentsTest, OutlivesTheDaemon) {
  const auto sent = send("hello", 1000);
  files_->close();
  { std::ofstream(directory() + "/" + Digest::of("gone").hex() + ".held-7") << "futured 1\n4\n\n"; }
  { std::ofstream(directory() + "/" + sent->digest.hex() + ".held-8") << "futured 1\nmany\n\n"; }
  { std::ofstream(directory() + "/" + sent->digest.hex() + ".held-1000.part-1-0") << "fut"; }
  const auto files = std::make_shared<ContentFiles>(directory(), 0);
  SentContents later(directory(), files);
  ASSERT_TRUE(later.load(kNow).ok());
  ASSERT_TRUE(files->sweep([&](const Digest& digest) -> Result<bool> { return later.has(digest); }).ok());
  EXPECT_EQ(file_count(), 2u) << "what was not finished, is damaged or holds nothing is gone";
  const auto found = later.find(1000, sent->digest, kNow);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->id, sent->id);
  EXPECT_EQ(found->bytes, 5u);
  EXPECT_EQ(found->content_type, "a/b");
}

TEST_F(SentContentsTest, WhatNobodyAsksForIsLetGo) {
  const auto used = send("used", 1000);
  const auto unused = send("unused", 1000);
  const Instant later = kNow + SentContents::kUnused;
  EXPECT_TRUE(sent_.find(1000, used->id, later));
  EXPECT_TRUE(sent_.forget_unused(later).empty());
  EXPECT_EQ(sent_.forget_unused(later + Duration(1)), std::vector{unused->digest});
  EXPECT_TRUE(sent_.find(1000, used->id, later));
  EXPECT_FALSE(sent_.find(1000, unused->digest, later));
}

TEST_F(SentContentsTest, QuotasAreAUsersAndOfAll) {
  EXPECT_TRUE(sent_.check_room(1000, SentContents::kBytesPerUserMax).ok());
  EXPECT_EQ(sent_.check_room(1000, SentContents::kBytesPerUserMax + 1).error().code, ErrorCode::kResourceExhausted);
  ASSERT_TRUE(send("hello", 1000).ok());
  EXPECT_EQ(sent_.check_room(1000, SentContents::kBytesPerUserMax).error().code, ErrorCode::kResourceExhausted);
  EXPECT_TRUE(sent_.check_room(1001, SentContents::kBytesPerUserMax).ok());
}

TEST_F(SentContentsTest, AJobOnItsWayKeepsTheFile) {
  const auto sent = send("hello", 1000);
  auto kept = sent_.keep(sent->id);
  ASSERT_TRUE(kept.ok());
  ASSERT_TRUE(sent_.release(1000, sent->id).ok());
  files_->drop_unless(sent->digest, [] { return false; });
  EXPECT_EQ(file_count(), 1u);
  EXPECT_EQ(sent_.keep(SegmentId{5}).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace futured
