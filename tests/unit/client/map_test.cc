// What Executor::map promises, against a daemon that lives in this process.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <optional>
#include <ranges>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/unit/client/client_fixture.h"

namespace futured::client {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

class Map : public test::ClientTest {
 protected:
  [[nodiscard]] std::size_t jobs() const {
    const std::vector<std::size_t> batches = daemon_.batch_sizes();
    return std::accumulate(batches.begin(), batches.end(), std::size_t{0});
  }
};

TEST_F(Map, KeepsOrderWithBoundedLookAhead) {
  std::size_t drawn = 0;
  auto source = [&]() -> std::optional<std::string> {
    return drawn == 1'000 ? std::nullopt : std::optional(std::to_string(drawn++));
  };
  Mapped mapped = client_.executor().map("echo", source, {.look_ahead = 10});
  std::size_t given = 0;
  while (const auto result = mapped.next()) {
    EXPECT_EQ(*result, std::to_string(given));
    ++given;
    EXPECT_LE(drawn, given + 10);
  }
  EXPECT_EQ(given, 1'000u);
}

TEST_F(Map, UnorderedGivesEveryResult) {
  std::vector<std::string> inputs;
  for (int i = 0; i < 500; ++i) inputs.push_back(std::to_string(i));
  Mapped mapped = client_.executor().map("echo", inputs, {.look_ahead = 64, .ordered = false});
  std::set<std::string> seen;
  while (const auto result = mapped.next()) seen.insert(*result);
  EXPECT_EQ(seen.size(), 500u);
}

TEST_F(Map, TakesAnyRangeOfTextOrNumbers) {
  Mapped squares = client_.executor().map(
      "echo", std::views::iota(1) | std::views::transform([](int i) { return i * i; }), {.look_ahead = 8});
  std::vector<std::string> first;
  for (int i = 0; i < 4; ++i) first.push_back(*squares.next());
  EXPECT_THAT(first, ElementsAre("1", "4", "9", "16"));
  Mapped none = client_.executor().map("echo", std::vector<double>());
  EXPECT_FALSE(none.next());
}

TEST_F(Map, ChunksKeepOrderAndLookAhead) {
  std::size_t drawn = 0;
  auto source = [&]() -> std::optional<std::string> {
    return drawn == 1'003 ? std::nullopt : std::optional(std::to_string(drawn++));
  };
  Mapped mapped = client_.executor().map("echo", source, {.look_ahead = 40, .chunk_size = 10});
  std::size_t given = 0;
  while (const auto result = mapped.next()) {
    EXPECT_EQ(*result, std::to_string(given));
    ++given;
    EXPECT_LE(drawn, given + 41) << "one may be drawn that has no room in its chunk";
  }
  EXPECT_EQ(given, 1'003u);
  EXPECT_LE(jobs(), 120u);
}

TEST_F(Map, AutomaticChunksGrow) {
  std::vector<int> inputs(50'000);
  std::iota(inputs.begin(), inputs.end(), 0);
  Mapped mapped = client_.executor().map("echo", inputs, {.ordered = false, .chunk_size = kAutomaticChunks});
  std::set<std::uint64_t> seen;
  while (const auto call = mapped.next_call()) {
    EXPECT_EQ(call->result(), std::to_string(call->index));
    seen.insert(call->index);
  }
  EXPECT_EQ(seen.size(), inputs.size());
  EXPECT_LT(jobs(), 1'000u) << "for 50,000 calls";
}

std::string message_of_next(Mapped& mapped) {
  try {
    return "no error, but " + mapped.next().value_or("the end");
  } catch (const JobFailed& failure) {
    return failure.what();
  }
}

TEST_F(Map, AnErrorNamesItsCallAndStopsNoOther) {
  Mapped alone = client_.executor().map("fail", {"zero", "one"});
  EXPECT_THAT(message_of_next(alone), HasSubstr("call 0 of the map: job "));
  EXPECT_THAT(message_of_next(alone), HasSubstr("call 1 of the map: job "));

  Mapped chunked = client_.executor().map("echo", {"zero", "fail", "two", "three"}, {.chunk_size = 3});
  EXPECT_EQ(chunked.next(), "zero");
  const std::string message = message_of_next(chunked);
  EXPECT_THAT(message, HasSubstr("call 1 of the map: job "));
  EXPECT_THAT(message, HasSubstr("Failed: as asked"));
  EXPECT_EQ(chunked.next(), "two");
  EXPECT_EQ(chunked.next(), "three");
  EXPECT_FALSE(chunked.next());
}

TEST_F(Map, ACallTellsItsIndexAndItsOutcome) {
  Mapped mapped = client_.executor().map("echo", {"zero", "fail"}, {.chunk_size = 2});
  const auto good = mapped.next_call();
  EXPECT_EQ(good->index, 0u);
  EXPECT_EQ(good->result(), "zero");
  const auto bad = mapped.next_call();
  EXPECT_EQ(bad->index, 1u);
  EXPECT_EQ(bad->outcome.state, JobState::kFailed);
  EXPECT_EQ(bad->outcome.cause.error_class, "Failed");
  EXPECT_THROW(static_cast<void>(bad->result()), JobFailed);
  EXPECT_FALSE(mapped.next_call());
}

TEST_F(Map, AChunkThatFailsAsAWholeIsToldByEachOfItsCalls) {
  Mapped mapped = client_.executor().map("fail", {"a", "b"}, {.chunk_size = 2});
  EXPECT_THROW(static_cast<void>(mapped.next()), JobFailed);
  EXPECT_EQ(mapped.next_call()->outcome.state, JobState::kFailed);
  EXPECT_FALSE(mapped.next());
}

// An input that no job can carry, among others.
TEST_F(Map, ACallThatCannotBeSubmittedTakesItsIndexAndNamesItself) {
  const std::vector<std::string> inputs = {"0", "1", "2", std::string(5 * 1024 * 1024, 'x'), "4"};
  for (const MapOptions& options : {MapOptions{}, MapOptions{.look_ahead = 2}, MapOptions{.chunk_size = 2},
                                    MapOptions{.look_ahead = 2, .chunk_size = 2}}) {
    Mapped mapped = client_.executor().map("echo", inputs, options);
    for (std::uint64_t i = 0; i < 5; ++i) {
      if (i != 3) {
        const auto call = mapped.next_call();
        ASSERT_TRUE(call);
        EXPECT_EQ(call->index, i);
        EXPECT_EQ(call->result(), inputs[i]);
        continue;
      }
      try {
        static_cast<void>(mapped.next_call());
        ADD_FAILURE() << "it was submitted";
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kResourceExhausted);
        EXPECT_THAT(error.what(), HasSubstr("call 3 of the map: payload: "));
      }
    }
    EXPECT_FALSE(mapped.next_call());
  }
}

TEST_F(Map, UnorderedTellsWhatCouldNotBeSubmittedToo) {
  const std::vector<std::string> inputs = {"0", std::string(5 * 1024 * 1024, 'x'), "2"};
  Mapped mapped = client_.executor().map("echo", inputs, {.ordered = false});
  std::set<std::string> seen;
  int refused = 0;
  for (int i = 0; i < 3; ++i) {
    try {
      seen.insert(*mapped.next());
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("call 1 of the map: "));
      ++refused;
    }
  }
  EXPECT_FALSE(mapped.next());
  EXPECT_THAT(seen, ElementsAre("0", "2"));
  EXPECT_EQ(refused, 1);
}

TEST_F(Map, WhatTheSourceThrowsTakesNoInputAlong) {
  for (const MapOptions& options : {MapOptions{}, MapOptions{.look_ahead = 4}, MapOptions{.chunk_size = 1'000},
                                    MapOptions{.look_ahead = 4, .chunk_size = 4}}) {
    int draws = 0;
    int drawn = 0;
    const auto source = [&]() -> std::optional<std::string> {
      if (++draws == 6) throw std::runtime_error("this draw only");
      return drawn == 10 ? std::nullopt : std::optional(std::to_string(drawn++));
    };
    Mapped mapped = client_.executor().map("echo", Mapped::Source(source), options);
    std::vector<std::string> results;
    int thrown = 0;
    for (bool is_over = false; !is_over;) {
      try {
        const auto result = mapped.next();
        is_over = !result;
        if (result) results.push_back(*result);
      } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "this draw only");
        ++thrown;
      }
    }
    EXPECT_THAT(results, ElementsAre("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"));
    EXPECT_EQ(thrown, 1);
  }
}

TEST_F(Map, AfterShutdownNoChunkIsSubmitted) {
  const Executor executor = client_.executor();
  Mapped mapped = executor.map("echo", {"0", "1", "2", "3"}, {.look_ahead = 2, .chunk_size = 2});
  executor.shutdown();
  EXPECT_EQ(mapped.next(), "0");
  EXPECT_EQ(mapped.next(), "1");
  try {
    static_cast<void>(mapped.next());
    FAIL() << "it was submitted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFailedPrecondition);
    EXPECT_THAT(error.what(), HasSubstr("call 2 of the map: "));
  }
  EXPECT_EQ(jobs(), 1u);
  EXPECT_THROW(static_cast<void>(executor.map("echo", {"0"})), Error);
}

TEST_F(Map, AWaitThatRunsOutSaysSo) {
  Mapped mapped = client_.executor().map("hold", {"x"}, {.timeout = 10ms});
  EXPECT_THROW(static_cast<void>(mapped.next()), WaitTimeout);
}

TEST_F(Map, OptionsThatCannotWorkAreRefused) {
  const Executor executor = client_.executor();
  EXPECT_THROW(static_cast<void>(executor.map("echo", {"x"}, {.look_ahead = 0})), Error);
  EXPECT_THROW(static_cast<void>(executor.map("echo", {"x"}, {.look_ahead = 4, .chunk_size = 5})), Error);
}

}  // namespace
}  // namespace futured::client
