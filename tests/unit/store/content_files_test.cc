#include "daemon/store/content_files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <random>
#include <thread>

#include "base/stored_segment.h"
#include "tests/store/scratch.h"

namespace futured {
namespace {

namespace fs = std::filesystem;

std::string random_bytes(std::size_t size, std::uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

std::string dull_bytes(std::size_t size) {
  std::string bytes;
  while (bytes.size() < size) bytes += "line " + std::to_string(bytes.size()) + " of much the same text\n";
  bytes.resize(size);
  return bytes;
}

class ContentFilesTest : public testing::Test {
 protected:
  [[nodiscard]] std::string directory() const { return (scratch_.folder() / "files").string(); }
  [[nodiscard]] std::shared_ptr<ContentFiles> open(int level = 3) const {
    return std::make_shared<ContentFiles>(directory(), level);
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> found;
    if (!fs::exists(directory())) return found;
    for (const auto& entry : fs::directory_iterator(directory())) found.push_back(entry.path().filename().string());
    std::ranges::sort(found);
    return found;
  }
  [[nodiscard]] std::string only_path() const {
    const auto found = names();
    return found.size() == 1 ? directory() + "/" + found[0] : "there is not one file";
  }

  Scratch scratch_;
};

TEST(Digest, IsSha256) {
  const Digest digest = Digest::of("abc");
  EXPECT_EQ(digest.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Digest::from_hex(digest.hex()), digest);
  EXPECT_EQ(Digest::from_raw(digest.raw()), digest);
  EXPECT_FALSE(Digest::from_hex("ba78"));
  EXPECT_FALSE(Digest::from_hex(std::string(64, 'G')));
  EXPECT_FALSE(Digest::from_raw("short"));
}

TEST_F(ContentFilesTest, WhatSavesRoomIsCompressedAndTheRestIsNot) {
  const auto files = open();
  ContentFiles::Hold hold(files);
  const std::string dull = dull_bytes(9'000'000);  // several frames
  const std::string random = random_bytes(300'000);
  const auto packed = hold.add(dull);
  const auto plain = hold.add(random);
  ASSERT_TRUE(packed.ok() && plain.ok());
  std::vector<std::string> wanted = {packed->hex() + ".zst", plain->hex()};
  std::ranges::sort(wanted);
  EXPECT_EQ(names(), wanted);
  EXPECT_LT(fs::file_size(directory() + "/" + packed->hex() + ".zst"), dull.size() / 4);
  EXPECT_EQ(*files->read(*packed, dull.size()), dull);
  EXPECT_EQ(*files->read(*plain, random.size()), random);
}

TEST_F(ContentFilesTest, WhatBeginsDullAndGoesOnAtRandomIsNotCompressed) {
  const auto files = open();
  ContentFiles::Hold hold(files);
  const auto digest = hold.add(dull_bytes(30'000) + random_bytes(900'000));
  ASSERT_TRUE(digest.ok());
  EXPECT_EQ(names(), std::vector{digest->hex()});
}

TEST_F(ContentFilesTest, LevelZeroNeverCompresses) {
  const auto files = open(0);
  ContentFiles::Hold hold(files);
  const auto digest = hold.add(dull_bytes(100'000));
  ASSERT_TRUE(digest.ok());
  EXPECT_EQ(names(), std::vector{digest->hex()});
  EXPECT_EQ(*open(9)->read(*digest, 100'000), dull_bytes(100'000));
}

TEST_F(ContentFilesTest, TheSameContentIsOneFileWhoeverStoresIt) {
  const auto files = open();
  const std::string content = random_bytes(200'000);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      ContentFiles::Hold hold(files);
      EXPECT_TRUE(hold.add(content).ok());
      hold.stay();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(names(), std::vector{Digest::of(content).hex()});
}

TEST_F(ContentFilesTest, GoesWithItsLastHoldUnlessItStays) {
  const auto files = open();
  const std::string content = random_bytes(100'000);
  auto first = std::make_unique<ContentFiles::Hold>(files);
  auto second = std::make_unique<ContentFiles::Hold>(files);
  ASSERT_TRUE(first->add(content).ok());
  ASSERT_TRUE(second->add(content).ok());
  first.reset();
  EXPECT_EQ(names().size(), 1u);
  second.reset();
  EXPECT_TRUE(names().empty());

  first = std::make_unique<ContentFiles::Hold>(files);
  ASSERT_TRUE(first->add(content).ok());
  first->stay();
  first.reset();
  EXPECT_EQ(names().size(), 1u);

  // It was there before: whoever refers to it now does not decide on it.
  second = std::make_unique<ContentFiles::Hold>(files);
  ASSERT_TRUE(second->add(content).ok());
  second.reset();
  EXPECT_EQ(names().size(), 1u);
}

TEST_F(ContentFilesTest, AClosedDirectoryIsTheNextOnes) {
  const auto files = open();
  auto hold = std::make_unique<ContentFiles::Hold>(files);
  ASSERT_TRUE(hold->add(random_bytes(100'000)).ok());
  files->close();
  EXPECT_EQ(hold->add(random_bytes(100'000, 2)).error().code, ErrorCode::kUnavailable);
  hold.reset();
  EXPECT_EQ(names().size(), 1u);
}

TEST_F(ContentFilesTest, AMissingFileIsNamed) {
  const auto files = open();
  ContentFiles::Hold hold(files);
  const auto digest = hold.add(random_bytes(100'000));
  ASSERT_TRUE(digest.ok());
  const std::string path = only_path();
  fs::remove(path);
  const auto read = files->read(*digest, 100'000);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, ErrorCode::kNotFound);
  EXPECT_NE(read.error().message.find(path), std::string::npos) << read.error().message;
  // Stored again, it is there again.
  ASSERT_TRUE(hold.add(random_bytes(100'000)).ok());
  EXPECT_TRUE(files->read(*digest, 100'000).ok());
}

TEST_F(ContentFilesTest, ADamagedFileIsNamedAndMendedByTheSameContent) {
  for (const std::string& content : {random_bytes(100'000), dull_bytes(100'000)}) {
    const auto files = open();
    auto hold = std::make_unique<ContentFiles::Hold>(files);
    const auto digest = hold->add(content);
    ASSERT_TRUE(digest.ok());
    const std::string path = only_path();
    {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(40).put('!').put('?');
    }
    const auto read = files->read(*digest, content.size());
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(read.error().code, ErrorCode::kDataLoss);
    EXPECT_NE(read.error().message.find(path), std::string::npos) << read.error().message;
    ASSERT_TRUE(hold->add(content).ok());
    EXPECT_EQ(*files->read(*digest, content.size()), content);
    hold.reset();
    EXPECT_EQ(names().size(), 1u) << "what jobs had before it was mended stays theirs";
    fs::remove(path);
  }
}

TEST_F(ContentFilesTest, WhoLooksCloselyMendsADamagedFileOfTheRightSize) {
  using Care = ContentFiles::Care;
  for (const std::string& content : {random_bytes(9'000'000), dull_bytes(9'000'000)}) {
    {
      const auto files = open();
      ContentFiles::Hold hold(files);
      ASSERT_TRUE(hold.add(content).ok());
      hold.stay();
    }
    const std::string path = only_path();
    {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(fs::file_size(path) / 2)).put('!').put('?');
    }
    const auto files = open();  // of a daemon that has not read it
    std::string out(content.size(), '\0');
    const auto into = std::as_writable_bytes(std::span(out));
    {
      ContentFiles::Hold quick(files);
      ASSERT_TRUE(quick.add(content, Care::kQuick).ok());
      EXPECT_EQ(files->read_into(Digest::of(content), into).error().code, ErrorCode::kDataLoss);
    }
    const auto later = open();
    {
      ContentFiles::Hold close(later);
      ASSERT_TRUE(close.add(content, Care::kVerified).ok());
    }
    ASSERT_TRUE(later->read_into(Digest::of(content), into).ok()) << "and what jobs had before stays theirs";
    EXPECT_EQ(out, content);
    fs::remove(path);
    EXPECT_EQ(later->read_into(Digest::of(content), into).error().code, ErrorCode::kNotFound);
  }
}

TEST_F(ContentFilesTest, ReadingIntoMemoryTakesNoOtherSize) {
  const auto files = open();
  for (const std::string& content : {random_bytes(5'000'000), dull_bytes(5'000'000), std::string()}) {
    ContentFiles::Hold hold(files);
    const auto digest = hold.add(content, ContentFiles::Care::kChanging);
    ASSERT_TRUE(digest.ok());
    for (const std::size_t wrong : {content.size() + 1, content.size() / 2}) {
      if (wrong == content.size()) continue;
      std::vector<std::byte> out(wrong);
      EXPECT_EQ(files->read_into(*digest, out).error().code, ErrorCode::kDataLoss);
    }
    ASSERT_TRUE(hold.add(content, ContentFiles::Care::kVerified).ok());
    std::vector<std::byte> out(content.size());
    ASSERT_TRUE(files->read_into(*digest, out).ok());
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(out.data()), out.size()), content);
  }
}

TEST_F(ContentFilesTest, ASegmentIsKnownByItsNumberUntilItsFileGoes) {
  const auto files = open();
  const std::string content = random_bytes(100);
  const Digest digest = Digest::of(content);
  const SegmentId id = stored_segment(digest.bytes);
  EXPECT_TRUE(is_stored(id));
  EXPECT_FALSE(files->names_any());
  {
    ContentFiles::Hold hold(files);
    ASSERT_TRUE(hold.add(content).ok());
    ASSERT_TRUE(files->name({digest, content.size()}).ok());
    EXPECT_TRUE(files->names_any());
    EXPECT_EQ(files->named(id)->size, content.size());
    Digest twin = digest;
    twin.bytes[31] ^= 1;  // of the same number
    EXPECT_EQ(files->name({twin, 5}).error().code, ErrorCode::kAlreadyExists);
    files->drop_unless(digest, [] { return false; });
    EXPECT_EQ(names().size(), 1u) << "it is held";
    hold.stay();
  }
  files->drop_unless(digest, [] { return true; });
  EXPECT_EQ(names().size(), 1u);
  files->drop_unless(digest, [] { return false; });
  EXPECT_TRUE(names().empty());
  EXPECT_FALSE(files->named(id));
  EXPECT_FALSE(files->names_any());
}

TEST_F(ContentFilesTest, AShorterFileIsNeverTakenForTheContent) {
  const auto files = open();
  ContentFiles::Hold hold(files);
  const auto digest = hold.add(random_bytes(100'000));
  ASSERT_TRUE(digest.ok());
  fs::resize_file(only_path(), 50'000);
  EXPECT_EQ(files->read(*digest, 100'000).error().code, ErrorCode::kDataLoss);
  ContentFiles::Hold later(open());
  ASSERT_TRUE(later.add(random_bytes(100'000)).ok());
  EXPECT_TRUE(files->read(*digest, 100'000).ok());
}

TEST_F(ContentFilesTest, WhatCannotBeWrittenWholeLeavesNothing) {
  const auto files = open();
  signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{.rlim_cur = 64 * 1024, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  {
    ContentFiles::Hold hold(files);
    const auto added = hold.add(random_bytes(300'000));
    EXPECT_FALSE(added.ok());
    if (!added.ok()) {
      EXPECT_NE(added.error().message.find(directory()), std::string::npos) << added.error().message;
    }
  }
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_TRUE(names().empty());
}

TEST_F(ContentFilesTest, TheSweepTakesWhatIsNotNeededAndNothingElse) {
  const auto files = open();
  Digest needed;
  Digest orphan;
  {
    ContentFiles::Hold hold(files);
    needed = *hold.add(random_bytes(100'000));
    orphan = *hold.add(dull_bytes(100'000));
    hold.stay();
  }
  std::ofstream(directory() + "/" + needed.hex() + ".part-77-0") << "half of it";
  std::ofstream(directory() + "/" + orphan.hex() + ".zst.part-77-1") << "half of it";
  std::ofstream(directory() + "/README") << "not ours";
  const auto swept = open()->sweep([&](const Digest& digest) -> Result<bool> { return digest == needed; });
  ASSERT_TRUE(swept.ok()) << swept.error().message;
  std::vector<std::string> wanted = {"README", needed.hex()};
  std::ranges::sort(wanted);
  EXPECT_EQ(names(), wanted);
}

TEST_F(ContentFilesTest, TheSweepOfNoDirectoryIsNoError) {
  EXPECT_TRUE(open()->sweep([](const Digest&) -> Result<bool> { return true; }).ok());
}

}  // namespace
}  // namespace futured
