// Arrays in files: what was written is read, whole or in slices, and no damage passes for an array.
#include "segment/array_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "base/hash.h"
#include "base/limits.h"

namespace futured {
namespace {

using Bytes = std::vector<std::byte>;

// Compresses to about a third: as numbers that are measured do.
Bytes plausible(std::size_t size) {
  Bytes bytes(size);
  std::mt19937_64 random(7);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i % 8 < 2 ? random() & 0xff : i % 8);
  return bytes;
}

Bytes incompressible(std::size_t size) {
  Bytes bytes(size);
  std::mt19937_64 random(7);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 0xff);
  return bytes;
}

class ArrayFileTest : public ::testing::Test {
 protected:
  ArrayFileTest() { folder_ = ::mkdtemp(pattern_); }
  ~ArrayFileTest() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name = "a.fut") const { return folder_ + "/" + name; }
  std::string write(const ArrayType& type, const Bytes& bytes, int level, const std::string& name = "a.fut") {
    const Status wrote = write_array_file(path(name), type, bytes, level);
    EXPECT_TRUE(wrote.ok()) << wrote.error().message;
    return path(name);
  }
  static std::string content_of(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path, std::ios::binary).rdbuf();
    return text.str();
  }
  std::string store(const std::string& content, const std::string& name = "a.fut") const {
    std::ofstream(path(name), std::ios::binary | std::ios::trunc) << content;
    return path(name);
  }
  static ArrayFile opened(const std::string& path) {
    auto file = ArrayFile::open(path);
    EXPECT_TRUE(file.ok()) << (file.ok() ? "" : file.error().message);
    return *std::move(file);
  }
  // What is said of a file; "" = it is sound.
  static std::string fault_of(const std::string& path) {
    const auto file = ArrayFile::open(path);
    if (!file.ok()) return file.error().message;
    const Status checked = file->check();
    return checked.ok() ? "" : checked.error().message;
  }
  static Bytes read(const ArrayFile& file, std::uint64_t begin, std::uint64_t end) {
    Bytes bytes(end - begin);
    const Status done = file.read(begin, bytes);
    EXPECT_TRUE(done.ok()) << done.error().message;
    return bytes;
  }

  char pattern_[32] = "/tmp/futured-array-XXXXXX";
  std::string folder_;
};

TEST_F(ArrayFileTest, EveryDtypeComesBackFromEveryForm) {
  for (const char* dtype : {"float64", "float32", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8",
                            "uint16", "uint32", "uint64", "bool", "complex64", "complex128"}) {
    const ArrayType type{dtype, {3, 5, 7}};
    const Bytes bytes = plausible(3 * 5 * 7 * element_bytes(dtype));
    for (const auto& [name, level] : {std::pair("a.fut", 0), {"a.fut", 3}, {"a.npy", 3}}) {
      if (type.dtype == "bfloat16" && std::string(name) == "a.npy") continue;
      const ArrayFile file = opened(write(type, bytes, level, name));
      EXPECT_EQ(file.type(), type);
      EXPECT_EQ(file.bytes(), bytes.size());
      EXPECT_EQ(read(file, 0, bytes.size()), bytes) << dtype << " " << name << " " << level;
      EXPECT_TRUE(file.check().ok());
    }
  }
}

TEST_F(ArrayFileTest, OfNoDimensionOrNoElementsIsAnArrayToo) {
  for (const ArrayType& type : {ArrayType{"float64", {}}, ArrayType{"int32", {0}}, ArrayType{"int32", {4, 0, 2}},
                                ArrayType{"uint8", std::vector<std::uint64_t>(limits::kArrayDimensionsMax, 1)}}) {
    const Bytes bytes(*array_bytes(type));
    for (const auto& [name, level] : {std::pair("a.fut", 0), {"a.fut", 3}, {"a.npy", 0}}) {
      const ArrayFile file = opened(write(type, bytes, level, name));
      EXPECT_EQ(file.type(), type);
      EXPECT_EQ(read(file, 0, bytes.size()), bytes);
      EXPECT_TRUE(file.check().ok());
      if (!file.is_mappable()) continue;
      EXPECT_EQ(file.map(0, bytes.size())->bytes.size(), bytes.size());
    }
  }
}

