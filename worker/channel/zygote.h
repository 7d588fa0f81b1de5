// The protocol between spawner and zygote, on the zygote's descriptor 3: docs/formats/zygote.md.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/limits.h"

namespace futured::zygote {

inline constexpr int kControlFd = 3;
inline constexpr std::uint32_t kVersion = 1;

enum class Mode : std::uint32_t { kProcess = 1, kCommand = 2, kFresh = 3, kThread = 4, kAsync = 5 };

enum class MessageType : std::uint32_t {
  // From the zygote.
  kTask = 1,
  kReady = 2,
  kFailed = 3,
  kForked = 4,
  kForkFailed = 5,
  kExited = 6,
  // To the zygote.
  kFork = 32,
  kReload = 33,  // not sent yet
};

struct MessageHeader {
  std::uint32_t version;  // kVersion
  std::uint32_t type;     // MessageType
};

inline constexpr std::size_t kNameBytes = limits::kNameBytesMax + 8;  // with its terminating zero
inline constexpr std::size_t kTextBytes = 1024;

struct Task {  // one packet for each task, in the order of their indices, before READY
  MessageHeader header;
  std::uint32_t index;  // 0, 1, …: what a RUN record names
  std::uint32_t reserved;
  char name[kNameBytes];
  char version[kNameBytes];
};
static_assert(sizeof(Task) == 16 + 2 * kNameBytes);

struct Ready {
  MessageHeader header;
  std::uint32_t mode;        // Mode
  std::uint32_t task_count;  // TASK packets sent before
  std::uint32_t threads;     // threads in the zygote now; more than 1 makes forks unsafe
  std::uint32_t reserved;
};
static_assert(sizeof(Ready) == 24);

struct Failed {  // the zygote cannot serve and is about to exit
  MessageHeader header;
  char message[kTextBytes];
};

// One worker for the slots slot … slot + count - 1. With four descriptors for each of them, in this order: channel
// memory, eventfd to_worker, eventfd to_host, the worker's end of the descriptor socket; and behind them the read end
// of the lifeline.
struct Fork {
  MessageHeader header;
  std::uint32_t slot;
  std::uint32_t generation;  // of the first slot; the answers name it so
  std::uint32_t count;       // 1 … limits::kJobsAtOnceMax
  std::uint32_t reserved;
};
static_assert(sizeof(Fork) == 24);
inline constexpr std::size_t kSlotDescriptors = 4;
[[nodiscard]] constexpr std::size_t fork_descriptors(std::size_t count) { return kSlotDescriptors * count + 1; }
static_assert(fork_descriptors(limits::kJobsAtOnceMax) <= limits::kDescriptorsPerMessageMax);

// With one descriptor: a pidfd of the child, opened before the zygote could have reaped it.
struct Forked {
  MessageHeader header;
  std::uint32_t slot;
  std::uint32_t generation;
  std::int32_t pid;
  std::uint32_t threads;  // threads in the zygote at the fork
};
static_assert(sizeof(Forked) == 24);

struct ForkFailed {
  MessageHeader header;
  std::uint32_t slot;
  std::uint32_t generation;
  std::int32_t error_number;
  std::uint32_t reserved;
};
static_assert(sizeof(ForkFailed) == 24);

struct Exited {  // the zygote has reaped the child
  MessageHeader header;
  std::uint32_t slot;
  std::uint32_t generation;
  std::int32_t pid;
  std::int32_t wait_status;  // as wait(2) gives it
  std::uint64_t peak_rss_bytes;
  std::uint64_t cpu_ns;  // user and system, with waited-for children
};
static_assert(sizeof(Exited) == 40);

// What the spawner writes into a worker's lifeline once the worker is confined and may begin.
inline constexpr char kGo = 'G';

}  // namespace futured::zygote
