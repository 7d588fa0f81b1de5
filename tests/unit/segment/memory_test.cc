#include "segment/memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "base/limits.h"

namespace futured {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(Segment, HoldsWhatWasWrittenAndCanNoLongerChange) {
  auto segment = make_segment("test", bytes_of("hello"));
  ASSERT_TRUE(segment.ok()) << segment.error().message;
  EXPECT_EQ(segment->size, 5u);
  EXPECT_TRUE(segment->immutable);
  auto mapping = map_segment(*segment);
  ASSERT_TRUE(mapping.ok()) << mapping.error().message;
  EXPECT_EQ(text_of(mapping->bytes()), "hello");

  const int fd = segment->descriptor.get();
  EXPECT_EQ(ftruncate(fd, 1), -1);
  EXPECT_EQ(ftruncate(fd, 100), -1);
  EXPECT_EQ(pwrite(fd, "x", 1, 0), -1);
  EXPECT_EQ(mmap(nullptr, 5, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), -1);
}

TEST(Segment, IsAllocatedUpFront) {
  auto writer = SegmentWriter::create("test", 1 << 20);
  ASSERT_TRUE(writer.ok());
  auto segment = std::move(*writer).seal();
  ASSERT_TRUE(segment.ok());
  struct stat status {};
  ASSERT_EQ(fstat(segment->descriptor.get(), &status), 0);
  EXPECT_GE(status.st_blocks * 512, 1 << 20);
}

TEST(Segment, IsAllocatedInSteps) {
  constexpr std::uint64_t kBytes = (std::uint64_t{64} << 20) + 1;
  auto writer = SegmentWriter::reserve("test", kBytes);
  ASSERT_TRUE(writer.ok()) << writer.error().message;
  struct stat status {};
  ASSERT_EQ(fstat(writer->descriptor(), &status), 0);
  EXPECT_EQ(status.st_blocks, 0);
  const auto first = writer->allocate();
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_FALSE(*first);
  const auto second = writer->allocate();
  ASSERT_TRUE(second.ok()) << second.error().message;
  EXPECT_TRUE(*second);
  ASSERT_EQ(fstat(writer->descriptor(), &status), 0);
  EXPECT_GE(static_cast<std::uint64_t>(status.st_blocks) * 512, kBytes);
  writer->bytes().back() = std::byte{7};
  const auto segment = std::move(*writer).seal();
  ASSERT_TRUE(segment.ok());
  EXPECT_TRUE(segment->immutable);
}

TEST(Segment, CanBeHandedOnBeforeItsWriterHasUnmappedIt) {
  auto writer = SegmentWriter::create("test", 4096);
  ASSERT_TRUE(writer.ok());
  std::memcpy(writer->bytes().data(), "hello", 6);
  auto begun = std::move(*writer).begin_seal();
  ASSERT_TRUE(begun.ok()) << begun.error().message;
  EXPECT_FALSE(begun->segment.immutable);
  const int fd = begun->segment.descriptor.get();
  EXPECT_EQ(ftruncate(fd, 1), -1);
  auto reader = map_segment(begun->segment);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ(text_of(reader->bytes().first(5)), "hello");
  begun->rest.finish();
  EXPECT_TRUE((fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE) != 0) << "who reads it does not keep it from being sealed";
  EXPECT_EQ(pwrite(fd, "x", 1, 0), -1);
  EXPECT_EQ(text_of(reader->bytes().first(5)), "hello");
}

TEST(Segment, IsSealedInSizeWhileSomebodyStillWrites) {
  Fd fd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(fd.get(), 4096), 0);
  void* kept = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  ASSERT_NE(kept, MAP_FAILED);
  ASSERT_EQ(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  auto segment = adopt_segment(std::move(fd));
  ASSERT_TRUE(segment.ok());
  EXPECT_FALSE(segment->immutable);
  auto mapping = map_segment(*segment);
  ASSERT_TRUE(mapping.ok());
  static_cast<char*>(kept)[7] = 'x';
  EXPECT_EQ(mapping->bytes()[7], std::byte{'x'});
  munmap(kept, 4096);
}

TEST(Segment, OfNothingIsFine) {
  auto segment = make_segment("test", {});
  ASSERT_TRUE(segment.ok()) << segment.error().message;
  EXPECT_EQ(segment->size, 0u);
  auto mapping = map_segment(*segment);
  ASSERT_TRUE(mapping.ok());
  EXPECT_EQ(mapping->size(), 0u);
}

TEST(Segment, WhatIsNotSealedIsRefused) {
  Fd open_memfd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_FALSE(adopt_segment(std::move(open_memfd)).ok());
  Fd shrinkable(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(fcntl(shrinkable.get(), F_ADD_SEALS, F_SEAL_GROW), 0);
  EXPECT_FALSE(adopt_segment(std::move(shrinkable)).ok());
  EXPECT_FALSE(adopt_segment(Fd(open("/etc/passwd", O_RDONLY | O_CLOEXEC))).ok());
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_FALSE(adopt_segment(Fd(ends[0])).ok());
  close(ends[1]);
  EXPECT_FALSE(adopt_segment(Fd()).ok());
}

TEST(Segment, OverTheBoundIsRefusedWithoutAllocating) {
  auto writer = SegmentWriter::create("test", limits::kSegmentBytesMax + 1);
  ASSERT_FALSE(writer.ok());
  EXPECT_EQ(writer.error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace futured