TEST_F(ArrayFileTest, SlicesAcrossBlocksAreWhatWasWritten) {
  const std::size_t size = 3 * 1024 * 1024 + 12'345;
  const Bytes bytes = plausible(size);
  const std::size_t block = 1024 * 1024;
  for (const auto& [name, level] : {std::pair("a.fut", 0), {"a.fut", 1}, {"a.npy", 0}}) {
    const ArrayFile file = opened(write({"uint8", {size}}, bytes, level, name));
    EXPECT_EQ(file.form() == ArrayForm::kCompressed, level == 1);
    for (const std::uint64_t begin :
         {std::size_t{0}, std::size_t{1}, block - 1, block, 2 * block + 77, 3 * block, size}) {
      for (const std::uint64_t end : {std::size_t{1}, block - 1, block, block + 1, 3 * block, size}) {
        if (end < begin) continue;
        const Bytes wanted(bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                           bytes.begin() + static_cast<std::ptrdiff_t>(end));
        EXPECT_EQ(read(file, begin, end), wanted) << begin << " to " << end;
        if (!file.is_mappable()) continue;
        const auto mapped = file.map(begin, end);
        ASSERT_TRUE(mapped.ok()) << mapped.error().message;
        EXPECT_TRUE(std::ranges::equal(mapped->bytes, wanted)) << begin << " to " << end;
      }
    }
  }
}

TEST_F(ArrayFileTest, ASliceReadsOnlyItsBlocks) {
  const std::size_t block = 1024 * 1024;
  const Bytes bytes = plausible(4 * block);
  std::string content = content_of(write({"uint8", {bytes.size()}}, bytes, 3));
  content[kArrayHeaderBytes + 20] ^= 1;  // of the first block
  const ArrayFile file = opened(store(content));
  EXPECT_EQ(read(file, block, 4 * block).size(), 3 * block);
  Bytes first(1);
  const Status damaged = file.read(block - 1, first);
  ASSERT_FALSE(damaged.ok());
  EXPECT_EQ(damaged.error().code, ErrorCode::kDataLoss);
  EXPECT_NE(damaged.error().message.find("a.fut: its block 0 is damaged"), std::string::npos);
}

TEST_F(ArrayFileTest, AMappedSliceTakesItsPagesAlone) {
  const Bytes bytes = plausible(1 << 20);
  const ArrayFile file = opened(write({"float64", {bytes.size() / 8}}, bytes, 0));
  const auto mapped = file.map(64 * 4096, 65 * 4096);
  ASSERT_TRUE(mapped.ok());
  EXPECT_EQ(mapped->pages.size(), 4096u) << "the data begins on a page";
  EXPECT_EQ(file.file_bytes(), kArrayPageBytes + bytes.size());
}

TEST_F(ArrayFileTest, IsCompressedWhereThatPays) {
  const Bytes good = plausible(2 << 20);
  const ArrayFile small = opened(write({"uint8", {good.size()}}, good, 3, "good"));
  EXPECT_EQ(small.form(), ArrayForm::kCompressed);
  EXPECT_LT(small.file_bytes(), good.size() / 2);
  const Bytes bad = incompressible(2 << 20);
  const ArrayFile large = opened(write({"uint8", {bad.size()}}, bad, 3, "bad"));
  EXPECT_EQ(large.form(), ArrayForm::kPlain) << "it can be mapped, and costs no time";
  EXPECT_EQ(read(large, 0, bad.size()), bad);
  // Zeros that a sample from the front alone would be taken in by.
  Bytes mixed = incompressible(8 << 20);
  std::fill(mixed.begin(), mixed.begin() + (1 << 19), std::byte{0});
  const ArrayFile plain = opened(write({"uint8", {mixed.size()}}, mixed, 3, "mixed"));
  EXPECT_EQ(plain.form(), ArrayForm::kPlain);
}

