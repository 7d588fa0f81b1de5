#include "daemon/rpc/uploaded_array.h"

#include <gtest/gtest.h>

#include <cstring>
#include <span>
#include <string>
#include <utility>

#include "base/limits.h"

namespace futured::rpc {
namespace {

api::UploadRequest of_bytes(std::uint64_t bytes) {
  api::UploadRequest first;
  first.set_bytes(bytes);
  return first;
}

UploadedArray array_of(const api::UploadRequest& first) {
  auto terms = UploadTerms::of(first);
  EXPECT_TRUE(terms.ok());
  auto array = UploadedArray::create(std::move(*terms));
  EXPECT_TRUE(array.ok());
  const auto is_allocated = array->allocate();
  EXPECT_TRUE(is_allocated.ok() && *is_allocated);
  return std::move(*array);
}

std::string content_of(const Segment& segment) {
  const auto mapping = map_segment(segment);
  EXPECT_TRUE(mapping.ok());
  return {reinterpret_cast<const char*>(mapping->bytes().data()), mapping->size()};
}

std::string frame_of(std::string_view text) {
  auto compressor = Compressor::make(1);
  EXPECT_TRUE(compressor.ok());
  const auto frame = compressor->compress(std::as_bytes(std::span(text)));
  EXPECT_TRUE(frame.ok());
  return {reinterpret_cast<const char*>(frame->data()), frame->size()};
}

std::string message_of(const Status& status) { return status.ok() ? "" : status.error().message; }

TEST(UploadTerms, AnArrayTakesJustTheBytesThatAreNamed) {
  api::UploadRequest first = of_bytes(16);
  first.mutable_array()->set_dtype("float64");
  first.mutable_array()->add_shape(2);
  const auto terms = UploadTerms::of(first);
  ASSERT_TRUE(terms.ok());
  EXPECT_EQ(terms->content_type, "application/x-futured-array; dtype=float64; shape=2");
  first.set_bytes(17);
  EXPECT_EQ(UploadTerms::of(first).error().code, ErrorCode::kInvalidArgument);
  first.mutable_array()->set_shape(0, -2);
  EXPECT_NE(UploadTerms::of(first).error().message.find("negative"), std::string::npos);
}

TEST(UploadTerms, WhatCannotBeKeptIsRefusedByName) {
  api::UploadRequest first = of_bytes(1);
  first.set_durable(true);
  EXPECT_TRUE(UploadTerms::of(first)->is_durable);
  first = of_bytes(1);
  first.set_compression(2);
  EXPECT_NE(UploadTerms::of(first).error().message.find("compression"), std::string::npos);
  first = of_bytes(1);
  first.set_digest("sha256:12");
  EXPECT_NE(UploadTerms::of(first).error().message.find("digest"), std::string::npos);
  EXPECT_FALSE(UploadTerms::of(of_bytes(limits::kSegmentBytesMax + 1)).ok());
}

TEST(UploadTerms, LaterMessagesCarryDataAlone) {
  api::UploadRequest later;
  later.set_data("x");
  EXPECT_TRUE(check_later(later).ok());
  later.set_bytes(1);
  EXPECT_FALSE(check_later(later).ok());
}

TEST(UploadedArray, PiecesBecomeOneSealedSegment) {
  UploadedArray array = array_of(of_bytes(5));
  ASSERT_TRUE(array.add("he").ok());
  ASSERT_TRUE(array.add("").ok());
  ASSERT_TRUE(array.add("llo").ok());
  const auto segment = std::move(array).finish();
  ASSERT_TRUE(segment.ok());
  EXPECT_TRUE(segment->immutable);
  EXPECT_EQ(content_of(*segment), "hello");
}

TEST(UploadedArray, TooMuchAndTooLittleAreRefused) {
  UploadedArray more = array_of(of_bytes(2));
  EXPECT_NE(message_of(more.add("abc")).find("more than"), std::string::npos);
  UploadedArray less = array_of(of_bytes(2));
  ASSERT_TRUE(less.add("a").ok());
  EXPECT_NE(std::move(less).finish().error().message.find("after 1 of 2"), std::string::npos);
  UploadedArray large = array_of(of_bytes(2 * limits::kPieceBytesMax));
  EXPECT_FALSE(large.add(std::string(limits::kPieceBytesMax + 1, 'x')).ok());
}

TEST(UploadedArray, FramesGiveWhatTheySayAndNoMore) {
  api::UploadRequest first = of_bytes(6);
  first.set_compression(1);
  UploadedArray array = array_of(first);
  ASSERT_TRUE(array.add(frame_of("abc")).ok());
  ASSERT_TRUE(array.add(frame_of("def")).ok());
  const auto segment = std::move(array).finish();
  ASSERT_TRUE(segment.ok());
  EXPECT_EQ(content_of(*segment), "abcdef");

  EXPECT_FALSE(array_of(first).add("no frame").ok());
  EXPECT_FALSE(array_of(first).add(frame_of("seven is too much")).ok());
  EXPECT_FALSE(array_of(first).add(frame_of("abc") + frame_of("def")).ok());
  std::string damaged = frame_of("abc");
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  EXPECT_FALSE(array_of(first).add(damaged).ok());
}

TEST(UploadedArray, AFrameThatGrowsBeyondAMessageIsRefused) {
  api::UploadRequest first = of_bytes(4 * limits::kPieceBytesMax);
  first.set_compression(1);
  EXPECT_FALSE(array_of(first).add(frame_of(std::string(2 * limits::kPieceBytesMax, '\0'))).ok());
}

TEST(UploadedArray, TheDigestIsChecked) {
  api::UploadRequest first = of_bytes(5);
  first.set_digest("sha256:" + Digest::of("hello").hex());
  UploadedArray right = array_of(first);
  ASSERT_TRUE(right.add("hel").ok());
  ASSERT_TRUE(right.add("lo").ok());
  EXPECT_TRUE(std::move(right).finish().ok());
  UploadedArray wrong = array_of(first);
  ASSERT_TRUE(wrong.add("hullo").ok());
  EXPECT_NE(std::move(wrong).finish().error().message.find(Digest::of("hullo").hex()), std::string::npos);
}

}  // namespace
}  // namespace futured::rpc
