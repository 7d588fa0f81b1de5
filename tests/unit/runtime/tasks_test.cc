// The built-in tasks, in real workers.
#include <fstream>

#include "segment/array_type.h"
#include "segment/memory.h"
#include "tests/unit/runtime/fixture.h"

namespace futured::runtime {
namespace {

class TasksTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(zygote_.become_ready()) << zygote_.failure;
    zygote_.fork_worker(slot_);
  }
  Ended call(const std::string& task, std::string_view payload = {}, std::uint32_t attempt = 1) {
    RunRequest request = channel::request(next_++, payload);
    request.fence.attempt = attempt;
    request.task = zygote_.tasks.at(task);
    return daemon_.run(request);
  }

  ZygoteProcess zygote_{{"--mode", "process"}};
  TestSlot slot_;
  Daemon daemon_{slot_};
  std::uint64_t next_ = 1;
};

TEST_F(TasksTest, NoopReturnsNothing) {
  const Ended ended = call("noop", bytes("whatever"));
  EXPECT_EQ(ended.status, DoneStatus::kSucceeded);
  EXPECT_TRUE(ended.result.empty());
}

TEST_F(TasksTest, EchoReturnsItsParts) {
  const std::string payload = text("hello") + json("{\"a\":1}") + bytes("x");
  EXPECT_EQ(call("echo", payload).result, payload);
}

TEST_F(TasksTest, FailUntilCountsAttempts) {
  EXPECT_EQ(call("fail_until", json("3"), 1).status, DoneStatus::kTaskError);
  EXPECT_EQ(call("fail_until", json("3"), 2).status, DoneStatus::kTaskError);
  EXPECT_EQ(call("fail_until", json("3"), 3).part(0), "3");
  EXPECT_EQ(call("fail", text("as asked")).message, "as asked");
}

TEST_F(TasksTest, SleepHeedsItsStop) {
  RunRequest request = channel::request(100, {});
  const std::string payload = json("60");
  request.payload = payload;
  request.task = zygote_.tasks.at("sleep");
  daemon_.offer(request);
  while (daemon_.host().head()->state != channel::RunState::kTaken) sched_yield();
  daemon_.stop(request.fence);
  const Ended ended = daemon_.wait();
  EXPECT_EQ(ended.status, DoneStatus::kStopped);
  EXPECT_LT(ended.took, std::chrono::seconds(10));
  EXPECT_EQ(call("sleep", json("0.01")).status, DoneStatus::kSucceeded);
  EXPECT_EQ(call("sleep", json("-1")).status, DoneStatus::kBadPayload);
  EXPECT_EQ(call("sleep", json("nan")).status, DoneStatus::kBadPayload);
}

TEST_F(TasksTest, Sha256OfBytesAndOfAFile) {
  constexpr const char* kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  EXPECT_EQ(call("sha256", bytes("abc")).part(0), kAbc);
  TemporaryDirectory directory;
  const std::string path = directory.path + "/abc";
  std::ofstream(path) << "abc";
  EXPECT_EQ(call("sha256", text(path)).part(0), kAbc);
  EXPECT_EQ(call("sha256", json("\"" + path + "\"")).part(0), kAbc);
  const Ended missing = call("sha256", text(directory.path + "/none"));
  EXPECT_EQ(missing.error_class, "FileNotReadable");
  EXPECT_NE(missing.message.find("No such file"), std::string::npos);
  EXPECT_EQ(call("sha256", text(directory.path)).error_class, "FileNotReadable");
}

TEST_F(TasksTest, SumOfAnArrayInSharedMemory) {
  constexpr std::size_t kCount = 1'000'003;  // no multiple of the lanes
  auto writer = SegmentWriter::create("test", kCount * 8);
  auto* values = reinterpret_cast<double*>(writer->bytes().data());
  for (std::size_t i = 0; i < kCount; ++i) values[i] = static_cast<double>(i % 1000);
  double expected = 0;
  for (std::size_t i = 0; i < kCount; ++i) expected += static_cast<double>(i % 1000);
  const auto segment = std::move(*writer).seal();
  const std::string type = format_array_type({"float64", {kCount}});
  std::string payload;
  append_part(payload, {.kind = PartKind::kSegment, .content_type = type, .segment = SegmentId{5}, .end = kCount * 8});
  RunRequest request = channel::request(200, payload);
  request.task = zygote_.tasks.at("sum");
  const int descriptor = segment->descriptor.get();
  request.descriptors = {&descriptor, 1};
  const Ended ended = daemon_.run(request);
  EXPECT_EQ(std::stod(ended.part(0)), expected) << ended.message;
}

TEST_F(TasksTest, SumSquaresAndSpinUseTheProcessor) {
  EXPECT_EQ(call("sum_squares", json("1000")).part(0), "332833500");
  const Ended spun = call("spin", json("30"));
  EXPECT_EQ(spun.status, DoneStatus::kSucceeded);
  EXPECT_GE(spun.cpu_ns, 29'000'000u);
  EXPECT_LT(spun.cpu_ns, 1'000'000'000u);
  EXPECT_GT(spun.peak_rss_bytes, 0u);
}

TEST_F(TasksTest, APayloadTooLongForTheRingArrivesWhole) {
  const std::string payload = bytes(std::string(3'000'000, 'x'));
  const Ended ended = call("echo", payload);
  EXPECT_EQ(ended.result, payload);
}

}  // namespace
}  // namespace futured::runtime
