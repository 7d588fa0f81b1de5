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
  std::string found(const std::string& name) {
    const auto opened = open_spool_file(folder_, name);
    return opened ? opened->path : opened.error().code == ErrorCode::kNotFound ? "none" : opened.error().message;
  }

  char pattern_[32] = "/tmp/futured-spool-XXXXXX";
  std::string folder_;
};

TEST_F(SpoolFileTest, LiesInTheDirectoryOrInItsUsersFolder) {
  EXPECT_EQ(found("1.1.1.stdout"), "none");
  const std::string plain = write("1.1.1.stdout");
  EXPECT_EQ(found("1.1.1.stdout"), plain);
  const std::string users = write_of(::geteuid(), "2.1.1.stdout");
  EXPECT_EQ(found("2.1.1.stdout"), users);
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

TEST_F(SpoolFileTest, InTwoFoldersIsBelievedOfNeither) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  (void)write_of(1001, "1.1.1.stdout");
  const std::string other = write_of(1002, "1.1.1.stdout");
  EXPECT_NE(found("1.1.1.stdout").find("cannot both be it"), std::string::npos);
  EXPECT_EQ(::lchown(other.c_str(), 1001, 0), 0);
  EXPECT_EQ(found("1.1.1.stdout"), folder_ + "/users/1001/1.1.1.stdout") << "the other is not its folder's";
}

}  // namespace
}  // namespace futured
