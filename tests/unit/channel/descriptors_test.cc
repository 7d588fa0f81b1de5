#include <sys/resource.h>
#include <sys/stat.h>

#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "tests/unit/channel/pair.h"

namespace futured::channel {
namespace {

std::string content(int memfd) {
  std::string bytes(1 << 20, '\0');
  const ssize_t got = ::pread(memfd, bytes.data(), bytes.size(), 0);
  bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return bytes;
}

TEST(ChannelDescriptors, ALargePayloadAndItsSegmentsArriveBesideTheRecord) {
  TestSlot slot;
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  const std::string payload(100'000, 'p');
  const Fd first = sealed_copy("one", "first").value();
  const Fd second = sealed_copy("two", "second").value();
  const int segments[] = {first.get(), second.get()};
  RunRequest asked = request(1, payload);
  asked.descriptors = segments;
  ASSERT_TRUE(host.offer(asked));
  host.publish();
  channel::Run run;
  ASSERT_EQ(worker.try_next(run), Intake::kRun);
  ASSERT_EQ(worker.take(run), Take::kTaken);
  EXPECT_EQ(run.payload, payload);
  ASSERT_EQ(run.descriptors.size(), 2u);
  EXPECT_EQ(content(run.descriptors[0].get()), "first");
  EXPECT_EQ(content(run.descriptors[1].get()), "second");
}

TEST(ChannelDescriptors, ThoseOfRevokedAndUnpublishedRunsAreDropped) {
  TestSlot slot;
  WorkerEnd worker = slot.worker();
  const std::string payload(100'000, 'p');
  {
    HostEnd host = slot.host();
    ASSERT_TRUE(host.offer(request(1, payload)));  // its packet is sent, its record is not
  }
  HostEnd host = slot.host();
  for (std::uint64_t job = 2; job <= 4; ++job) {
    ASSERT_TRUE(host.offer(request(job, std::string(100'000, static_cast<char>('0' + job)))));
  }
  host.publish();
  EXPECT_EQ(host.revoke(fence(3)), Revoked::kYes);
  channel::Run run;
  for (const std::uint64_t job : {2u, 4u}) {
    ASSERT_EQ(worker.try_next(run), Intake::kRun);
    ASSERT_EQ(run.fence, fence(job));
    ASSERT_EQ(worker.take(run), Take::kTaken);
    EXPECT_EQ(run.payload, std::string(100'000, static_cast<char>('0' + job)));
    worker.done(run, {});
  }
}

TEST(ChannelDescriptors, ALargeResultSurvivesTheDaemonThatReadIt) {
  TestSlot slot;
  WorkerEnd worker = slot.worker();
  const std::string large(200'000, 'r');
  const Fd segment = sealed_copy("segment", "array").value();
  const int segments[] = {segment.get()};
  std::uint64_t first_position = 0;
  {
    HostEnd host = slot.host();
    for (std::uint64_t job = 1; job <= 3; ++job) ASSERT_TRUE(host.offer(request(job)));
    host.publish();
    for (int i = 0; i < 3; ++i) {
      channel::Run run;
      ASSERT_EQ(worker.try_next(run), Intake::kRun);
      ASSERT_EQ(worker.take(run), Take::kTaken);
      Outcome outcome;
      outcome.result = large;
      if (i == 1) outcome.descriptors = segments;
      worker.done(run, outcome);
    }
    ASSERT_EQ(read_done(host)->result, large);
    host.release(host.cursor());
    first_position = host.cursor().position;
    ASSERT_EQ(read_done(host)->result, large);  // read, and then the daemon dies before its commit
  }
  ASSERT_GT(first_position, 0u);
  HostEnd host = slot.host();
  auto done = read_done(host);
  ASSERT_TRUE(done) << host.broken();
  EXPECT_EQ(done->fence, fence(2));
  EXPECT_EQ(done->result, large);
  ASSERT_NE(done->result_memfd, nullptr);
  ASSERT_EQ(done->descriptors.size(), 1u);
  const Fd kept = std::move(done->descriptors[0]);
  const Fd result = std::move(*done->result_memfd);
  host.release(host.cursor());
  EXPECT_EQ(content(kept.get()), "array");
  EXPECT_EQ(content(result.get()), large);
  done = read_done(host);
  ASSERT_TRUE(done) << host.broken();
  EXPECT_EQ(done->fence, fence(3));
  host.release(host.cursor());
}

TEST(ChannelDescriptors, AFullSocketHoldsBackTheNextRunAndLosesNothing) {
  TestSlot slot;
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  const int small = 1;
  ASSERT_EQ(::setsockopt(slot.worker_socket.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  const std::string large(20'000, 'r');
  constexpr std::uint64_t kJobs = 50;
  for (std::uint64_t job = 1; job <= kJobs; ++job) ASSERT_TRUE(host.offer(request(job)));
  host.publish();
  std::uint64_t worked = 0;
  std::uint64_t seen = 0;
  bool held = false;
  while (seen < kJobs) {
    while (work_one(worker, large)) ++worked;
    if (worked < kJobs) held = true;
    Response response;
    while (host.read(response) == Read::kResponse) {
      EXPECT_EQ(std::get<Done>(response).fence, fence(++seen));
      EXPECT_EQ(std::get<Done>(response).result, large);
    }
    ASSERT_FALSE(host.is_broken()) << host.broken();
    host.release(host.cursor());
  }
  EXPECT_TRUE(held);
}

TEST(ChannelDescriptors, ADoneWhoseDescriptorsAreLateIsReadOnceTheyCome) {
  TestSlot slot;
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  const int small = 1;
  ASSERT_EQ(::setsockopt(slot.worker_socket.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  std::uint64_t job = 0;
  for (; job < 20; ++job) ASSERT_TRUE(host.offer(request(job + 1)));
  host.publish();
  const std::string large(20'000, 'r');
  while (work_one(worker, large)) {
  }
  Response response;
  std::uint64_t seen = 0;
  while (host.read(response) == Read::kResponse) ++seen;
  EXPECT_TRUE(host.arm()) << "a record without its descriptors is nothing to stay awake for";
  host.release(host.cursor());
  channel::Run run;
  EXPECT_NE(worker.try_next(run), Intake::kBroken);  // sends what it held back
  EXPECT_FALSE(host.arm());
  EXPECT_EQ(host.read(response), Read::kResponse);
  EXPECT_EQ(std::get<Done>(response).fence, fence(seen + 1));
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// Takes all runs that lie there, for a worker of many.
std::vector<channel::Run> take_many(HostEnd& host, WorkerEnd& worker, std::uint64_t jobs) {
  for (std::uint64_t job = 1; job <= jobs; ++job) EXPECT_TRUE(host.offer(request(job)));
  host.publish();
  std::vector<channel::Run> taken;
  for (channel::Run run; worker.try_next(run) == Intake::kRun;) {
    if (worker.take(run) != Take::kTaken) continue;
    worker.detach(run);
    taken.push_back(std::move(run));
  }
  return taken;
}

// Nothing more can be opened in this process while it lives.
class NoDescriptorsLeft {
 public:
  NoDescriptorsLeft() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit none = before_;
    none.rlim_cur = 1;
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  NoDescriptorsLeft(const NoDescriptorsLeft&) = delete;
  NoDescriptorsLeft& operator=(const NoDescriptorsLeft&) = delete;
  ~NoDescriptorsLeft() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(ChannelDescriptors, ResultsThatWaitForADaemonTakeNoDescriptorEach) {
  constexpr std::uint64_t kJobs = 300;
  TestSlot slot(geometry_for(kJobs));
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  const int small = 1;
  ASSERT_EQ(::setsockopt(slot.worker_socket.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  std::vector<channel::Run> taken = take_many(host, worker, kJobs);
  ASSERT_EQ(taken.size(), kJobs);
  const std::size_t before = open_descriptors();
  for (channel::Run& run : taken) {
    const std::string result(20'000, static_cast<char>('a' + run.fence.job.value % 26));
    Outcome outcome;
    outcome.result = result;
    worker.done(run, outcome);
  }
  EXPECT_LE(open_descriptors(), before + 2);
  std::uint64_t seen = 0;
  while (seen < kJobs) {
    channel::Run none;
    ASSERT_EQ(worker.try_next(none), Intake::kNothing);
    const std::uint64_t seen_before = seen;
    Response response;
    while (host.read(response) == Read::kResponse) {
      const auto& done = std::get<Done>(response);
      ++seen;
      ASSERT_EQ(done.fence, fence(seen));
      EXPECT_EQ(done.result, std::string(20'000, static_cast<char>('a' + seen % 26)));
    }
    ASSERT_FALSE(host.is_broken()) << host.broken();
    ASSERT_GT(seen, seen_before);
    host.release(host.cursor());
  }
}

TEST(ChannelDescriptors, AResultThatCannotBeKeptFailsItsRunAndNotItsWorker) {
  TestSlot slot(geometry_for(100));
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  const int small = 1;
  ASSERT_EQ(::setsockopt(slot.worker_socket.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  std::vector<channel::Run> taken = take_many(host, worker, 50);
  const Fd segment = sealed_copy("segment", "array").value();
  const int segments[] = {segment.get()};
  const std::string large(20'000, 'r');
  {
    const NoDescriptorsLeft none;
    for (channel::Run& run : taken) {
      Outcome outcome;
      outcome.result = run.fence.job.value == 1 ? std::string_view(large) : std::string_view("small");
      outcome.descriptors = segments;
      worker.done(run, outcome);
    }
  }
  std::uint64_t lost = 0;
  for (std::uint64_t job = 1; job <= 50; ++job) {
    channel::Run run;
    ASSERT_EQ(worker.try_next(run), Intake::kNothing);
    const auto done = read_done(host);
    ASSERT_TRUE(done) << host.broken();
    ASSERT_EQ(done->fence, fence(job));
    host.release(host.cursor());
    if (done->status == DoneStatus::kSucceeded) {
      EXPECT_EQ(done->result, "small");
      EXPECT_EQ(done->descriptors.size(), 1u);
      continue;
    }
    ++lost;
    EXPECT_EQ(done->status, DoneStatus::kWorkerError);
    EXPECT_NE(done->error_message.find("could not be kept"), std::string_view::npos) << done->error_message;
    EXPECT_NE(done->error_message.find("Too many open files"), std::string_view::npos) << done->error_message;
    EXPECT_TRUE(done->descriptors.empty());
  }
  EXPECT_GT(lost, 1u) << "the first has no memfd, and the last found the socket full";
  EXPECT_LT(lost, 50u);
}

}  // namespace
}  // namespace futured::channel
