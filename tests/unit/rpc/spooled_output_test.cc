#include "daemon/rpc/spooled_output.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/limits.h"

namespace futured::rpc {
namespace {

constexpr Fence kFirst{JobId{1}, Epoch{1}, 1};

class SpooledOutput : public testing::Test {
 protected:
  SpooledOutput() {
    char name[] = "/tmp/futured-test-XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  ~SpooledOutput() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string path() const { return folder_ + "/1.1.1.emitted"; }
  [[nodiscard]] std::string read(std::uint64_t from, std::size_t bytes_max = 100) const {
    return spooled_output(folder_, {}, kFirst, 3, from, bytes_max);
  }

  std::string folder_;
};

TEST_F(SpooledOutput, IsReadFromAnyPlaceOnAndWithinABound) {
  std::ofstream(path()) << "0123456789";
  EXPECT_EQ(read(0), "0123456789");
  EXPECT_EQ(read(4, 3), "456");
  EXPECT_EQ(read(10), "");
  EXPECT_EQ(spooled_output(folder_, {}, kFirst, 1, 0, 100), "") << "another stream";
  EXPECT_EQ(spooled_output(folder_, {}, {JobId{1}, Epoch{1}, 2}, 3, 0, 100), "") << "another attempt";
  EXPECT_EQ(spooled_output(folder_, {}, kFirst, 5, 0, 100), "") << "no stream at all";
}

TEST_F(SpooledOutput, OfAFullFileOnlyTheHalfThatIsNeverWrittenOverIsRead) {
  constexpr std::uint64_t kHalf = limits::kOutputBytesMax / 2;
  std::ofstream(path()) << "begin";
  std::filesystem::resize_file(path(), limits::kOutputBytesMax - 1);
  EXPECT_EQ(read(kHalf).size(), 100u) << "it is not full yet";
  std::filesystem::resize_file(path(), limits::kOutputBytesMax);
  EXPECT_EQ(read(0, 5), "begin");
  EXPECT_EQ(read(kHalf - 10).size(), 10u);
  EXPECT_EQ(read(kHalf), "");
}

TEST_F(SpooledOutput, WhatAWorkerPutsInItsPlaceIsNotOpened) {
  const std::string secret = folder_ + "/secret";
  std::ofstream(secret) << "of the daemon";
  std::filesystem::create_symlink(secret, path());
  EXPECT_EQ(read(0), "");
  std::filesystem::remove(path());
  ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
  EXPECT_EQ(read(0), "") << "and it does not wait for a writer";
}

}  // namespace
}  // namespace futured::rpc
