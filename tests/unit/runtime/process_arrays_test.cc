// Arrays and large results on their way through a worker of mode process.
#include "tests/unit/runtime/process_worker.h"

namespace futured::runtime {
namespace {

class ProcessArraysTest : public ProcessWorkerTest {};

Segment doubles(std::size_t count) {
  auto writer = SegmentWriter::create("test", count * sizeof(double));
  for (std::size_t i = 0; i < count; ++i) reinterpret_cast<double*>(writer->bytes().data())[i] = static_cast<double>(i);
  return std::move(*std::move(*writer).seal());
}

std::string segment_part(std::uint64_t id, const ArraySlice& slice) {
  std::string encoded;
  const std::string type = format_array_type(slice.type);
  append_part(encoded, {.kind = PartKind::kSegment,
                        .content_type = type,
                        .segment = SegmentId{id},
                        .begin = slice.begin,
                        .end = slice.end});
  return encoded;
}

TEST_F(ProcessArraysTest, AnArrayIsMappedOnceForAllJobsOnIt) {
  constexpr std::size_t kCount = 100'000;
  const Segment segment = doubles(kCount);
  const std::string payload = segment_part(9, {{"float64", {kCount}}, 0, kCount * 8});
  std::vector<const double*> seen;
  const std::vector<sdk::RegisteredTask> tasks{task("look", [&](Array<const double> values) {
    seen.push_back(values.data());
    return values[kCount - 1];
  })};
  ProcessWorker worker(worker_end_, tasks);
  for (int i = 0; i < 3; ++i) {
    offer(payload, {segment.descriptor.get()});
    work(worker);
    EXPECT_EQ(first_part(read()), std::to_string(kCount - 1));
  }
  EXPECT_EQ(seen[0], seen[1]);
  EXPECT_EQ(seen[0], seen[2]);
}

TEST_F(ProcessArraysTest, ASliceIsWhatTheTaskSees) {
  const Segment segment = doubles(1000);
  const auto slice = slice_rows({"float64", {100, 10}}, 20, 22);
  const auto sum = [](Array<const double> values) {
    double total = 0;
    for (const double value : values) total += value;
    return std::to_string(values.shape()[0]) + "x" + std::to_string(values.shape()[1]) + " " + std::to_string(total);
  };
  EXPECT_EQ(first_part(run(sum, segment_part(1, *slice), {segment.descriptor.get()})), "2x10 4190.000000");
}

TEST_F(ProcessArraysTest, ASliceBeyondItsSegmentIsABadPayload) {
  const Segment segment = doubles(10);
  const Ended ended =
      run([](Array<const double>) {}, segment_part(1, {{"float64", {11}}, 0, 88}), {segment.descriptor.get()});
  EXPECT_EQ(ended.status, DoneStatus::kBadPayload);
}

TEST_F(ProcessArraysTest, AnArrayOfAnotherTypeOrSizeIsABadPayload) {
  const Segment segment = doubles(10);
  const auto take = [](Array<const float>) {};
  EXPECT_EQ(run(take, segment_part(1, {{"float64", {10}}, 0, 80}), {segment.descriptor.get()}).message,
            "argument 1 is an array of float64, the task takes float32");
  EXPECT_EQ(run(take, segment_part(1, {{"float32", {10}}, 0, 80}), {segment.descriptor.get()}).status,
            DoneStatus::kBadPayload);
  EXPECT_EQ(run(take, one("text/plain", "1 2 3")).status, DoneStatus::kBadPayload);
}

TEST_F(ProcessArraysTest, AMissingDescriptorIsTheWorkersFailure) {
  EXPECT_EQ(run([](Array<const double>) {}, segment_part(1, {{"float64", {10}}, 0, 80})).status,
            DoneStatus::kWorkerError);
}

TEST_F(ProcessArraysTest, AnInlineArrayIsAlignedForItsTask) {
  const double values[] = {1, 2, 3};
  for (const char* type : {"text/plain", "text/plainn", "text/plainnn"}) {
    std::string payload = one(type, "x");
    append_part(payload, {.content_type = format_array_type({"float64", {3}}),
                          .bytes = {reinterpret_cast<const char*>(values), sizeof values}});
    const Ended ended = run(
        [](std::string_view, Array<const double> array) {
          return std::to_string(reinterpret_cast<std::uintptr_t>(array.data()) % alignof(double)) + " " +
                 std::to_string(array[2]);
        },
        payload);
    EXPECT_EQ(first_part(ended), "0 3.000000");
  }
}

TEST_F(ProcessArraysTest, ALargeArrayComesBackAsASealedSegment) {
  for (const bool from_context : {true, false}) {
    const Ended ended = run([&](Context& context) {
      auto array = from_context ? context.make_array<double>({100, 100}) : Array<double>::zeros({100, 100});
      array[9999] = 7;
      return array;
    });
    ASSERT_EQ(ended.status, DoneStatus::kSucceeded) << ended.message;
    const auto parts = decode_parts(ended.result);
    ASSERT_EQ(parts->size(), 1u);
    EXPECT_EQ((*parts)[0].kind, PartKind::kSegment);
    EXPECT_EQ((*parts)[0].content_type, "application/x-futured-array; dtype=float64; shape=100x100");
    ASSERT_EQ(ended.descriptors.size(), 1u);
    auto segment = adopt_segment(Fd(fcntl(ended.descriptors[0].get(), F_DUPFD_CLOEXEC, 0)));
    ASSERT_TRUE(segment.ok());
    EXPECT_TRUE(segment->immutable);
    auto mapping = map_segment(*segment);
    EXPECT_EQ(reinterpret_cast<const double*>(mapping->data())[9999], 7);
  }
}

TEST_F(ProcessArraysTest, PartsOfOneArrayShareItsSegment) {
  const Ended ended = run([](Context& context) {
    auto array = context.make_array<double>({100, 100});
    array[5000] = 7;
    return std::tuple(array.rows(50, 100), array.rows(0, 50));
  });
  ASSERT_EQ(ended.status, DoneStatus::kSucceeded) << ended.message;
  const auto parts = decode_parts(ended.result);
  ASSERT_EQ(parts->size(), 2u);
  EXPECT_EQ((*parts)[0].begin, 40'000u);
  EXPECT_EQ((*parts)[0].end, 80'000u);
  EXPECT_EQ((*parts)[1].begin, 0u);
  EXPECT_EQ(ended.descriptors.size(), 2u);
}

TEST_F(ProcessArraysTest, AnArrayThatTheResultDoesNotTakeIsGone) {
  const Ended ended = run([](Context& context) { return context.make_array<double>({100'000})[3]; });
  EXPECT_EQ(first_part(ended), "0");
  EXPECT_TRUE(ended.descriptors.empty());
}

TEST_F(ProcessArraysTest, ALongTextResultTravelsBesideTheRing) {
  const Ended ended = run([] { return std::string(1'000'000, 'x'); });
  ASSERT_EQ(ended.status, DoneStatus::kSucceeded) << ended.message;
  EXPECT_EQ(first_part(ended).size(), 1'000'000u);
}

TEST_F(ProcessArraysTest, AResultOfTooManyPartsIsTooLarge) {
  const Ended ended = run([] { return std::vector<Output>(limits::kPayloadPartsMax + 1); });
  EXPECT_EQ(ended.status, DoneStatus::kResultTooLarge);
  EXPECT_EQ(ended.error_class, "ResultTooLarge");
  EXPECT_TRUE(ended.no_retry);
}

TEST_F(ProcessArraysTest, AResultOfTooManyBytesIsTooLargeAndIsNotCopied) {
  const Ended ended = run([] { return std::string(limits::kResultBytesMax, 'x'); });
  EXPECT_EQ(ended.status, DoneStatus::kResultTooLarge);
  EXPECT_NE(ended.message.find("return an array"), std::string::npos) << ended.message;
  EXPECT_TRUE(ended.result.empty());
}

}  // namespace
}  // namespace futured::runtime