TEST_F(ArrayFileTest, EveryDamagedByteIsFoundAndNamed) {
  const Bytes bytes = plausible(100'000);
  for (const int level : {0, 3}) {
    const std::string sound = content_of(write({"uint8", {bytes.size()}}, bytes, level));
    ASSERT_EQ(fault_of(path()), "");
    for (std::size_t at = 0; at < sound.size(); at += at < 600 ? 1 : 997) {
      // The rest of a plain file's first page is nobody's.
      if (level == 0 && at >= kArrayHeaderBytes && at < kArrayPageBytes) continue;
      if (level == 3 && at == kArrayHeaderBytes + 4) continue;  // a bit that means nothing in a frame
      std::string damaged = sound;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
      const std::string fault = fault_of(store(damaged));
      EXPECT_TRUE(fault.starts_with(path() + ": ")) << "level " << level << ", byte " << at << ": " << fault;
    }
  }
}

TEST_F(ArrayFileTest, CutAnywhereOrGrownItIsRefused) {
  const Bytes bytes = plausible(100'000);
  for (const int level : {0, 3}) {
    const std::string sound = content_of(write({"uint8", {bytes.size()}}, bytes, level));
    for (std::size_t size = 0; size < sound.size(); size += size < 600 ? 7 : 1009) {
      const std::string fault = fault_of(store(sound.substr(0, size)));
      EXPECT_TRUE(fault.starts_with(path() + ": it ")) << size << ": " << fault;
    }
    EXPECT_NE(fault_of(store(sound + "x")).find("1 bytes more"), std::string::npos);
  }
}

// A header that somebody made on purpose: its checksum is right.
std::string forged(std::string content, std::size_t at, std::uint64_t value, std::size_t size = 8) {
  std::memcpy(content.data() + at, &value, size);
  const std::uint64_t hash = stable_hash(std::string_view(content).substr(0, kArrayHeaderBytes - 8));
  std::memcpy(content.data() + kArrayHeaderBytes - 8, &hash, sizeof hash);
  return content;
}

TEST_F(ArrayFileTest, SizesThatLieAreRefused) {
  const Bytes bytes = plausible(3 << 20);
  for (const int level : {0, 3}) {
    const std::string sound = content_of(write({"uint8", {bytes.size()}}, bytes, level));
    // Flags, dimensions, where the data begins, its sizes, blocks, shape.
    for (const std::size_t at : {16u, 24u, 32u, 48u, 72u}) {
      for (const std::uint64_t value :
           {0ull, 1ull, 4095ull, 4096ull, 1ull << 36, 1ull << 40, 1ull << 63, ~0ull, ~0ull - 4096}) {
        const std::string fault = fault_of(store(forged(sound, at, value)));
        if (content_of(path()) == sound) continue;
        EXPECT_TRUE(fault.starts_with(path() + ": ")) << "level " << level << ", " << at << " = " << value;
      }
    }
    for (const std::uint64_t dimensions : {0ull, 2ull, 33ull, ~0ull}) {
      EXPECT_NE(fault_of(store(forged(sound, 12, dimensions, 4))), "") << dimensions;
    }
    EXPECT_NE(fault_of(store(forged(sound, 10, 2, 2))), "") << "a flag that nobody knows";
    EXPECT_NE(fault_of(store(forged(sound, 56, 0x3436666f6f6cull))), "") << "a dtype that nobody knows";
  }
}

TEST_F(ArrayFileTest, AnIndexThatLiesIsRefused) {
  const Bytes bytes = plausible(3 << 20);
  const std::string sound = content_of(write({"uint8", {bytes.size()}}, bytes, 3));
  const std::size_t index = sound.size() - 4 * 8;
  for (const std::uint64_t end : {0ull, 1ull << 20, 1ull << 40, ~0ull}) {
    std::string content = sound;
    std::memcpy(content.data() + index + 8, &end, sizeof end);
    const std::uint64_t hash = stable_hash(std::string_view(content).substr(index, 3 * 8));
    std::memcpy(content.data() + index + 24, &hash, sizeof hash);
    const std::string fault = fault_of(store(content));
    EXPECT_TRUE(fault.starts_with(path() + ": its ")) << end << ": " << fault;
  }
}

TEST_F(ArrayFileTest, ANewerVersionSaysSo) {
  const std::string sound = content_of(write({"uint8", {3}}, Bytes(3), 0));
  std::string newer = sound;
  newer[8] = 2;
  newer[500] = 77;  // it may have its checksum elsewhere
  const auto file = ArrayFile::open(store(newer));
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().code, ErrorCode::kUnimplemented);
  EXPECT_NE(file.error().message.find("version 2"), std::string::npos);
  EXPECT_NE(file.error().message.find("newer futured"), std::string::npos);
}

TEST_F(ArrayFileTest, WhatIsNoArrayIsRefused) {
  EXPECT_NE(fault_of(store("")).find("it is no array"), std::string::npos);
  EXPECT_NE(fault_of(store(std::string(5000, 'x'))).find("it is no array"), std::string::npos);
  EXPECT_NE(fault_of(path("none")).find("No such file"), std::string::npos);
  EXPECT_NE(fault_of(folder_).find("no regular file"), std::string::npos);
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_NE(fault_of(path("pipe")).find("no regular file"), std::string::npos);
}

TEST_F(ArrayFileTest, WhatCannotBeWrittenLeavesTheOldFile) {
  const std::string before = content_of(write({"uint8", {3}}, Bytes(3), 0));
  EXPECT_FALSE(write_array_file(path(), {"uint8", {4}}, Bytes(3), 0).ok());
  EXPECT_FALSE(write_array_file(path(), {"float63", {4}}, Bytes(32), 0).ok());
  EXPECT_FALSE(write_array_file(path(), {"uint8", {3}}, Bytes(3), 23).ok());
  EXPECT_FALSE(write_array_file(path(), {"uint8", {3}}, Bytes(3), -1).ok());
  EXPECT_FALSE(write_array_file(path("b.npy"), {"bfloat16", {1}}, Bytes(2), 0).ok());
  const auto old_signal = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  ::getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{100'000, limit.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  const Status wrote = write_array_file(path(), {"uint8", {1 << 20}}, Bytes(1 << 20), 0);
  ::setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, old_signal);
  EXPECT_FALSE(wrote.ok());
  EXPECT_EQ(content_of(path()), before);
  const std::filesystem::directory_iterator files(folder_);
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

// ---- NumPy

std::string npy(const std::string& dict, const std::string& data, char version = 1) {
  std::string text = "\x93NUMPY";
  text += version;
  text += '\0';
  const auto size = static_cast<std::uint32_t>(dict.size());
  text.append(reinterpret_cast<const char*>(&size), version == 1 ? 2 : 4);
  return text + dict + data;
}

TEST_F(ArrayFileTest, NumpysFilesAreReadAsTheyAreWrittenByIt) {
  const std::string header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }";
  for (const std::string& content :
       {npy(header + std::string(58, ' ') + "\n", std::string(24, 'x')), npy(header + "\n", std::string(24, 'x'), 2),
        npy("{\"shape\":(2L,3L),\"fortran_order\":False,\"descr\":\"<i4\"}", std::string(24, 'x')),
        npy(header, std::string(24, 'x') + "and what somebody appended")}) {
    const ArrayFile file = opened(store(content, "a.npy"));
    EXPECT_EQ(file.type(), (ArrayType{"int32", {2, 3}}));
    EXPECT_EQ(file.form(), ArrayForm::kNumpy);
    EXPECT_EQ(read(file, 0, 24), Bytes(24, std::byte{'x'}));
  }
  const ArrayFile file = opened(
      store(npy("{'descr': '|b1', 'fortran_order': True, 'shape': (3,), }\n", std::string("\1\0\1", 3)), "a.npy"));
  EXPECT_EQ(file.type(), (ArrayType{"bool", {3}}));
}

TEST_F(ArrayFileTest, WhatNumpyReadsIsWritten) {
  const std::string content = content_of(write({"float64", {2, 1}}, Bytes(16), 3, "a.npy"));
  EXPECT_EQ(content.substr(0, 10), std::string("\x93NUMPY\1\0\x76\0", 10));
  EXPECT_TRUE(content.substr(10).starts_with("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 1), }  "));
  EXPECT_EQ(content[127], '\n');
  EXPECT_EQ(content.size(), 128u + 16);
  EXPECT_NE(
      content_of(write({"int8", {5}}, Bytes(5), 0, "b.npy")).find("'|i1', 'fortran_order': False, 'shape': (5,), }"),
      std::string::npos);
}

TEST_F(ArrayFileTest, ElementsThatLieAskewAreReadAndNotMapped) {
  const ArrayFile file =
      opened(store(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", "12345678"), "a.npy"));
  EXPECT_FALSE(file.is_mappable());
  EXPECT_EQ(read(file, 0, 8).front(), std::byte{'1'});
}

TEST_F(ArrayFileTest, NumpysFilesThatAreNoSuchArrayAreRefusedWithAWayOut) {
  const std::string data(48, '\0');
  const auto dict = [](const std::string& descr, const std::string& order, const std::string& shape) {
    return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
  };
  const std::pair<std::string, std::string> refused[] = {
      {npy(dict("'<f8'", "True", "(2, 3)"), data), "Fortran order: save it in NumPy with numpy.ascontiguousarray"},
      {npy(dict("'>f8'", "False", "(2, 3)"), data), "big end first"},
      {npy(dict("'|O'", "False", "(2, 3)"), data), "'|O'"},
      {npy(dict("'<U8'", "False", "(2, 3)"), data), "'<U8'"},
      {npy(dict("''", "False", "(2, 3)"), data), "''"},
      {npy(dict("[('a', '<f8')]", "False", "(2, 3)"), data), "records"},
      {npy(dict("'<f8'", "False", "(2, 4)"), data), "cut short"},
      {npy(dict("'<f8'", "False", "(4294967296, 4294967296)"), data), "larger than"},
      {npy(dict("'<f8'", "False", "(99999999999999999999,)"), data), "header is wrong"},
      {npy(dict("'<f8'", "False", "(-1,)"), data), "header is wrong"},
      {npy(dict("'<f8'", "False", "3"), data), "header is wrong"},
      {npy(dict("'<f8'", "0", "(3,)"), data), "header is wrong"},
      {npy(dict("'<f8'", "False", "(2, 3"), data), "header is wrong"},
      {npy("{'descr': '<f8', 'shape': (3,), }", data), "header is wrong"},
      {npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3,),", data), "header is wrong"},
      {npy(dict("'<f8'", "False", "(3,)") + "x", data), "header is wrong"},
      {npy(dict("'<f8'", "False", "(3,)"), data, 3), "format 3"},
      {npy(dict("'<f8'", "False", "(3,)"), data).substr(0, 40), "ends within its header"},
      {npy(dict("'<f8'", "False", "(3,)"), data).substr(0, 8), "ends within its header"},
  };
  for (const auto& [content, word] : refused) {
    const std::string fault = fault_of(store(content, "a.npy"));
    EXPECT_TRUE(fault.starts_with(path("a.npy") + ": ")) << fault;
    EXPECT_NE(fault.find(word), std::string::npos) << fault << "\nand not: " << word;
  }
}

TEST_F(ArrayFileTest, NoBytesMakeItCrash) {
  std::mt19937_64 random(20'251);
  const Bytes bytes = plausible(70'000);
  const std::string sound[] = {content_of(write({"uint8", {bytes.size()}}, bytes, 3)),
                               content_of(write({"uint8", {bytes.size()}}, bytes, 0, "a.npy"))};
  for (int round = 0; round < 2'000; ++round) {
    std::string content = sound[round % 2].substr(0, random() % 3 == 0 ? random() % 1000 : std::string::npos);
    for (std::uint64_t i = random() % 8; i > 0 && !content.empty(); --i) {
      content[random() % std::min<std::size_t>(content.size(), 1000)] = static_cast<char>(random());
    }
    if (content.size() >= kArrayHeaderBytes && random() % 2 == 0) content = forged(content, 500, random() % 4, 4);
    static_cast<void>(fault_of(store(content)));
  }
}

}  // namespace
}  // namespace futured
