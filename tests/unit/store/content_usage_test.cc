#include "daemon/store/content_usage.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "daemon/store/content_files.h"
#include "tests/store/scratch.h"

namespace futured {
namespace {

namespace fs = std::filesystem;

class ContentUsageTest : public testing::Test {
 protected:
  [[nodiscard]] std::string directory() const { return (scratch_.folder() / "files").string(); }
  void add_file(const std::string& name) const { std::ofstream(fs::path(directory()) / name) << "x"; }

  Scratch scratch_;
};

TEST_F(ContentUsageTest, ADirectoryThatIsNotThereIsEmptyAndCanBeMade) {
  const ContentUsage usage = content_usage(directory());
  EXPECT_EQ(usage.files, 0u);
  EXPECT_TRUE(usage.is_writable);
  EXPECT_FALSE(content_usage(directory() + "/nor/this").is_writable);
}

TEST_F(ContentUsageTest, CountsContentsAndTheirBytes) {
  const auto files = std::make_shared<ContentFiles>(directory(), 0);
  ContentFiles::Hold hold(files);
  ASSERT_TRUE(hold.add(std::string(1000, 'a')).ok());
  ASSERT_TRUE(hold.add(std::string(500, 'b')).ok());
  const ContentUsage usage = content_usage(directory());
  EXPECT_EQ(usage.files, 2u);
  EXPECT_EQ(usage.bytes, 1500u);
  EXPECT_EQ(usage.unfinished + usage.foreign, 0u);
  EXPECT_TRUE(usage.is_whole);
}

TEST_F(ContentUsageTest, TellsWhatNobodyNeedsFromWhatIsBeingWritten) {
  fs::create_directory(directory());
  const std::string digest(64, 'a');
  add_file(digest + ".zst");
  add_file(digest + ".part-" + std::to_string(::getpid()) + "-1");  // of a process that lives
  add_file(digest + ".zst.part-0-7");                               // of none
  add_file("notes.txt");
  const ContentUsage usage = content_usage(directory());
  EXPECT_EQ(usage.files, 1u);
  EXPECT_EQ(usage.unfinished, 1u);
  EXPECT_EQ(usage.foreign, 1u);
}

TEST_F(ContentUsageTest, SaysThatItMayNotBeWritten) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  fs::create_directory(directory());
  fs::permissions(directory(), fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_FALSE(content_usage(directory()).is_writable);
  fs::permissions(directory(), fs::perms::owner_all);
}

}  // namespace
}  // namespace futured
