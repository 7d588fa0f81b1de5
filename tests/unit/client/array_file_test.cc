// dump and load: what a caller is given, and what it is told. The bytes of files are tests/unit/segment's.
#include "futured/array_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <numeric>

#include "futured/errors.h"

namespace futured::client {
namespace {

class ArrayFileTest : public ::testing::Test {
 protected:
  ArrayFileTest() { folder_ = ::mkdtemp(pattern_); }
  ~ArrayFileTest() override { std::filesystem::remove_all(folder_); }

  std::string path(const std::string& name = "a.fut") const { return folder_ + "/" + name; }
  static Array<double> counted(std::uint64_t rows, std::uint64_t columns) {
    const auto array = Array<double>::zeros({rows, columns});
    std::iota(array.begin(), array.end(), 0.0);
    return array;
  }

  char pattern_[32] = "/tmp/futured-dump-XXXXXX";
  std::string folder_;
};

ErrorKind kind_of_failure(const auto& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::kInternal;
}

TEST_F(ArrayFileTest, GivesBackWhatWasDumped) {
  const Array<double> array = counted(1000, 300);
  for (const auto& [name, compression, format] : {std::tuple("a.fut", 3, ArrayFile::Format::kCompressed),
                                                  {"a.fut", 0, ArrayFile::Format::kPlain},
                                                  {"a.npy", 3, ArrayFile::Format::kNumpy}}) {
    dump(path(name), array, {.compression = compression});
    const ArrayFile file(path(name));
    EXPECT_EQ(file.format(), format);
    EXPECT_EQ(file.dtype(), "float64");
    EXPECT_EQ(file.shape(), (std::vector<std::uint64_t>{1000, 300}));
    EXPECT_EQ(file.bytes(), 2'400'000u);
    EXPECT_EQ(file.file_bytes(), std::filesystem::file_size(path(name)));
    file.check();
    const Array<const double> all = load(path(name)).array<double>();
    EXPECT_TRUE(std::ranges::equal(all, array));
    const MappedBytes rows = file.load(100, 200);
    EXPECT_EQ(rows.content_type(), "application/x-futured-array; dtype=float64; shape=100x300");
    EXPECT_TRUE(std::ranges::equal(rows.array<double>(), array.rows(100, 200)));
    EXPECT_TRUE(std::ranges::equal(file.load(999).array<double>(), array.rows(999, 1000)));
    EXPECT_EQ(file.load(1000).bytes().size(), 0u);
  }
}

TEST_F(ArrayFileTest, OutlivesTheNameOfItsFile) {
  dump(path(), counted(10, 10), {.compression = 0});
  const MappedBytes before = load(path());
  dump(path(), counted(1, 1), {.compression = 0});
  EXPECT_EQ(before.array<double>().size(), 100u);
  EXPECT_EQ(before.array<double>()[99], 99);
  EXPECT_EQ(load(path()).array<double>().size(), 1u);
}

TEST_F(ArrayFileTest, StoresBytesThatAreNoArrayToo) {
  dump(path(), MappedBytes(std::as_bytes(std::span("text")).first(4), nullptr, "text/plain", "", {}));
  const MappedBytes loaded = load(path());
  EXPECT_EQ(loaded.dtype(), "uint8");
  EXPECT_EQ(loaded.array<std::uint8_t>().size(), 4u);
  EXPECT_EQ(loaded.array<std::uint8_t>()[0], 't');
}

TEST_F(ArrayFileTest, OfNoDimensionIsOnlyThereAsAWhole) {
  const double value = 3;
  dump(path(), std::as_bytes(std::span(&value, 1)), "float64", {});
  EXPECT_EQ(load(path()).array<double>()[0], 3);
  EXPECT_EQ(kind_of_failure([&] { static_cast<void>(load(path(), 0, 1)); }), ErrorKind::kInvalidArgument);
}

TEST_F(ArrayFileTest, SaysWhatIsWrong) {
  EXPECT_EQ(kind_of_failure([&] { static_cast<void>(load(path("none"))); }), ErrorKind::kNotFound);
  EXPECT_EQ(kind_of_failure([&] { dump(path(), {}, "float63", {0}); }), ErrorKind::kInvalidArgument);
  EXPECT_EQ(kind_of_failure([&] { dump(path(), counted(1, 1), {.compression = 23}); }), ErrorKind::kInvalidArgument);
  dump(path(), counted(10, 10));
  EXPECT_EQ(kind_of_failure([&] { static_cast<void>(load(path(), 5, 11)); }), ErrorKind::kInvalidArgument);
  EXPECT_THROW(static_cast<void>(load(path()).array<float>()), std::invalid_argument);
  std::filesystem::resize_file(path(), std::filesystem::file_size(path()) - 1);
  EXPECT_EQ(kind_of_failure([&] { static_cast<void>(load(path())); }), ErrorKind::kDataLoss);
}

}  // namespace
}  // namespace futured::client
