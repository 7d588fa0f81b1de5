// The protocol between daemon and spawner on <state>/spawner.sock (SEQPACKET): docs/formats/spawner.md.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/limits.h"

namespace futured::spawner {

inline constexpr std::uint32_t kVersion = 2;

enum class MessageType : std::uint32_t {
  // To the spawner.
  kHello = 1,
  kStartPool = 2,
  kStartWorker = 3,
  kKill = 4,
  kStopPool = 5,
  kShutdown = 6,
  // From the spawner.
  kWelcome = 32,
  kRefused = 33,
  kPool = 34,
  kPoolTask = 35,
  kPoolReady = 36,
  kPoolFailed = 37,
  kPoolStopped = 38,
  kWorkerStarted = 39,
  kWorkerEnded = 40,
  kReplayed = 41,
};

struct MessageHeader {
  std::uint32_t version;  // kVersion
  std::uint32_t type;     // MessageType
};

inline constexpr std::size_t kNameBytes = limits::kNameBytesMax + 8;  // with its terminating zero
inline constexpr std::size_t kTextBytes = 1024;
inline constexpr std::size_t kStringsBytesMax = 64 * 1024;  // argv and environment of a zygote
inline constexpr std::size_t kPacketBytesMax = kStringsBytesMax + 4096;

// ---- To the spawner -------------------------------------------------------------------------------------------------

struct Hello {  // first on every connection
  MessageHeader header;
  std::uint32_t epoch;
  std::int32_t pid;
};
static_assert(sizeof(Hello) == 16);

struct StartPool {  // followed by strings_bytes: argv, then KEY=VALUE additions to the environment, each ended by a
                    // zero
  MessageHeader header;
  std::uint32_t pool;
  std::uint32_t mode;           // zygote::Mode that READY must state; 0: whatever it states
  std::uint32_t allow_threads;  // 1: fork although the zygote has threads
  std::uint32_t argv_count;
  std::uint32_t environment_count;
  std::uint32_t strings_bytes;
  std::uint64_t memory_bytes_max;  // of each worker with all that it starts; 0: no limit
  std::uint32_t processes_max;     // likewise; threads count
  std::uint32_t reserved;
  char name[kNameBytes];
};
static_assert(sizeof(StartPool) == 48 + kNameBytes);

// For a slot that is new, or whose last worker has ended. One worker serves the slots first … first + count - 1: it is
// started when it has been asked for for each of them.
struct StartWorker {
  MessageHeader header;
  std::uint32_t pool;
  std::uint32_t slot;
  std::uint32_t first;
  std::uint32_t count;         // 1 … limits::kJobsAtOnceMax
  std::uint32_t runs_at_once;  // of each slot: 1 … limits::kCoroutinesMax
  std::uint32_t reserved;
  std::uint64_t memory_bytes_max;  // of this worker with all that it starts; 0: its pool's. With count 1 only
};
static_assert(sizeof(StartWorker) == 40);

struct Kill {
  MessageHeader header;
  std::uint32_t slot;
  std::uint32_t generation;
  std::uint32_t grace_ms;  // SIGTERM first when above 0
  std::uint32_t reserved;
};
static_assert(sizeof(Kill) == 24);

struct StopPool {
  MessageHeader header;
  std::uint32_t pool;
  std::uint32_t reserved;
};

struct Shutdown {
  MessageHeader header;
};

// ---- From the spawner -----------------------------------------------------------------------------------------------

// What the spawner kills and limits by.
enum class Means : std::uint32_t {
  kProc = 1,  // it walks /proc to kill, and samples it to limit
  kCgroup2 = 2,
  kCgroup1 = 3,
};

struct Welcome {
  MessageHeader header;
  std::uint64_t instance;  // random, of this spawner process; a changed one means that all earlier attempts ended
  std::int32_t pid;
  std::uint32_t kills_by;      // Means, but never kCgroup1
  std::uint32_t memory_by;     // Means
  std::uint32_t processes_by;  // Means
};
static_assert(sizeof(Welcome) == 32);

struct Refused {  // the connection closes after it
  MessageHeader header;
  char message[kTextBytes];
};

struct Pool {  // replay of a START_POOL; its state follows as tasks and READY, or FAILED
  MessageHeader header;
  std::uint32_t pool;
  std::uint32_t mode;
  char name[kNameBytes];
};

struct PoolTask {
  MessageHeader header;
  std::uint32_t pool;
  std::uint32_t index;
  char name[kNameBytes];
  char version[kNameBytes];
};

struct PoolReady {  // after all tasks of the pool; again after each restart of its zygote
  MessageHeader header;
  std::uint32_t pool;
  std::uint32_t mode;
  std::uint32_t task_count;
  std::uint32_t threads;
};

struct PoolFailed {  // its zygote is not there; workers that it forked go on
  MessageHeader header;
  std::uint32_t pool;
  std::uint32_t retry_ms;  // until it is started again
  char message[kTextBytes];
};

struct PoolStopped {
  MessageHeader header;
  std::uint32_t pool;
  std::uint32_t reserved;
};

// With four descriptors: channel memory, eventfd to_worker, eventfd to_host, the daemon's end of the descriptor socket.
struct WorkerStarted {
  MessageHeader header;
  std::uint32_t pool;
  std::uint32_t slot;
  std::uint32_t generation;
  std::int32_t pid;
  std::uint64_t memory_bytes_max;  // as START_WORKER named it; 0: its pool's
};
static_assert(sizeof(WorkerStarted) == 32);
inline constexpr std::size_t kWorkerDescriptors = 4;

enum class EndCause : std::uint32_t {
  kExited = 1,       // by itself: see wait_status
  kKilled = 2,       // because KILL, STOP_POOL or SHUTDOWN asked, or it was seen over a limit
  kStartFailed = 3,  // it never began: see message
  kNeighbour = 4,    // for what another slot of the worker did, or because that one was to be killed
};
enum class OutOfMemory : std::uint32_t {
  kNo = 0,
  kYes = 1,     // the slot's cgroup says so, or it was seen over its pool's limit
  kLikely = 2,  // died of a SIGKILL that was not ours while the machine killed for memory
};
enum class Limit : std::uint32_t { kNone = 0, kMemory = 1, kProcesses = 2 };

struct WorkerEnded {  // nothing of the worker's process tree is left
  MessageHeader header;
  std::uint32_t pool;
  std::uint32_t slot;
  std::uint32_t generation;
  std::int32_t pid;          // 0: it never began
  std::uint32_t cause;       // EndCause
  std::int32_t wait_status;  // as wait(2) gives it; -1: not known
  std::uint64_t peak_rss_bytes;
  std::uint64_t cpu_ns;
  std::uint32_t out_of_memory;  // OutOfMemory
  std::uint32_t limit;          // Limit of its pool that it went over, and died of
  char message[kTextBytes];     // kStartFailed, or a limit: why, and by what that is known
};
static_assert(sizeof(WorkerEnded) == 56 + kTextBytes);

struct Replayed {  // everything that was there at WELCOME has been told
  MessageHeader header;
};

// ---- The vault: a connection of its own -----------------------------------------------------------------------------

enum class VaultMessageType : std::uint32_t {
  kHello = 64,
  kDrop = 65,
  kKeep = 66,  // both ways: to keep, and what is kept
  kNeed = 67,  // likewise
  kTold = 68,  // from the spawner
};

struct VaultHello {  // first; answered by all that is kept, then VAULT_TOLD
  MessageHeader header;
  std::uint32_t epoch;
  std::uint32_t reserved;
};

struct KeepSegment {  // with the segment's descriptor; followed by type_bytes of its content type
  MessageHeader header;
  std::uint64_t segment;
  std::uint64_t result_of;  // the job of whose result it is a part; 0: an input
  std::uint64_t bytes;
  std::uint32_t owner;  // uid
  std::uint32_t type_bytes;
};
static_assert(sizeof(KeepSegment) == 40);

struct JobRange {  // half-open
  std::uint64_t first;
  std::uint64_t end;
};

struct NeedSegment {  // followed by range_count JobRanges: all jobs known to name the segment, in place of those told
                      // before
  MessageHeader header;
  std::uint64_t segment;
  std::uint32_t range_count;  // at most kNeedRangesMax
  std::uint32_t reserved;
};
static_assert(sizeof(NeedSegment) == 24);
inline constexpr std::size_t kNeedRangesMax = 64;

struct DropSegment {
  MessageHeader header;
  std::uint64_t segment;
};

struct VaultTold {
  MessageHeader header;
};

}  // namespace futured::spawner
