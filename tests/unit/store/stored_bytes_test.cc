#include "daemon/store/stored_bytes.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "base/payload.h"
#include "tests/store/scratch.h"

namespace futured {
namespace {

constexpr std::size_t kLarge = limits::kStoredInlineBytesMax + 1;

std::string encoded(const std::vector<Part>& parts) {
  std::string bytes;
  for (const Part& part : parts) append_part(bytes, part);
  return bytes;
}

class StoredBytesTest : public testing::Test {
 protected:
  [[nodiscard]] std::size_t file_count() const {
    const auto directory = scratch_.folder() / "files";
    if (!std::filesystem::exists(directory)) return 0;
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(directory), std::filesystem::directory_iterator()));
  }

  Scratch scratch_;
  const std::shared_ptr<ContentFiles> files_ =
      std::make_shared<ContentFiles>((scratch_.folder() / "files").string(), 3);
};

TEST_F(StoredBytesTest, SmallOnesLieThereAsTheyAre) {
  StoredForms forms(files_);
  const std::string small = encoded({{.content_type = "text/plain", .bytes = "hello"}});
  const std::string at_the_bound = encoded({{.bytes = std::string(kLarge - 1, 'a')}});
  for (const std::string& bytes : {small, at_the_bound, std::string()}) {
    ASSERT_TRUE(forms.add(JobId{1}, bytes).ok());
    EXPECT_EQ(forms.of(bytes), bytes);
    EXPECT_EQ(*restore(bytes, *files_), bytes);
  }
  EXPECT_TRUE(forms.uses().empty());
  EXPECT_EQ(file_count(), 0u);
}

TEST_F(StoredBytesTest, OnlyLargePartsAreFilesAndThoseThatAreTheSameAreOne) {
  StoredForms forms(files_);
  const std::string shared(kLarge, 's');
  const std::string first = encoded({{.content_type = "a/b", .bytes = shared}, {.bytes = "1"}});
  const std::string second =
      encoded({{.bytes = "2"},
               {.kind = PartKind::kSegment, .content_type = "c/d", .segment = SegmentId{7}, .begin = 8, .end = 1000},
               {.content_type = "e/f", .bytes = shared}});
  EXPECT_TRUE(StoredForms::has_files(first));
  ASSERT_TRUE(forms.add(JobId{1}, first).ok());
  ASSERT_TRUE(forms.add(JobId{2}, second).ok());
  EXPECT_EQ(file_count(), 1u);
  ASSERT_EQ(forms.uses().size(), 2u);
  EXPECT_EQ(forms.uses()[0].file, Digest::of(shared));
  EXPECT_EQ(forms.uses()[1].job, JobId{2});
  for (const std::string* const bytes : {&first, &second}) {
    EXPECT_LT(forms.of(*bytes).size(), 100u);
    EXPECT_EQ(*restore(forms.of(*bytes), *files_), *bytes);
  }
}

TEST_F(StoredBytesTest, AnEmptyPayloadIsNotTakenForTheLargeOneBehindIt) {
  StoredForms forms(files_);
  const std::string batch = encoded({{.bytes = std::string(kLarge, 'x')}});
  const std::string_view none = std::string_view(batch).substr(0, 0);
  ASSERT_TRUE(forms.add(JobId{1}, none).ok());
  ASSERT_TRUE(forms.add(JobId{2}, batch).ok());
  EXPECT_TRUE(forms.of(none).empty());
  EXPECT_FALSE(forms.of(batch).empty());
}

TEST_F(StoredBytesTest, BytesThatAreNoPartsComeBackAsTheyWere) {
  StoredForms forms(files_);
  std::string lost = encoded({{.bytes = std::string(kLarge, 'x')}});
  append_part(lost, {.kind = PartKind::kLost, .content_type = "a/b", .bytes = Digest::of("secret").raw()});
  std::string lost_first;
  append_part(lost_first, {.kind = PartKind::kLost, .bytes = "why"});
  for (const std::string& bytes : {std::string("\x02rest"), std::string("\x03"), std::string("\xff\xff"),
                                   "\x02" + std::string(kLarge, 'y'), lost, lost_first}) {
    ASSERT_TRUE(forms.add(JobId{1}, bytes).ok());
    EXPECT_EQ(*restore(forms.of(bytes), *files_), bytes);
  }
  EXPECT_EQ(file_count(), 0u);
}

