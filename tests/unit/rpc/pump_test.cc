#include "daemon/rpc/pump.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace futured::rpc {
namespace {

constexpr auto kDeadline = std::chrono::seconds(20);

// Does `what` as the loop would: on a thread of its own, which has flushed the pump before.
template <typename What>
void as_loop(Pump& pump, What what) {
  std::thread([&] {
    pump.flush(false);
    what();
  }).join();
}

TEST(Pump, RunsWhatOneThreadPostsInItsOrderAndEndsAfterIt) {
  std::vector<int> ran;
  {
    Pump pump;
    for (int i = 0; i < 1000; ++i) pump.post([&ran, i] { ran.push_back(i); });
  }
  ASSERT_EQ(ran.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(ran[static_cast<std::size_t>(i)], i);
}

TEST(Pump, WhatTheLoopPostsWaitsForTheEndOfItsTurn) {
  std::atomic<bool> turn_is_over{false};
  std::promise<bool> ran_after;
  Pump pump;
  as_loop(pump, [&] {
    pump.post([&] { ran_after.set_value(turn_is_over.load()); });
    turn_is_over = true;
    pump.flush(false);
  });
  auto ran = ran_after.get_future();
  ASSERT_EQ(ran.wait_for(kDeadline), std::future_status::ready);
  EXPECT_TRUE(ran.get());
}

TEST(Pump, ALoopAtRestSendsALittleItself) {
  Pump pump;
  as_loop(pump, [&] {
    std::optional<std::thread::id> ran_by;
    pump.post([&] { ran_by = std::this_thread::get_id(); });
    pump.flush(true);
    EXPECT_EQ(ran_by, std::this_thread::get_id());
  });
}

TEST(Pump, WhatATaskPostsWhileTheLoopSendsGoesOutWithoutAnotherTurn) {
  std::promise<std::thread::id> ran_by;
  std::thread::id loop;
  Pump pump;
  as_loop(pump, [&] {
    loop = std::this_thread::get_id();
    pump.post([&] { pump.post([&] { ran_by.set_value(std::this_thread::get_id()); }); });
    pump.flush(true);
  });
  auto ran = ran_by.get_future();
  ASSERT_EQ(ran.wait_for(kDeadline), std::future_status::ready);
  EXPECT_NE(ran.get(), loop);
}

TEST(Pump, WhatALastHolderPostsAsItGoesIsNotLostEither) {
  struct Last {
    Pump& pump;
    std::promise<void>& gone;
    ~Last() {
      pump.post([&gone = gone] { gone.set_value(); });
    }
  };
  std::promise<void> gone;
  Pump pump;
  as_loop(pump, [&] {
    pump.post([last = std::make_shared<Last>(pump, gone)] {});
    pump.flush(true);
  });
  EXPECT_EQ(gone.get_future().wait_for(kDeadline), std::future_status::ready);
}

}  // namespace
}  // namespace futured::rpc
