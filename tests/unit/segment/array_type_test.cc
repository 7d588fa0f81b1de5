#include "segment/array_type.h"

#include <gtest/gtest.h>

#include "base/limits.h"
#include "futured/array.h"

namespace futured {
namespace {

TEST(ArrayType, SurvivesItsContentType) {
  const ArrayType type{"float64", {1024, 768}};
  EXPECT_EQ(format_array_type(type), "application/x-futured-array; dtype=float64; shape=1024x768");
  const auto parsed = parse_array_type(format_array_type(type));
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(*parsed, type);
  EXPECT_EQ(*array_bytes(type), 1024u * 768 * 8);
}

TEST(ArrayType, SpacesAndOrderOfParametersDoNotMatter) {
  const auto parsed = parse_array_type("application/x-futured-array;shape=8388608 ;  dtype=float64");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(*parsed, (ArrayType{"float64", {8388608}}));
}

TEST(ArrayType, NoDimensionsMeansOneElement) {
  const auto parsed = parse_array_type(format_array_type({"int32", {}}));
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(*array_bytes(*parsed), 4u);
  EXPECT_EQ(*array_bytes({"int32", {5, 0, 7}}), 0u);
}

TEST(ArrayType, NonsenseIsRefused) {
  for (const char* bad : {
           "text/plain",
           "application/x-futured-arrayx; dtype=int8; shape=1",
           "application/x-futured-array",
           "application/x-futured-array; dtype=float64",
           "application/x-futured-array; shape=3",
           "application/x-futured-array; dtype=float63; shape=3",
           "application/x-futured-array; dtype=int8; shape=3x",
           "application/x-futured-array; dtype=int8; shape=x3",
           "application/x-futured-array; dtype=int8; shape=-1",
           "application/x-futured-array; dtype=int8; shape=3 4",
           "application/x-futured-array; dtype=int8; shape=1;x=2",
           "application/x-futured-array; dtype=int8; shape=99999999999999999999",
           "application/x-futured-array; dtype=int8; shape=4294967296x4294967296",
       }) {
    EXPECT_FALSE(parse_array_type(bad).ok()) << bad;
  }
  std::string deep = "application/x-futured-array; dtype=int8; shape=1";
  for (std::size_t i = 0; i < limits::kArrayDimensionsMax; ++i) deep += "x1";
  EXPECT_FALSE(parse_array_type(deep).ok());
}

TEST(ArrayType, RowsAreContiguous) {
  const auto slice = slice_rows({"float32", {10, 3}}, 2, 5);
  ASSERT_TRUE(slice.ok()) << slice.error().message;
  EXPECT_EQ(slice->type, (ArrayType{"float32", {3, 3}}));
  EXPECT_EQ(slice->begin, 2u * 3 * 4);
  EXPECT_EQ(slice->end, 5u * 3 * 4);
  EXPECT_TRUE(slice_rows({"float32", {10, 3}}, 10, 10).ok());
  EXPECT_FALSE(slice_rows({"float32", {10, 3}}, 5, 2).ok());
  EXPECT_FALSE(slice_rows({"float32", {10, 3}}, 0, 11).ok());
  EXPECT_FALSE(slice_rows({"float32", {}}, 0, 1).ok());
}

TEST(ArrayType, PublicNamesAreThoseThatAreKnown) {
  EXPECT_EQ(element_bytes(dtype_of<double>()), 8u);
  EXPECT_EQ(element_bytes(dtype_of<const float>()), 4u);
  EXPECT_EQ(element_bytes(dtype_of<std::int8_t>()), 1u);
  EXPECT_EQ(element_bytes(dtype_of<std::uint16_t>()), 2u);
  EXPECT_EQ(element_bytes(dtype_of<long long>()), 8u);
  EXPECT_EQ(element_bytes(dtype_of<bool>()), 1u);
  EXPECT_EQ(element_bytes(dtype_of<std::complex<double>>()), 16u);
}

TEST(Array, ChecksItsShapeAndSharesItsMemory) {
  auto whole = Array<double>::zeros({4, 2});
  whole[5] = 1.5;
  const Array<const double> view = whole;
  const auto rows = view.rows(2, 4);
  EXPECT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[1], 1.5);
  EXPECT_EQ(rows.data(), whole.data() + 4);
  EXPECT_THROW((void)view.rows(3, 5), std::out_of_range);
  EXPECT_THROW(Array<double>({}, {1}, nullptr), std::invalid_argument);
  EXPECT_TRUE(Array<double>().empty());
}

}  // namespace
}  // namespace futured
