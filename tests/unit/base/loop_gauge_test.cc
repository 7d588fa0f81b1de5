#include "base/loop_gauge.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace futured {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr Instant kStart{1'000'000'000};

TEST(LoopGauge, ALoopThatHasNotTurnedKnowsNoLag) {
  const LoopGauge gauge("core", {"signals"});
  const LoopReading reading = gauge.read(kStart);
  EXPECT_EQ(reading.name, "core");
  EXPECT_EQ(reading.turns, 0u);
  EXPECT_EQ(reading.descriptor_names, std::vector<std::string>{"signals"});
  EXPECT_FALSE(reading.lag);
  EXPECT_FALSE(reading.lag_max);
  EXPECT_TRUE(reading.slow.empty());
}

TEST(LoopGauge, TheEarliestDueTimeOfATurnIsItsLag) {
  LoopGauge gauge("core");
  gauge.begin(kStart);
  gauge.due(kStart + milliseconds(1));  // came after the turn had begun
  EXPECT_EQ(gauge.read(kStart).lag, Duration(0));
  gauge.due(kStart + -microseconds(300));
  gauge.due(kStart + -microseconds(100));
  EXPECT_EQ(gauge.read(kStart).lag, microseconds(300));
}

TEST(LoopGauge, KeepsTheGreatestLagAndTheLast) {
  LoopGauge gauge("core");
  Instant now = kStart;
  for (const int lag_ms : {2, 7, 1}) {
    now = now + milliseconds(20);
    gauge.begin(now);
    gauge.due(now + -milliseconds(lag_ms));
    gauge.end(now + milliseconds(1), "turn");
  }
  gauge.begin(now + milliseconds(20));  // nobody tells since when: the last that is known stays
  const LoopReading reading = gauge.read(now + milliseconds(20));
  EXPECT_EQ(reading.turns, 4u);
  EXPECT_EQ(reading.lag, milliseconds(1));
  EXPECT_EQ(reading.lag_max, milliseconds(7));
}

TEST(LoopGauge, ASlowTurnIsToldByItsLongestStage) {
  LoopGauge gauge("core");
  gauge.begin(kStart);
  gauge.stage("calls", kStart + milliseconds(2));
  gauge.stage("commit", kStart + milliseconds(14));
  gauge.stage("answers", kStart + milliseconds(15));
  gauge.end(kStart + milliseconds(15), "turn");
  const LoopReading reading = gauge.read(kStart + milliseconds(15));
  ASSERT_EQ(reading.slow.size(), 1u);
  EXPECT_EQ(reading.slow[0].what, "commit");
  EXPECT_EQ(reading.slow[0].took, milliseconds(15));
  EXPECT_FALSE(reading.slow[0].under_way);
  EXPECT_GT(reading.slow[0].started_at.us, 0);
}

TEST(LoopGauge, ATurnOfTenMillisecondsIsNotSlow) {
  LoopGauge gauge("core");
  gauge.begin(kStart);
  gauge.stage("calls", kStart + milliseconds(10));
  gauge.end(kStart + milliseconds(10), "turn");
  gauge.end(kStart + milliseconds(900), "turn");  // asleep since
  EXPECT_TRUE(gauge.read(kStart + milliseconds(900)).slow.empty());
}

TEST(LoopGauge, ATurnThatGoesStraightIntoTheNextEndsThere) {
  LoopGauge gauge("core");
  gauge.begin(kStart);
  gauge.begin(kStart + milliseconds(30));
  gauge.end(kStart + milliseconds(31), "turn");
  const LoopReading reading = gauge.read(kStart + milliseconds(31));
  ASSERT_EQ(reading.slow.size(), 1u);
  EXPECT_EQ(reading.slow[0].what, "turn");
  EXPECT_EQ(reading.slow[0].took, milliseconds(30));
}

TEST(LoopGauge, ALoopThatHangsIsToldOfBeforeItsTurnEnds) {
  LoopGauge gauge("core");
  gauge.begin(kStart);
  EXPECT_TRUE(gauge.read(kStart + milliseconds(5)).slow.empty());
  const LoopReading reading = gauge.read(kStart + milliseconds(500));
  ASSERT_EQ(reading.slow.size(), 1u);
  EXPECT_TRUE(reading.slow[0].under_way);
  EXPECT_EQ(reading.slow[0].took, milliseconds(500));
}

TEST(LoopGauge, KeepsTheLastSlowOnesInTheirOrder) {
  LoopGauge gauge("core");
  constexpr std::size_t kSlow = limits::kSlowStepsKept + 5;
  for (std::size_t i = 0; i < kSlow; ++i) gauge.ran(std::to_string(i), kStart, kStart + milliseconds(11));
  const LoopReading reading = gauge.read(kStart);
  EXPECT_EQ(reading.turns, kSlow);
  ASSERT_EQ(reading.slow.size(), limits::kSlowStepsKept);
  EXPECT_EQ(reading.slow.front().what, std::to_string(kSlow - limits::kSlowStepsKept));
  EXPECT_EQ(reading.slow.back().what, std::to_string(kSlow - 1));
}

TEST(LoopGauge, IsReadWhileItsLoopTurns) {
  LoopGauge gauge("core");
  std::atomic<bool> over{false};
  std::thread loop([&] {
    for (std::int64_t turn = 1; turn <= 20'000; ++turn) {
      const Instant at = kStart + milliseconds(turn * 20);
      gauge.begin(at);
      gauge.due(at + -microseconds(1));
      gauge.stage("calls", at + milliseconds(12));
      gauge.end(at + milliseconds(12), "turn");
    }
    over = true;
  });
  while (!over) {
    for (const SlowStep& step : gauge.read(kStart).slow) EXPECT_EQ(step.what, "calls");
  }
  loop.join();
  EXPECT_EQ(gauge.read(kStart).turns, 20'000u);
}

}  // namespace
}  // namespace futured
