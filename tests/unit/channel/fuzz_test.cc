// A worker may write anything anywhere in its channel. The daemon's end must neither crash, hang nor believe it.
#include <sys/mman.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <random>

#include "base/child.h"
#include "tests/unit/channel/pair.h"
#include "worker/channel/packet.h"

namespace futured::channel {
namespace {

constexpr Geometry kSmall{16 * 1024, 16 * 1024};

std::uint64_t seed() {
  const char* given = std::getenv("FUTURED_FUZZ_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

// The whole channel as the worker sees it.
class RawMemory {
 public:
  explicit RawMemory(const TestSlot& slot)
      : size_(kHeaderBytes + table_bytes(slot.geometry.run_places) + slot.geometry.request_ring_bytes +
              slot.geometry.response_ring_bytes) {
    data_ = static_cast<char*>(::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, slot.memory.get(), 0));
  }
  RawMemory(const RawMemory&) = delete;
  RawMemory& operator=(const RawMemory&) = delete;
  ~RawMemory() { ::munmap(data_, size_); }
  template <typename T>
  void put(std::size_t offset, T value) {
    std::memcpy(data_ + offset, &value, sizeof value);
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t responses() const { return size_ - kSmall.response_ring_bytes; }

 private:
  std::size_t size_;
  char* data_;
};

// Uses the host in every way; it may only ever say that the channel is broken.
void exercise(HostEnd& host) {
  Response response;
  int reads = 0;
  for (; reads < 10'000; ++reads) {
    if (host.read(response) != Read::kResponse) break;
    if (const auto* call = std::get_if<Call>(&response); call != nullptr && reads % 2 == 0) {
      host.answer(call->id, {.job = JobId{7}});
    }
  }
  EXPECT_LT(reads, 10'000) << "reads without end";
  (void)host.head();
  (void)host.find(fence(2));
  (void)host.revoke(fence(3));
  (void)host.offer(request(1000, std::string(300, 'p')));
  (void)host.stop(fence(2), StopReason::kCancel);
  host.publish();
  (void)host.arm();
  host.release(host.cursor());
}

TEST(ChannelFuzz, AnyGarbageAnywhereOnlyBreaksTheChannel) {
  const std::uint64_t start = seed();
  std::printf("replay: FUTURED_FUZZ_SEED=%llu\n", static_cast<unsigned long long>(start));
  std::mt19937_64 random(start);
  int broken = 0;
  for (int round = 0; round < 3000; ++round) {
    TestSlot slot(kSmall);
    RawMemory raw(slot);
    HostEnd host = slot.host();
    WorkerEnd worker = slot.worker();
    for (std::uint64_t job = 1; job <= 6; ++job) ASSERT_TRUE(host.offer(request(job, "payload")));
    host.publish();
    ASSERT_TRUE(work_one(worker, "result"));
    channel::Run run;
    ASSERT_EQ(worker.try_next(run), Intake::kRun);
    ASSERT_EQ(worker.take(run), Take::kTaken);
    ASSERT_TRUE(worker.try_emit(run.fence, 1, 0, "some output"));
    const std::string request_of_call = encode_child({.task = "child"});
    ASSERT_TRUE(worker.call({run.fence, 1}, request_of_call, Duration::zero()));
    if (round % 2 == 0) {
      Response response;
      while (host.read(response) == Read::kResponse) {
      }
      host.answer({run.fence, 1}, {.job = JobId{7}});
      ASSERT_TRUE(worker.call({run.fence, 2}, request_of_call, Duration::zero()));
    }
    worker.done(run, {});
    const int writes = 1 + static_cast<int>(random() % 8);
    for (int i = 0; i < writes; ++i) {
      // Most of it where it hurts: the header's words and the records that are there.
      const std::size_t area = random() % 4;
      const std::size_t at = area == 0   ? random() % sizeof(Header)
                             : area == 1 ? kHeaderBytes + random() % 512
                             : area == 2 ? raw.responses() + random() % 512
                                         : random() % (raw.size() - 8);
      const std::uint64_t value = random() % 3 == 0   ? random()
                                  : random() % 3 == 0 ? ~std::uint64_t{0}
                                                      : random() % 4096;
      switch (random() % 3) {
        case 0:
          raw.put<std::uint8_t>(at, static_cast<std::uint8_t>(value));
          break;
        case 1:
          raw.put<std::uint32_t>(at, static_cast<std::uint32_t>(value));
          break;
        default:
          raw.put<std::uint64_t>(at & ~std::size_t{7}, value);
          break;
      }
    }
    if (random() % 4 == 0) {
      const std::string junk(random() % 40 + 1, static_cast<char>(random()));
      (void)send_packet(slot.worker_socket.get(), junk);
    }
    exercise(host);
    broken += host.is_broken() ? 1 : 0;
    if (host.is_broken()) {
      Response response;
      EXPECT_EQ(host.read(response), Read::kBroken);
      EXPECT_FALSE(host.offer(request(2000)));
    }
    auto next = slot.try_host();  // a restarted daemon meets the same bytes
    if (next) exercise(*next);
  }
  EXPECT_GT(broken, 300) << "the garbage is not garbage enough";
}

TEST(ChannelFuzz, EachImpossiblePositionIsNamed) {
  for (const auto& [offset, value] : std::vector<std::pair<std::size_t, std::uint64_t>>{
           {offsetof(Header, response_published), 1},          // not a multiple of 8
           {offsetof(Header, response_published), 1 << 20},    // more than the ring holds
           {offsetof(Header, response_published), ~0ULL - 7},  // far away
       }) {
    TestSlot slot(kSmall);
    RawMemory raw(slot);
    HostEnd host = slot.host();
    raw.put(offset, value);
    Response response;
    EXPECT_EQ(host.read(response), Read::kBroken) << value;
    EXPECT_FALSE(host.broken().empty());
  }
}

TEST(ChannelFuzz, ARunThatIsNotHereCannotBeFinished) {
  TestSlot slot(kSmall);
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  ASSERT_TRUE(host.offer(request(1)));
  host.publish();
  channel::Run run;
  ASSERT_EQ(worker.try_next(run), Intake::kRun);
  ASSERT_EQ(worker.take(run), Take::kTaken);
  run.fence = fence(99);
  worker.done(run, {});
  Response response;
  EXPECT_EQ(host.read(response), Read::kBroken);
}

// The state word of the first run.
constexpr std::size_t kFirstState = kHeaderBytes + offsetof(RunPlace, state);

TEST(ChannelFuzz, ARunThatWasSeenTakenIsNotOnOfferAgain) {
  for (const bool by_revoke : {false, true}) {
    TestSlot slot(kSmall);
    RawMemory raw(slot);
    HostEnd host = slot.host();
    WorkerEnd worker = slot.worker();
    ASSERT_TRUE(host.offer(request(1)));
    host.publish();
    channel::Run run;
    ASSERT_EQ(worker.try_next(run), Intake::kRun);
    ASSERT_EQ(worker.take(run), Take::kTaken);
    ASSERT_EQ(host.head()->state, RunState::kTaken);
    raw.put(kFirstState, static_cast<std::uint32_t>(RunState::kOffered));
    if (by_revoke) {
      EXPECT_EQ(host.revoke(fence(1)), Revoked::kTaken) << "else it would run twice at once";
    } else {
      EXPECT_FALSE(host.head().has_value());
    }
    EXPECT_TRUE(host.is_broken());
    EXPECT_EQ(host.oldest(), fence(1)) << "the one to charge";
  }
}

TEST(ChannelFuzz, ARunThatWasGivenBackUnseenAndRevokedCannotReport) {
  TestSlot slot(kSmall);
  RawMemory raw(slot);
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  ASSERT_TRUE(host.offer(request(1)));
  host.publish();
  channel::Run run;
  ASSERT_EQ(worker.try_next(run), Intake::kRun);
  ASSERT_EQ(worker.take(run), Take::kTaken);
  raw.put(kFirstState, static_cast<std::uint32_t>(RunState::kOffered));
  EXPECT_EQ(host.revoke(fence(1)), Revoked::kYes);
  worker.done(run, {});
  Response response;
  EXPECT_EQ(host.read(response), Read::kBroken) << "the job may have run elsewhere meanwhile";
}

TEST(ChannelFuzz, NoRunIsFinishedTwice) {
  TestSlot slot(kSmall);
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  ASSERT_TRUE(host.offer(request(1)));
  host.publish();
  channel::Run run;
  ASSERT_EQ(worker.try_next(run), Intake::kRun);
  ASSERT_EQ(worker.take(run), Take::kTaken);
  worker.done(run, {});
  worker.done(run, {});
  Response response;
  EXPECT_EQ(host.read(response), Read::kResponse);
  EXPECT_EQ(host.read(response), Read::kBroken);
}

TEST(ChannelFuzz, DescriptorsThatAreNotSealedMemoryBreakTheChannel) {
  TestSlot slot(kSmall);
  HostEnd host = slot.host();
  WorkerEnd worker = slot.worker();
  RawMemory raw(slot);
  ASSERT_TRUE(host.offer(request(1)));
  host.publish();
  ASSERT_TRUE(work_one(worker, "result"));
  // Claim that the result lies in a descriptor, and send one that can change underneath the reader.
  const Fd file(::memfd_create("unsealed", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.get(), 4096), 0);
  const DescriptorTag tag{kTagMagic, 1, 0, to_wire(fence(1))};
  const int descriptors[] = {file.get()};
  ASSERT_EQ(send_packet(slot.worker_socket.get(), bytes_of(tag), descriptors), Sent::kYes);
  raw.put(raw.responses() + 6, kDoneResultInDescriptor);
  raw.put<std::uint32_t>(raw.responses(), sizeof(DoneRecord));
  raw.put<std::uint32_t>(raw.responses() + offsetof(DoneRecord, result_bytes), 0);
  raw.put<std::uint32_t>(raw.responses() + offsetof(DoneRecord, descriptor_count), 1);
  raw.put<std::uint64_t>(raw.responses() + offsetof(DoneRecord, descriptor_result_bytes), 4096);
  Response response;
  EXPECT_EQ(host.read(response), Read::kBroken);
  EXPECT_NE(host.broken().find("seal"), std::string::npos) << host.broken();
}

}  // namespace
}  // namespace futured::channel