TEST_F(StoredBytesTest, APartWhoseFileIsGoneSaysSoAndTheOthersAreThere) {
  StoredForms forms(files_);
  const std::string bytes = encoded({{.bytes = "here"}, {.content_type = "a/b", .bytes = std::string(kLarge, 'z')}});
  ASSERT_TRUE(forms.add(JobId{1}, bytes).ok());
  std::filesystem::remove_all(scratch_.folder() / "files");
  const auto restored = restore(forms.of(bytes), *files_);
  ASSERT_TRUE(restored.ok());
  const auto parts = decode_parts(*restored);
  ASSERT_TRUE(parts.ok());
  ASSERT_EQ(parts->size(), 2u);
  EXPECT_EQ((*parts)[0].bytes, "here");
  EXPECT_EQ((*parts)[1].kind, PartKind::kLost);
  EXPECT_EQ((*parts)[1].content_type, "a/b");
  EXPECT_NE((*parts)[1].bytes.find(Digest::of(std::string(kLarge, 'z')).hex()), std::string_view::npos);
  EXPECT_TRUE(names_segment(*restored)) << "whoever offers it must look closer";
}

TEST_F(StoredBytesTest, ADamagedFormIsALostPartAndNoCrash) {
  StoredForms forms(files_);
  const std::string bytes = encoded({{.bytes = std::string(kLarge, 'd')}, {.bytes = "tail"}});
  ASSERT_TRUE(forms.add(JobId{1}, bytes).ok());
  const std::string form(forms.of(bytes));
  for (std::size_t size = 1; size < form.size(); ++size) {
    const auto restored = restore(std::string_view(form).substr(0, size), *files_);
    ASSERT_TRUE(restored.ok());
    EXPECT_TRUE(decode_parts(*restored).ok());
  }
  for (std::size_t at = 1; at < form.size(); ++at) {
    std::string wrong = form;
    wrong[at] = static_cast<char>(wrong[at] ^ 0x55);
    const auto restored = restore(wrong, *files_);
    ASSERT_TRUE(restored.ok());
    EXPECT_TRUE(decode_parts(*restored).ok());
  }
}

TEST_F(StoredBytesTest, APayloadNamesItsStoredSegmentByDigestAndNeedsItsFile) {
  FileKeeper keeper(files_);
  const std::string content = "the bytes of an array";
  const auto kept = keeper.keep_segment(content, true);
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(keeper.keep_segment(content, false)->id, kept->id);
  EXPECT_EQ(*keeper.segment_bytes(kept->id), content.size());
  const Part part{.kind = PartKind::kSegment, .content_type = "a/b", .segment = kept->id, .begin = 4, .end = 9};
  const std::string payload = encoded({{.bytes = "1"}, part});
  std::string stored;
  {
    StoredForms forms(files_);
    ASSERT_TRUE(forms.add_payload(JobId{3}, payload).ok());
    stored = forms.of(payload);
    ASSERT_EQ(forms.uses().size(), 1u);
    EXPECT_EQ(forms.uses()[0].file, Digest::of(content));
    EXPECT_EQ(forms.uses()[0].job, JobId{3});
    forms.stay();
  }
  EXPECT_EQ(files_of(stored), std::vector{Digest::of(content)});
  EXPECT_EQ(*restore(stored, *files_), payload);

  // A later daemon knows the number once it has read the job.
  const auto later = std::make_shared<ContentFiles>((scratch_.folder() / "files").string(), 3);
  FileKeeper its_keeper(later, [](const Digest&) { return false; });
  std::string out(content.size(), '\0');
  const auto into = std::as_writable_bytes(std::span(out));
  EXPECT_EQ(its_keeper.fetch_segment(kept->id, into).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(*restore(stored, *later), payload);
  ASSERT_TRUE(its_keeper.fetch_segment(kept->id, into).ok());
  EXPECT_EQ(out, content);

  // No damage to the form makes more of it than a lost part.
  for (std::size_t at = 1; at < stored.size(); ++at) {
    std::string wrong = stored;
    wrong[at] = static_cast<char>(wrong[at] ^ 0x55);
    EXPECT_TRUE(decode_parts(*restore(wrong, *later)).ok()) << at;
  }
  its_keeper.drop_unused(Digest::of(content));
  EXPECT_EQ(file_count(), 0u);
}

TEST_F(StoredBytesTest, WhatAResultNamesIsNoFile) {
  FileKeeper keeper(files_);
  const auto kept = keeper.keep_segment("secret", false);
  ASSERT_TRUE(kept.ok());
  const std::string result = encoded({{.kind = PartKind::kSegment, .segment = kept->id, .begin = 0, .end = 6}});
  StoredForms forms(files_);
  ASSERT_TRUE(forms.add(JobId{1}, result).ok());
  EXPECT_EQ(forms.of(result), result);
  EXPECT_TRUE(forms.uses().empty());
}

TEST_F(StoredBytesTest, WhatAKeeperKeptGoesWithAnUnansweredSubmit) {
  FileKeeper keeper(files_);
  const std::string bytes = encoded({{.bytes = std::string(kLarge, 'k')}});
  auto kept = keeper.keep({bytes, bytes});
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(file_count(), 1u);
  *kept = nullptr;
  EXPECT_EQ(file_count(), 0u);
}

}  // namespace
}  // namespace futured
