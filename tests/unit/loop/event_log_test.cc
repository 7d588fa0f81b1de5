#include "daemon/loop/event_log.h"

#include <gtest/gtest.h>

namespace futured {
namespace {

std::vector<effect::Change> changes(std::uint64_t first, std::uint64_t count, std::size_t message = 0) {
  std::vector<effect::Change> made;
  for (std::uint64_t i = 0; i < count; ++i) {
    effect::JobChange change{.job = JobId{first + i}};
    if (message != 0) change.cause = std::make_shared<const Cause>(Cause{.message = std::string(message, 'm')});
    made.push_back({WallTime{}, std::move(change)});
  }
  return made;
}

struct Listener : EventListener {
  void appended() override { ++calls; }
  int calls = 0;
};

// Counts what is allocated: a listener's memory goes with the last that the log knows of it.
template <typename T>
struct Counting {
  using value_type = T;
  explicit Counting(int* count) : live(count) {}
  template <typename U>
  explicit Counting(const Counting<U>& other) : live(other.live) {}
  T* allocate(std::size_t count) {
    ++*live;
    return std::allocator<T>().allocate(count);
  }
  void deallocate(T* at, std::size_t count) {
    --*live;
    std::allocator<T>().deallocate(at, count);
  }
  bool operator==(const Counting&) const = default;
  int* live;
};

class EventLogTest : public testing::Test {
 protected:
  void listen() { log_.listen(listener_); }

  EventLog log_{10, 100'000};
  std::shared_ptr<Listener> listener_ = std::make_shared<Listener>();
};

TEST_F(EventLogTest, EventsComeInOrderPageByPage) {
  listen();
  EXPECT_TRUE(log_.append(changes(100, 5)));
  EXPECT_EQ(listener_->calls, 1);
  EventLog::Page page = log_.read(0, 3);
  ASSERT_EQ(page.events.size(), 3u);
  EXPECT_EQ(page.events[0].sequence, 1u);
  EXPECT_EQ(std::get<effect::JobChange>(page.events[2].change.what).job, JobId{102});
  EXPECT_FALSE(page.gap);
  page = log_.read(page.next, 3);
  ASSERT_EQ(page.events.size(), 2u);
  EXPECT_EQ(page.events[1].sequence, 5u);
  EXPECT_EQ(page.next, log_.newest());
  EXPECT_TRUE(log_.read(page.next, 3).events.empty());
}

TEST_F(EventLogTest, WhoFallsBehindFindsAGap) {
  listen();
  log_.append(changes(1, 15));
  const EventLog::Page page = log_.read(2, 100);
  EXPECT_TRUE(page.gap);
  ASSERT_EQ(page.events.size(), 10u);
  EXPECT_EQ(page.events[0].sequence, 6u);
  EXPECT_FALSE(log_.read(5, 100).gap) << "the last that is gone was seen";
}

TEST_F(EventLogTest, BytesAreBounded) {
  listen();
  log_.append(changes(1, 8, 40'000));
  EXPECT_EQ(log_.read(0, 100).events.size(), 2u);
}

TEST_F(EventLogTest, NothingIsKeptWhenNobodyListens) {
  EXPECT_FALSE(log_.append(changes(1, 1)));
  EXPECT_EQ(log_.newest(), 0u);
}

TEST_F(EventLogTest, EndsWhenAllThatIsKeptIsNewsToNobody) {
  listen();
  log_.append(changes(1, 1));
  listener_.reset();
  EXPECT_TRUE(log_.append(changes(2, 10)));
  EXPECT_EQ(log_.read(1, 100).events.size(), 10u) << "who comes back finds all of it";
  EXPECT_FALSE(log_.append(changes(12, 1)));
  const std::uint64_t newest = log_.newest();

  listener_ = std::make_shared<Listener>();
  listen();
  EXPECT_TRUE(log_.read(newest, 100).gap) << "nobody knows what happened meanwhile";
  log_.append(changes(50, 1));
  const EventLog::Page page = log_.read(newest, 100);
  ASSERT_EQ(page.events.size(), 1u);
  EXPECT_GT(page.events[0].sequence, newest + 1);
}

TEST(EventLog, ThoseWhoLeftAreForgottenThoughNothingHappens) {
  int known = 0;
  EventLog log{10, 100'000};
  for (int i = 0; i < 100; ++i) log.listen(std::allocate_shared<Listener>(Counting<Listener>(&known)));
  EXPECT_EQ(known, 1);
}

}  // namespace
}  // namespace futured
