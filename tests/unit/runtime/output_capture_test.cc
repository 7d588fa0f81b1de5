#include "worker/runtime/output_capture.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

namespace futured::runtime {
namespace {

struct Directory {
  Directory() {
    std::string pattern = "/tmp/futured-capture-XXXXXX";
    path = ::mkdtemp(pattern.data());
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string path;
};

std::string content_of(const std::string& path) {
  std::ostringstream all;
  all << std::ifstream(path).rdbuf();
  return all.str();
}

std::string sequence(std::size_t size) {
  std::string bytes(size, ' ');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>('a' + i % 26);
  return bytes;
}

TEST(OutputCapture, ShortOutputStaysInMemory) {
  Directory directory;
  OutputCapture capture(directory.path + "/x", {});
  capture.append("hello ");
  capture.append("world");
  capture.finish();
  EXPECT_EQ(capture.memory(), "hello world");
  EXPECT_EQ(capture.dropped(), 0u);
  EXPECT_FALSE(capture.is_spooled());
  EXPECT_TRUE(std::filesystem::is_empty(directory.path));
}

TEST(OutputCapture, LongOutputGoesToItsFile) {
  Directory directory;
  OutputCapture capture(directory.path + "/x", {.kept_bytes_max = 1000, .memory_bytes_max = 10});
  capture.append("hello ");
  capture.append("world, this is long");
  capture.finish();
  EXPECT_TRUE(capture.is_spooled());
  EXPECT_TRUE(capture.memory().empty());
  EXPECT_EQ(content_of(directory.path + "/x"), "hello world, this is long");
  EXPECT_EQ(capture.tail(4), "long");
  EXPECT_TRUE(capture.fault().empty());
}

// Against a model that keeps everything, for many sizes of pieces, in memory and in a file.
TEST(OutputCapture, KeepsHeadAndTailAndSaysWhatItDropped) {
  Directory directory;
  for (const unsigned seed : {1u, 2u, 3u, 4u, 5u, 6u}) {
    std::mt19937 random(seed);
    for (const std::size_t total : {0, 1, 49, 50, 51, 99, 100, 101, 149, 150, 151, 333, 1000}) {
      for (const bool in_file : {false, true}) {
        OutputCapture capture(in_file ? directory.path + "/x" : "", {.kept_bytes_max = 100, .memory_bytes_max = 20});
        const std::string all = sequence(total);
        for (std::size_t at = 0; at < total;) {
          const std::size_t size = std::min<std::size_t>(total - at, 1 + random() % 120);
          capture.append(std::string_view(all).substr(at, size));
          at += size;
        }
        capture.finish();
        const std::string kept =
            capture.is_spooled() ? content_of(directory.path + "/x") : std::string(capture.memory());
        const std::string expected = total <= 100 ? all : all.substr(0, 50) + all.substr(total - 50);
        EXPECT_EQ(kept, expected) << "seed " << seed << " total " << total;
        EXPECT_EQ(capture.total(), total);
        EXPECT_EQ(capture.dropped(), total <= 100 ? 0 : total - 100);
        EXPECT_EQ(capture.dropped_at(), std::min<std::size_t>(total, 50));
        EXPECT_EQ(capture.tail(30), expected.substr(expected.size() - std::min<std::size_t>(30, expected.size())));
      }
    }
  }
}

TEST(OutputCapture, AFileThatCannotBeMadeDropsAndSaysSo) {
  OutputCapture capture("/nonexistent/directory/x", {.kept_bytes_max = 100, .memory_bytes_max = 10});
  capture.append("12345");
  capture.append("1234567890");
  capture.append("more");
  capture.finish();
  EXPECT_EQ(capture.memory(), "1234512345") << "as far as memory goes";
  EXPECT_EQ(capture.total(), 19u);
  EXPECT_EQ(capture.dropped(), 9u);
  EXPECT_EQ(capture.dropped_at(), 10u);
  EXPECT_NE(capture.fault().find("/nonexistent"), std::string::npos);
}

TEST(OutputCapture, AFullDiskDropsAndSaysSo) {
  // /dev/full refuses every write as a full disk does; the spool refuses links, so the device itself is named.
  OutputCapture capture("/dev/full", {.kept_bytes_max = 100, .memory_bytes_max = 10});
  capture.append("12345678901234567890");
  capture.finish();
  EXPECT_EQ(capture.total(), 20u);
  EXPECT_EQ(capture.dropped(), 20u);
  EXPECT_NE(capture.fault().find("No space left"), std::string::npos) << capture.fault();
  EXPECT_FALSE(capture.is_spooled());
}

TEST(OutputCapture, AFileThatCannotBeMadeDurableIsNotNamed) {
  // /dev/null takes every write and gives nothing back; it can be neither cut nor synced.
  OutputCapture capture("/dev/null", {.kept_bytes_max = 100'000, .memory_bytes_max = 10});
  capture.append(sequence(20'000));
  capture.finish();
  EXPECT_FALSE(capture.is_spooled());
  EXPECT_EQ(capture.memory(), "");
  EXPECT_EQ(capture.dropped(), 20'000u);
  EXPECT_NE(capture.fault().find("/dev/null"), std::string::npos) << capture.fault();
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST(OutputCapture, TheEndOfAFileThatCannotBeMadeDurableIsKept) {
  // /dev/zero likewise, but it can be read: with and without a gap in what was kept.
  for (const std::size_t total : {20'000u, 200'000u}) {
    OutputCapture capture("/dev/zero", {.kept_bytes_max = 100'000, .memory_bytes_max = 10});
    capture.append(sequence(total));
    capture.finish();
    EXPECT_FALSE(capture.is_spooled());
    EXPECT_EQ(capture.memory().size(), limits::kOutputTailBytes);
    EXPECT_EQ(capture.tail(limits::kOutputTailBytes), capture.memory());
    EXPECT_EQ(capture.total(), total);
    EXPECT_EQ(capture.dropped(), total - limits::kOutputTailBytes);
    EXPECT_EQ(capture.dropped_at(), 0u);
    EXPECT_FALSE(capture.fault().empty());
  }
}

}  // namespace
}  // namespace futured::runtime
