#include "base/chunk.h"

#include <gtest/gtest.h>

#include "base/payload.h"
#include "tests/unit/channel/pair.h"
#include "worker/runtime/process_mode.h"

namespace futured::runtime {
namespace {

using channel::DoneStatus;
using channel::HostEnd;
using channel::TestSlot;

struct Ended {
  DoneStatus status;
  std::string message;
  std::string result;
};

// Worker and daemon take turns in one thread.
class ChunkTest : public ::testing::Test {
 protected:
  Ended run(auto function, const std::string& chunk, bool stopped = false) {
    const std::vector<sdk::RegisteredTask> tasks{{"tested", "", "", sdk::wrap(std::move(function))}};
    ProcessWorker worker(worker_end_, tasks);
    std::string payload;
    append_part(payload, {.content_type = kChunkType, .bytes = chunk});
    EXPECT_TRUE(host_.offer(channel::request(1, payload)));
    if (stopped) {
      EXPECT_TRUE(host_.stop(channel::fence(1), channel::StopReason::kCancel));
    }
    host_.publish();
    channel::Run run;
    EXPECT_EQ(worker_end_.try_next(run), channel::Intake::kRun);
    worker.run_one(run);
    channel::Response response;
    while (host_.read(response) == channel::Read::kResponse) {
      const auto* done = std::get_if<channel::Done>(&response);
      if (done != nullptr) return {done->status, std::string(done->error_message), std::string(done->result)};
    }
    return {};
  }

  TestSlot slot_;
  HostEnd host_ = slot_.host();
  channel::WorkerEnd worker_end_ = slot_.worker();
};

std::string calls_of(const std::vector<std::string>& arguments) {
  std::string chunk;
  for (const std::string& argument : arguments) append_call(chunk, "text/plain", argument);
  return chunk;
}

std::string text_of(const CallEnd& end) {
  if (end.status != CallStatus::kSucceeded) return std::string(end.error_class) + ": " + std::string(end.message);
  const auto parts = decode_parts(end.result);
  return parts && parts->size() == 1 ? std::string(parts->front().bytes) : "(not one part)";
}

TEST_F(ChunkTest, EachCallHasItsResultOrItsError) {
  const auto half = [](int number) {
    if (number % 2 != 0) throw TaskError("Odd", std::to_string(number) + " is odd");
    return number / 2;
  };
  const Ended ended = run(half, calls_of({"4", "5", "six", "8"}));
  ASSERT_EQ(ended.status, DoneStatus::kSucceeded) << ended.message;
  const auto parts = decode_parts(ended.result);
  ASSERT_TRUE(parts && parts->size() == 1);
  EXPECT_TRUE(took_ns_of(parts->front().content_type));
  ChunkEnds ends(parts->front().bytes);
  EXPECT_EQ(text_of(*ends.next()), "2");
  EXPECT_EQ(text_of(*ends.next()), "Odd: 5 is odd");
  const auto third = ends.next();
  EXPECT_EQ(third->status, CallStatus::kBadPayload);
  EXPECT_EQ(text_of(*third), "BadArgument: argument 1 is not the integer that the task takes: six");
  EXPECT_EQ(text_of(*ends.next()), "4");
  EXPECT_FALSE(ends.next());
}

TEST_F(ChunkTest, AnArrayComesBackInline) {
  const auto zeros = [](Context& context, std::uint64_t count) { return context.make_array<double>({count}); };
  const Ended ended = run(zeros, calls_of({"2", "1000"}));
  ASSERT_EQ(ended.status, DoneStatus::kSucceeded) << ended.message;
  ChunkEnds ends(decode_parts(ended.result)->front().bytes);
  EXPECT_EQ(text_of(*ends.next()).size(), 2 * sizeof(double));
  EXPECT_EQ(text_of(*ends.next()).size(), 1000 * sizeof(double));
}

TEST_F(ChunkTest, AStopEndsTheWhole) {
  EXPECT_EQ(run([](int number) { return number; }, calls_of({"1", "2"}), true).status, DoneStatus::kStopped);
}

TEST_F(ChunkTest, ADamagedOneIsABadPayload) {
  std::string chunk = calls_of({"1", "2"});
  chunk.pop_back();
  const Ended ended = run([](int number) { return number; }, chunk);
  EXPECT_EQ(ended.status, DoneStatus::kBadPayload);
  EXPECT_EQ(ended.message, "chunk: it is cut short");
}

}  // namespace
}  // namespace futured::runtime
