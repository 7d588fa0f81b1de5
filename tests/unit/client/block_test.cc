// How those who wait for the futures of one block are kept and told. No daemon.
#include "client/cpp/block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace futured::client {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

// Takes note of the cookies, in the order of being told.
class Recorder final : public Sink {
 public:
  void completed(const Notice* notices, std::size_t count) override {
    for (std::size_t i = 0; i < count; ++i) cookies.push_back(notices[i].cookie);
  }
  std::vector<std::uint64_t> cookies;
};

class Blocks : public testing::Test {
 protected:
  Blocks() {
    for (int i = 0; i < 2; ++i) futures_.push_back(block_->future(block_->add_slot()));
  }
  void end(std::uint32_t index) {
    Notices notices;
    const auto guard = block_->lock();
    block_->end_simple(index, "", notices);
  }

  const BlockRef block_{Block::make(2, {}, nullptr, /*followed=*/true, /*first_id=*/1)};
  std::vector<Future> futures_;
  const std::shared_ptr<Recorder> recorder_ = std::make_shared<Recorder>();
};

TEST_F(Blocks, WaitingAgainAndAgainTakesNoMoreRoom) {
  for (int i = 0; i < 1'000; ++i) EXPECT_TRUE(wait(futures_, WaitFor::kAllCompleted, 0ms).done.empty());
  EXPECT_LE(block_->listeners(), 2u);
}

TEST_F(Blocks, ListenersAreToldInTheOrderOfAddingWhereverTheirRoomWas) {
  const auto other = std::make_shared<Recorder>();
  static_cast<void>(block_->add_listener(0, other, 1));
  static_cast<void>(block_->add_listener(0, recorder_, 2));
  block_->remove_listener(0, other.get());
  static_cast<void>(block_->add_listener(0, recorder_, 3));
  static_cast<void>(block_->add_listener(0, recorder_, 4));
  EXPECT_EQ(block_->listeners(), 3u);
  end(0);
  EXPECT_THAT(recorder_->cookies, ElementsAre(2, 3, 4));
  EXPECT_TRUE(other->cookies.empty());
}

TEST_F(Blocks, TheRoomOfAFutureThatEndedIsTakenAgain) {
  for (std::uint64_t cookie = 1; cookie <= 3; ++cookie) static_cast<void>(block_->add_listener(0, recorder_, cookie));
  end(0);
  for (std::uint64_t cookie = 4; cookie <= 6; ++cookie) static_cast<void>(block_->add_listener(1, recorder_, cookie));
  EXPECT_EQ(block_->listeners(), 3u);
  end(1);
  EXPECT_THAT(recorder_->cookies, ElementsAre(1, 2, 3, 4, 5, 6));
}

}  // namespace
}  // namespace futured::client
