#include "base/whole_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace futured {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

class WholeFileTest : public ::testing::Test {
 protected:
  WholeFileTest() { folder_ = ::mkdtemp(pattern_); }
  ~WholeFileTest() override { std::filesystem::remove_all(folder_); }

  static std::string content_of(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator()));
  }

  char pattern_[32] = "/tmp/futured-whole-XXXXXX";
  std::string folder_;
};

TEST_F(WholeFileTest, AppearsWhenItIsFinished) {
  const std::string path = folder_ + "/f";
  std::ofstream(path) << "before";
  auto file = WholeFile::create(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  ASSERT_TRUE(file->write_at(2, bytes_of("cd")).ok());
  ASSERT_TRUE(file->write_at(0, bytes_of("ab")).ok());
  EXPECT_EQ(content_of(path), "before");
  ASSERT_TRUE(file->finish().ok());
  EXPECT_EQ(content_of(path), "abcd");
  EXPECT_EQ(files(), 1u);
}

TEST_F(WholeFileTest, LeavesNothingWhenItIsNot) {
  const std::string path = folder_ + "/f";
  std::ofstream(path) << "before";
  {
    auto file = WholeFile::create(path);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->write_at(0, bytes_of("half")).ok());
    EXPECT_EQ(files(), 2u);
  }
  EXPECT_EQ(content_of(path), "before");
  EXPECT_EQ(files(), 1u);
}

TEST_F(WholeFileTest, SaysThatThereIsNoRoom) {
  // Of the two ways to run out of room, the one that a test can have without a disk of its own.
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  ::getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{1000, limit.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  {
    auto file = WholeFile::create(folder_ + "/f");
    ASSERT_TRUE(file.ok());
    const Status wrote = file->write_at(0, bytes_of(std::string(5000, 'x')));
    ASSERT_FALSE(wrote.ok());
    EXPECT_NE(wrote.error().message.find(folder_ + "/f: File too large"), std::string::npos) << wrote.error().message;
  }
  ::setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, before);
  EXPECT_EQ(files(), 0u);
}

TEST_F(WholeFileTest, KeepsALinkAndPermissions) {
  const std::string path = folder_ + "/f";
  std::ofstream(path) << "before";
  ::chmod(path.c_str(), 0600);
  std::filesystem::create_symlink("f", folder_ + "/link");
  auto file = WholeFile::create(folder_ + "/link");
  ASSERT_TRUE(file.ok()) << file.error().message;
  ASSERT_TRUE(file->write_at(0, bytes_of("after")).ok());
  ASSERT_TRUE(file->finish().ok());
  EXPECT_EQ(content_of(path), "after");
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ + "/link"));
  struct stat found {};
  ASSERT_EQ(::stat(path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777, 0600u);
}

TEST_F(WholeFileTest, ReplacesNoDeviceAndNoFolder) {
  for (const std::string& path : {std::string("/dev/null"), folder_}) {
    const auto file = WholeFile::create(path);
    ASSERT_FALSE(file.ok()) << path;
    EXPECT_EQ(file.error().code, ErrorCode::kInvalidArgument);
  }
  const auto nowhere = WholeFile::create(folder_ + "/no/f");
  ASSERT_FALSE(nowhere.ok());
  EXPECT_EQ(nowhere.error().code, ErrorCode::kNotFound);
}

TEST_F(WholeFileTest, TwoWritersOfOneNameDoNotMix) {
  const std::string path = folder_ + "/f";
  auto one = WholeFile::create(path);
  auto two = WholeFile::create(path);
  ASSERT_TRUE(one.ok() && two.ok());
  ASSERT_TRUE(one->write_at(0, bytes_of("one")).ok());
  ASSERT_TRUE(two->write_at(0, bytes_of("two and more")).ok());
  ASSERT_TRUE(two->finish().ok());
  ASSERT_TRUE(one->finish().ok());
  EXPECT_EQ(content_of(path), "one");
}

}  // namespace
}  // namespace futured
