#include "daemon/store/content_files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <thread>

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
