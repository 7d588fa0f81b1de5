// Arrays in files, as they are named on the command line.
#include "client/cli/array_words.h"

#include <gtest/gtest.h>

#include "client/cli/cli.h"

namespace futured::cli {
namespace {

TEST(ArrayWords, RowsMayBeLeftOutAtEitherEnd) {
  EXPECT_EQ(parse_rows("10:20", "--slice"), (Rows{10, 20}));
  EXPECT_EQ(parse_rows(":20", "--slice"), (Rows{0, 20}));
  EXPECT_EQ(parse_rows("10:", "--slice"), (Rows{10, std::nullopt}));
  EXPECT_EQ(parse_rows(":", "--slice"), Rows());
  EXPECT_EQ(parse_rows("10:0", "--slice"), (Rows{10, 0}));
  for (const char* bad : {"", "10", "10:20:30", "-1:5", "1:-5", "a:b", "1 :2", "99999999999999999999:"}) {
    EXPECT_THROW(static_cast<void>(parse_rows(bad, "--slice")), UsageError) << bad;
  }
}

TEST(ArrayWords, BracketsBehindANameAreRows) {
  const ArrayWord slice = parse_array_word("a/x.npy[5:7]");
  EXPECT_EQ(slice.path, "a/x.npy");
  EXPECT_EQ(slice.rows, (Rows{5, 7}));
  const ArrayWord same_name = parse_array_word("x[1:2][:]");
  EXPECT_EQ(same_name.path, "x[1:2]");
  EXPECT_EQ(same_name.rows, Rows());
  for (const char* name : {"x.npy", "x[5]", "x[]", "[x]", "x]", "x[1:2].npy", ""}) {
    EXPECT_EQ(parse_array_word(name).path, name);
    EXPECT_EQ(parse_array_word(name).rows, Rows());
  }
}

TEST(ArrayWords, CompressionIsALevelOrNone) {
  EXPECT_EQ(parse_compression("none"), 0);
  EXPECT_EQ(parse_compression("1"), 1);
  EXPECT_EQ(parse_compression("22"), 22);
  for (const char* bad : {"", "0", "23", "-3", "fast", "3x"}) {
    EXPECT_THROW(static_cast<void>(parse_compression(bad)), UsageError) << bad;
  }
}

TEST(ArrayWords, ShapesAreWrittenAsInContentTypes) {
  EXPECT_EQ(shape_text({1024, 768}), "1024x768");
  EXPECT_EQ(shape_text({0}), "0");
  EXPECT_EQ(shape_text({}), "one element");
}

}  // namespace
}  // namespace futured::cli
