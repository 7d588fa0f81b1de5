#include "worker/runtime/empty_directory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/fd.h"
#include "tests/unit/runtime/in_child.h"

namespace futured::runtime {
namespace {

class EmptyDirectoryTest : public ::testing::Test {
 protected:
  EmptyDirectoryTest() {
    folder_ = ::mkdtemp(pattern_);
    std::filesystem::create_directory(folder_ + "/work");
    std::ofstream(folder_ + "/outside") << "kept";
  }
  ~EmptyDirectoryTest() override { std::filesystem::remove_all(folder_); }

  // What is left: "" for nothing.
  std::string emptied() {
    const Fd work(::open((folder_ + "/work").c_str(), O_RDONLY | O_DIRECTORY));
    if (const Status done = empty_directory(work.get()); !done) return done.error().message;
    return std::filesystem::is_empty(folder_ + "/work") ? "" : "not empty";
  }

  char pattern_[32] = "/tmp/futured-empty-XXXXXX";
  std::string folder_;
};

TEST_F(EmptyDirectoryTest, AllKindsOfFilesGo) {
  const std::string work = folder_ + "/work";
  std::filesystem::create_directories(work + "/a/b/c");
  std::filesystem::create_directories(work + "/a/d");
  std::ofstream(work + "/a/b/c/file") << "x";
  std::ofstream(work + "/.hidden") << "x";
  std::ofstream(work + "/moved-1") << "a name that we use ourselves";
  std::filesystem::create_directories(work + "/moved-2/full");
  EXPECT_EQ(::mkfifo((work + "/a/fifo").c_str(), 0600), 0);
  EXPECT_EQ(emptied(), "");
}

TEST_F(EmptyDirectoryTest, WhatLinksPointToStays) {
  const std::string work = folder_ + "/work";
  std::filesystem::create_directory(folder_ + "/other");
  std::ofstream(folder_ + "/other/file") << "kept";
  std::filesystem::create_directory(work + "/inner");
  std::filesystem::create_directory_symlink(folder_ + "/other", work + "/link");
  std::filesystem::create_directory_symlink(folder_ + "/other", work + "/inner/link");
  std::filesystem::create_symlink(folder_ + "/outside", work + "/inner/file");
  EXPECT_EQ(emptied(), "");
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/other/file"));
  EXPECT_TRUE(std::filesystem::exists(folder_ + "/outside"));
}

TEST_F(EmptyDirectoryTest, ModesKeepNothingBack) {
  const std::string inner = folder_ + "/work/closed/inner/innermost";
  std::filesystem::create_directories(inner);
  std::ofstream(inner + "/file") << "x";
  for (const char* closed : {"/work/closed/inner/innermost", "/work/closed/inner", "/work/closed"}) {
    ::chmod((folder_ + closed).c_str(), 0000);
  }
  if (is_root()) {  // whom no mode stops
    ASSERT_EQ(::lchown((folder_ + "/work").c_str(), 65534, 65534), 0);
    for (const char* closed :
         {"/work/closed/inner/innermost/file", "/work/closed/inner/innermost", "/work/closed/inner", "/work/closed"}) {
      ASSERT_EQ(::lchown((folder_ + closed).c_str(), 65534, 65534), 0);
    }
    ::chmod(folder_.c_str(), 0711);
  }
  EXPECT_EQ(in_child([&] {
              if (is_root() && ::setresuid(65534, 65534, 65534) != 0) return std::string("no user");
              return emptied();
            }),
            "");
}

TEST_F(EmptyDirectoryTest, ATreeIsAsDeepAsItLikesAndTakesFewDescriptors) {
  constexpr int kDepth = 3000;
  Fd at(::open((folder_ + "/work").c_str(), O_RDONLY | O_DIRECTORY));
  for (int level = 0; level < kDepth; ++level) {
    ASSERT_EQ(::mkdirat(at.get(), "deeper", 0700), 0);
    at = Fd(::openat(at.get(), "deeper", O_RDONLY | O_DIRECTORY));
    ASSERT_TRUE(at.is_open());
  }
  at.reset();
  EXPECT_EQ(in_child([&] {
              const rlimit few{24, 24};
              ::setrlimit(RLIMIT_NOFILE, &few);
              return emptied();
            }),
            "");
}

}  // namespace
}  // namespace futured::runtime
