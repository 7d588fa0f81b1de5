#include "base/spool_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace futured {
namespace {

class SpoolFileTest : public ::testing::Test {
 protected:
  SpoolFileTest() { folder_ = ::mkdtemp(pattern_); }
  ~SpoolFileTest() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name) {
    std::filesystem::create_directories(std::filesystem::path(folder_ + "/" + name).parent_path());
    std::ofstream(folder_ + "/" + name) << "x";
    return folder_ + "/" + name;
  }
  // As its worker would: users/<uid>/<name>, of that user.
  std::string write_of(uid_t user, const std::string& name) {
    const std::string path = write("users/" + std::to_string(user) + "/" + name);
    EXPECT_EQ(::lchown(path.c_str(), user, ::getegid()), 0);
    return path;
  }
  std::string found(const std::string& name, SpoolUser user = ::geteuid()) {
    const auto opened = open_spool_file(folder_, name, user);
    return opened ? opened->path : opened.error().code == ErrorCode::kNotFound ? "none" : opened.error().message;
  }

  char pattern_[32] = "/tmp/futured-spool-XXXXXX";
  std::string folder_;
};

TEST_F(SpoolFileTest, LiesInTheDirectoryOrInItsUsersFolder) {
  EXPECT_EQ(found("1.1.1.stdout"), "none");
  const std::string plain = write("1.1.1.stdout");
  EXPECT_EQ(found("1.1.1.stdout"), plain);
  EXPECT_EQ(found("1.1.1.stdout", std::nullopt), plain);
  const std::string users = write_of(::geteuid(), "2.1.1.stdout");
  EXPECT_EQ(found("2.1.1.stdout"), users);
  EXPECT_EQ(found("2.1.1.stdout", std::nullopt), "none") << "the attempt's worker had no other user";
  (void)write_of(::geteuid(), "1.1.1.stdout");
  EXPECT_EQ(found("1.1.1.stdout"), plain) << "only we can write there";
}

TEST_F(SpoolFileTest, OfAUserIsNoLinkAndNobodyElsesFile) {
  const std::string secret = write("secret");
  const std::string own = write_of(::geteuid(), "1.1.1.stdout");
  const std::string folder = std::filesystem::path(own).parent_path();
  std::filesystem::create_symlink(secret, folder + "/2.1.1.stdout");
  std::filesystem::create_hard_link(secret, folder + "/3.1.1.stdout");
  EXPECT_EQ(::mkfifo((folder + "/4.1.1.stdout").c_str(), 0600), 0);
  (void)write("users/not-a-number/5.1.1.stdout");
  for (const char* name : {"2.1.1.stdout", "3.1.1.stdout", "4.1.1.stdout", "5.1.1.stdout"}) {
    EXPECT_EQ(found(name), "none") << name;
  }
}

TEST_F(SpoolFileTest, OfAnotherUserNeitherReplacesNorHidesIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  const std::string own = write_of(1001, "1.1.1.stdout");
  const std::string other = write_of(1002, "1.1.1.stdout");
  (void)write_of(1002, "2.1.1.stdout");
  EXPECT_EQ(found("1.1.1.stdout", 1001), own);
  EXPECT_EQ(found("2.1.1.stdout", 1001), "none");
  EXPECT_EQ(::lchown(other.c_str(), 1001, 0), 0);
  EXPECT_EQ(found("1.1.1.stdout", 1002), "none") << "it is not its folder's";
}

TEST(SpoolUserTest, IsWhoIsNotOurselves) {
  EXPECT_EQ(spool_user(""), std::nullopt);
  EXPECT_EQ(spool_user("no such user"), std::nullopt);
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  EXPECT_EQ(spool_user("root"), std::nullopt);
  EXPECT_NE(spool_user("nobody"), std::nullopt);
}

}  // namespace
}  // namespace futured
