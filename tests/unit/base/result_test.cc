#include "base/result.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

#include "base/fd.h"
#include "base/time.h"

namespace futured {
namespace {

Result<std::unique_ptr<int>> half(int number) {
  if (number % 2 != 0) return Error{ErrorCode::kInvalidArgument, "odd"};
  return std::make_unique<int>(number / 2);
}

TEST(Result, HoldsAValueOrAnError) {
  auto good = half(4);
  ASSERT_TRUE(good.ok());
  EXPECT_EQ(**good, 2);
  EXPECT_EQ(*std::move(good).value(), 2);
  const auto bad = half(3);
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, ErrorCode::kInvalidArgument);
}

TEST(Result, ErrorGainsContextFromInsideOut) {
  EXPECT_EQ(half(3).error().in("halving 3").in("turn").message, "turn: halving 3: odd");
}

TEST(Result, SystemErrorNamesCallAndReason) {
  const Error error = system_error("open /x", ENOENT);
  EXPECT_EQ(error.code, ErrorCode::kNotFound);
  EXPECT_EQ(error.message, "open /x: No such file or directory");
  EXPECT_EQ(system_error("write", ENOSPC).code, ErrorCode::kResourceExhausted);
}

TEST(ResultDeathTest, ValueOfAFailureIsABug) { EXPECT_DEATH((void)half(3).value(), "bug at"); }

TEST(Time, AddingNeverWrapsPastNever) {
  EXPECT_EQ(Instant::never() + Duration(1), Instant::never());
  EXPECT_EQ(Instant{5} + Duration(7), Instant{12});
  const Instant earlier = monotonic_now();
  EXPECT_LE(earlier, monotonic_now());
}

TEST(Fd, ClosesOnceAndMoves) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  Fd read_end(ends[0]);
  Fd moved(std::move(read_end));
  EXPECT_FALSE(read_end.is_open());
  EXPECT_EQ(moved.get(), ends[0]);
  Fd write_end(ends[1]);
  write_end.reset();
  char byte;
  EXPECT_EQ(read(moved.get(), &byte, 1), 0);
}

}  // namespace
}  // namespace futured
