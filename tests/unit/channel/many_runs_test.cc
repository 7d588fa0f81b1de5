// A worker that has many runs at once: mode async.
#include <algorithm>
#include <random>
#include <vector>

#include "tests/unit/channel/pair.h"

namespace futured::channel {
namespace {

constexpr std::uint32_t kRuns = 3000;

// Takes all that lies there, as a worker with many runs does.
std::vector<channel::Run> take_all(WorkerEnd& worker) {
  std::vector<channel::Run> taken;
  for (channel::Run run; worker.try_next(run) == Intake::kRun;) {
    if (worker.take(run) != Take::kTaken) continue;
    worker.detach(run);
    taken.push_back(std::move(run));
  }
  return taken;
}

TEST(ManyRuns, ARunThatGoesOnBlocksNothingBehindIt) {
  TestSlot slot(Geometry{16 * 1024, 16 * 1024, 64});
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  ASSERT_TRUE(host.offer(request(1, "long")));
  host.publish();
  std::vector<channel::Run> first = take_all(worker);
  ASSERT_EQ(first.size(), 1u);
  for (std::uint64_t job = 2; job < 1000; ++job) {
    ASSERT_TRUE(host.offer(request(job, std::string(200, 'p')))) << job;
    host.publish();
    for (channel::Run& run : take_all(worker)) worker.done(run, {});
    ASSERT_EQ(read_done(host)->fence, fence(job));
    host.release(host.cursor());
  }
  EXPECT_EQ(first[0].payload, "long") << "it is the run's own";
  EXPECT_EQ(host.head()->fence, fence(1));
  EXPECT_EQ(host.outstanding(), 1u);
}

TEST(ManyRuns, ManyEndInAnyOrder) {
  TestSlot slot(geometry_for(kRuns));
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  for (std::uint64_t job = 1; job <= kRuns; ++job) ASSERT_TRUE(host.offer(request(job)));
  host.publish();
  std::vector<channel::Run> taken = take_all(worker);
  ASSERT_EQ(taken.size(), kRuns);
  EXPECT_EQ(host.newly_taken().size(), kRuns);
  EXPECT_TRUE(host.newly_taken().empty());
  std::shuffle(taken.begin(), taken.end(), std::mt19937_64(1));
  for (channel::Run& run : taken) {
    EXPECT_EQ(host.find(run.fence)->state, RunState::kTaken);
    worker.done(run, {});
    ASSERT_EQ(read_done(host)->fence, run.fence);
  }
  EXPECT_EQ(host.outstanding(), 0u);
  host.release(host.cursor());
  EXPECT_TRUE(host.offer(request(kRuns + 1)));
}

TEST(ManyRuns, TheNextDaemonFindsAllThatWereTaken) {
  TestSlot slot(geometry_for(kRuns));
  WorkerEnd worker = slot.worker();
  std::vector<channel::Run> taken;
  {
    HostEnd host = slot.host();
    for (std::uint64_t job = 1; job <= 10; ++job) ASSERT_TRUE(host.offer(request(job)));
    host.publish();
    taken = take_all(worker);
    worker.done(taken[3], {});
    worker.done(taken[7], {});
    ASSERT_EQ(read_done(host)->fence, fence(4)) << "read, not released";
    ASSERT_TRUE(host.offer(request(11)));
    host.publish();
    ASSERT_TRUE(host.offer(request(12)));  // never shown
  }
  HostEnd host = slot.host();
  std::vector<std::uint64_t> found;
  for (const Head& run : host.recovered()) found.push_back(run.fence.job.value);
  EXPECT_EQ(found, (std::vector<std::uint64_t>{1, 2, 3, 5, 6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(host.revoke(fence(11)), Revoked::kYes);
  EXPECT_EQ(read_done(host)->fence, fence(4));
  EXPECT_EQ(read_done(host)->fence, fence(8));
  EXPECT_EQ(host.outstanding(), 8u);
  EXPECT_TRUE(take_all(worker).empty()) << "the last one was taken back";
  worker.done(taken[0], {});
  EXPECT_EQ(read_done(host)->fence, fence(1));
  ASSERT_FALSE(host.is_broken()) << host.broken();
}

TEST(ManyRuns, StopsAreHandedOutInTurn) {
  TestSlot slot(geometry_for(100));
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  worker.hand_out_stops();
  ASSERT_TRUE(host.offer(request(1)));
  host.publish();
  std::vector<channel::Run> taken = take_all(worker);
  ASSERT_TRUE(host.stop(fence(1), StopReason::kTimeout));
  ASSERT_TRUE(host.offer(request(2)));
  host.publish();
  channel::Run run;
  ASSERT_EQ(worker.try_next(run), Intake::kStop);
  EXPECT_EQ(run.fence, fence(1));
  EXPECT_EQ(run.stop, StopReason::kTimeout);
  ASSERT_EQ(worker.try_next(run), Intake::kRun);
  EXPECT_EQ(run.fence, fence(2));
}

TEST(ManyRuns, TheRunAtWorkIsNamed) {
  TestSlot slot(geometry_for(100));
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  for (std::uint64_t job = 1; job <= 3; ++job) ASSERT_TRUE(host.offer(request(job)));
  host.publish();
  std::vector<channel::Run> taken = take_all(worker);
  EXPECT_FALSE(host.running());
  worker.note_running(&taken[1]);
  EXPECT_EQ(host.running(), fence(2));
  worker.note_running(nullptr);
  EXPECT_FALSE(host.running());
}

TEST(ManyRuns, ABrokenChannelHidesNothingThatWasTaken) {
  TestSlot slot(geometry_for(100));
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  for (std::uint64_t job = 1; job <= 2; ++job) ASSERT_TRUE(host.offer(request(job)));
  host.publish();
  EXPECT_EQ(take_all(worker).size(), 2u);
  ASSERT_TRUE(host.offer(request(3)));
  host.publish();
  ChannelMap::map(slot.memory.get())->header().response_published.store(12345);
  Response response;
  ASSERT_EQ(host.read(response), Read::kBroken);
  const std::vector<Head> taken = host.newly_taken();
  ASSERT_EQ(taken.size(), 2u);
  EXPECT_EQ(taken[0].fence, fence(1));
  EXPECT_EQ(taken[1].fence, fence(2));
}

TEST(ManyRuns, WhoWasAtWorkWhenTheChannelBrokeIsRemembered) {
  TestSlot slot(geometry_for(100));
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  for (std::uint64_t job = 1; job <= 3; ++job) ASSERT_TRUE(host.offer(request(job)));
  host.publish();
  std::vector<channel::Run> taken = take_all(worker);
  worker.note_running(&taken[1]);
  ChannelMap::map(slot.memory.get())->header().response_published.store(12345);
  Response response;
  ASSERT_EQ(host.read(response), Read::kBroken);
  worker.note_running(&taken[2]);
  EXPECT_EQ(host.running(), fence(2)) << "the worker goes on until it is killed";
  worker.note_running(nullptr);
  EXPECT_EQ(host.running(), fence(2));
}

TEST(ManyRuns, RevokedPlacesComeBackWhenTheirRunsArePassed) {
  TestSlot slot(Geometry{16 * 1024, 16 * 1024, 4});
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  for (std::uint64_t job = 1; job <= 4; ++job) ASSERT_TRUE(host.offer(request(job)));
  host.publish();
  EXPECT_FALSE(host.offer(request(5))) << "every place is taken";
  ASSERT_EQ(host.revoke(fence(2)), Revoked::kYes);
  EXPECT_FALSE(host.offer(request(5))) << "its record still names the place";
  EXPECT_EQ(take_all(worker).size(), 3u);
  EXPECT_TRUE(host.offer(request(5)));
  EXPECT_FALSE(host.offer(request(6)));
}

}  // namespace
}  // namespace futured::channel
