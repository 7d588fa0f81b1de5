// What lies in a slot's shared memory, byte for byte: docs/formats/channel.md.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "base/id.h"
#include "base/limits.h"

namespace futured::channel {

inline constexpr std::uint64_t kMagic = 0x6c6e686364727566;  // "furdchnl"
inline constexpr std::uint32_t kVersion = 2;
inline constexpr std::size_t kHeaderBytes = 4096;  // the tables and the rings begin on pages of their own
inline constexpr std::size_t kCacheLine = 64;

// Every DONE owns this much of the response ring from the moment its RUN is offered.
inline constexpr std::size_t kDoneReserveBytes = 256;
// Half of the response ring belongs to those reserves, half to everything that may wait: emits, and what is longer.
[[nodiscard]] constexpr std::size_t dones_max(std::size_t response_ring_bytes) {
  return response_ring_bytes / 2 / kDoneReserveBytes;
}
// Kept free in the request ring for STOP records, so that a ring full of offers can still be stopped.
inline constexpr std::size_t kStopReserveBytes = 4096;
inline constexpr std::size_t kEmitBytesMax = limits::kInlineBytesMax;  // one EMIT record's data
inline constexpr std::uint32_t kStreamsMax = 4;                        // numbers of streams begin with 1

// A position counts bytes since the generation began and never wraps; its place is position % ring bytes. Records are
// multiples of 8 bytes, so a record header is never split; both ends map a ring twice, back to back, to read across.
using Word32 = std::atomic<std::uint32_t>;
using Word64 = std::atomic<std::uint64_t>;
static_assert(Word32::is_always_lock_free && sizeof(Word32) == 4);
static_assert(Word64::is_always_lock_free && sizeof(Word64) == 8);

struct Header {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t header_bytes;
  std::uint32_t request_ring_bytes;   // powers of two, multiples of the page
  std::uint32_t response_ring_bytes;  // the response ring follows the request ring
  std::uint32_t slot;
  std::uint32_t generation;  // 1 for the slot's first worker
  std::uint32_t run_places;  // of the run table, which follows this page; reply table and rings follow it
  std::uint32_t runs_at_once;

  // One line for each word that has a writer of its own.
  alignas(kCacheLine) Word64 request_published;   // daemon: end of what the worker may read
  alignas(kCacheLine) Word64 request_tail;        // worker: everything before it is finished and reported
  alignas(kCacheLine) Word64 response_published;  // worker: end of what the daemon may read
  alignas(kCacheLine) Word64 response_tail;       // daemon: everything before it is committed
  alignas(kCacheLine) Word32 worker_waiting;      // 1: the worker sleeps on its eventfd for requests
  Word32 worker_wants_room;                       // 1: the worker sleeps on its eventfd for response room
  alignas(kCacheLine) Word32 host_waiting;        // 1: the daemon sleeps on its eventfd for responses
  alignas(kCacheLine) Word32 is_to_blame;         // 1: this slot's job took down a worker that has several slots
  Word32 running;  // place + 1 of the run whose code is at work, where one slot has several; 0: none, or not said
};
static_assert(std::is_standard_layout_v<Header> && sizeof(Header) == 512 && sizeof(Header) <= kHeaderBytes);
static_assert(offsetof(Header, request_published) == 64 && offsetof(Header, request_tail) == 128);
static_assert(offsetof(Header, response_published) == 192 && offsetof(Header, response_tail) == 256);
static_assert(offsetof(Header, worker_waiting) == 320 && offsetof(Header, worker_wants_room) == 324);
static_assert(offsetof(Header, run_places) == 32);
static_assert(offsetof(Header, host_waiting) == 384 && offsetof(Header, is_to_blame) == 448);
static_assert(offsetof(Header, running) == 452);

// How the event loop of a worker with many runs fares, told in the page of the header. Nobody relies on it.
struct LoopFigures {
  struct Slow {
    Word64 job;
    std::atomic<std::int64_t> began_at_ns;  // CLOCK_MONOTONIC
    std::atomic<std::int64_t> took_ns;
  };
  Word64 turns;
  Word32 descriptors;  // waited for
  Word32 timers;
  std::atomic<std::int64_t> lag_ns;  // of the last timer: how long after its time its coroutine went on; -1: none yet
  std::atomic<std::int64_t> lag_max_ns;
  std::atomic<std::int64_t> began_at_ns;  // the code at work (Header::running); 0: none
  Word64 slow_count;                      // ever; the last ones lie in `slow`, a ring
  Slow slow[limits::kSlowStepsKept];
};
inline constexpr std::size_t kLoopFiguresAt = 1024;
static_assert(sizeof(Header) <= kLoopFiguresAt && kLoopFiguresAt + sizeof(LoopFigures) <= kHeaderBytes);

enum class RecordType : std::uint16_t {
  // To the worker.
  kRun = 1,
  kStop = 2,
  // 3 is no record: the answer to a CALL lies in the reply table.
  // From the worker.
  kDone = 16,
  kEmit = 17,
  kProgress = 18,
  kCall = 19,
};

struct RecordHeader {
  std::uint32_t bytes;  // whole record with this header and its padding; a multiple of 8
  std::uint16_t type;   // RecordType
  std::uint16_t flags;
};
static_assert(sizeof(RecordHeader) == 8);

struct WireFence {
  std::uint64_t job;
  std::uint32_t epoch;
  std::uint32_t attempt;
};
static_assert(sizeof(WireFence) == 16);

[[nodiscard]] constexpr WireFence to_wire(const Fence& fence) {
  return {fence.job.value, fence.epoch.value, fence.attempt};
}
[[nodiscard]] constexpr Fence from_wire(const WireFence& wire) {
  return {JobId{wire.job}, Epoch{wire.epoch}, wire.attempt};
}

// The state word of a run: who owns it. OFFERED leaves by one compare-and-swap.
enum class RunState : std::uint32_t {
  kFree = 0,  // no run has this place
  kOffered = 1,
  kTaken = 2,     // by the worker
  kRevoked = 3,   // by the daemon
  kFinished = 4,  // by the worker: its DONE is, or is about to be, published
};

// What both sides know of a run, from its offer until its DONE is read. The daemon gives out the places and takes them
// back: that of a run reported when it has read the DONE, that of one revoked when its RUN has been passed.
struct alignas(kCacheLine) RunPlace {
  WireFence fence;                        // daemon, like `position`; written before state becomes kOffered
  std::uint64_t position;                 // of its RUN in the request ring
  Word32 state;                           // RunState
  Word32 nudges;                          // daemon: another one each time that what this run waits for may be there
  std::atomic<std::int64_t> taken_at_ns;  // CLOCK_MONOTONIC; written before state becomes kTaken
  std::atomic<std::int64_t> alive_at_ns;  // CLOCK_MONOTONIC of its last sign of life; 0: none since it was taken
  std::int64_t run_timeout_ns;            // daemon, as `fence`: from taken_at_ns on; 0: none
};
static_assert(std::is_standard_layout_v<RunPlace> && sizeof(RunPlace) == 64);
static_assert(offsetof(RunPlace, run_timeout_ns) == 48);

// The answer to a run's last CALL, which the next one is written over: a run that calls for ever needs no more room
// than one that calls once. One for each place, by its number.
struct alignas(kCacheLine) ReplyPlace {
  Word64 number;      // of the call that is answered; 0 while it is written over
  WireFence fence;    // of the run, for a place has one run after the other
  std::uint64_t job;  // the job that was made; 0: refused
  std::uint32_t class_bytes;
  std::uint32_t message_bytes;
  char text[728];  // class and message, without gaps
};
static_assert(std::is_standard_layout_v<ReplyPlace> && sizeof(ReplyPlace) == 768);
static_assert(offsetof(ReplyPlace, text) == 40);

[[nodiscard]] constexpr std::size_t whole_pages(std::size_t bytes) {
  return (bytes + kHeaderBytes - 1) / kHeaderBytes * kHeaderBytes;
}
// The run table's bytes, and those of both tables: the reply table follows it.
[[nodiscard]] constexpr std::size_t run_table_bytes(std::uint32_t run_places) {
  return whole_pages(run_places * sizeof(RunPlace));
}
[[nodiscard]] constexpr std::size_t table_bytes(std::uint32_t run_places) {
  return run_table_bytes(run_places) + whole_pages(run_places * sizeof(ReplyPlace));
}

inline constexpr std::uint16_t kRunPayloadInDescriptor = 1;  // the first descriptor is a sealed memfd with the payload
inline constexpr std::uint16_t kRunFollow = 2;               // somebody watches: EMIT output as it comes

struct RunRecord {  // followed by payload_bytes of payload, unless it lies in a descriptor
  RecordHeader header;
  WireFence fence;
  std::uint32_t place;  // in the run table
  std::uint32_t task;
  std::uint32_t payload_bytes;
  std::uint32_t descriptor_count;  // sent beside the record, in one packet tagged with its position
};
static_assert(std::is_standard_layout_v<RunRecord> && sizeof(RunRecord) == 40);

enum class StopReason : std::uint32_t { kCancel = 1, kTimeout = 2, kSoftTimeout = 3, kShutdown = 4 };

struct StopRecord {
  RecordHeader header;
  WireFence fence;
  std::uint32_t reason;  // StopReason
  std::uint32_t reserved;
};
static_assert(sizeof(StopRecord) == 32);

// How a run ended, as far as the worker can tell.
enum class DoneStatus : std::uint32_t {
  kSucceeded = 1,
  kTaskError = 2,      // the task returned or threw an error
  kBadPayload = 3,     // the payload could not be read as what the task takes
  kUnknownTask = 4,    // this worker has no such task
  kCommandFailed = 5,  // the command ended with an exit code other than 0, or by a signal
  kStartFailed = 6,    // the command could not be started: no such program, not executable, …
  kStopped = 7,        // it heeded its stop
  kWorkerError = 8,    // the worker itself failed: lost descriptors, …
  kResultTooLarge = 9,
  kOutOfMemory = 10,  // the task could get no memory, or the command was killed for want of it
};
[[nodiscard]] constexpr bool is_done_status(std::uint32_t value) { return value >= 1 && value <= 10; }

inline constexpr std::uint16_t kDoneResultInDescriptor = 1;  // the first descriptor is a sealed memfd with the result
inline constexpr std::uint16_t kDoneNoRetry = 2;             // the task says that another attempt is pointless
inline constexpr std::uint16_t kDoneMessageCut = 4;          // the error message did not fit whole
inline constexpr std::uint16_t kDoneStacksKept = 8;          // the run's stacks lie in the spool directory

struct DoneRecord {  // followed by class, message, result, without gaps
  RecordHeader header;
  WireFence fence;
  std::int64_t started_at_ns;  // CLOCK_MONOTONIC
  std::int64_t finished_at_ns;
  std::uint64_t cpu_ns;          // user and system; of a command: of its whole tree that was waited for
  std::uint64_t peak_rss_bytes;  // 0: not known
  std::uint32_t status;          // DoneStatus
  std::int32_t exit_code;        // of a command; 0 otherwise
  std::int32_t signal;           // that ended the command; 0: none
  std::uint32_t class_bytes;
  std::uint32_t message_bytes;
  std::uint32_t result_bytes;             // inline; 0 with kDoneResultInDescriptor
  std::uint32_t descriptor_count;         // sent beside the record, in one packet tagged with its position
  std::uint32_t retry_after_ms;           // what the task asks for; 0: the job's own backoff
  std::uint64_t descriptor_result_bytes;  // with kDoneResultInDescriptor
};
static_assert(std::is_standard_layout_v<DoneRecord> && sizeof(DoneRecord) == 96);
static_assert(sizeof(DoneRecord) < kDoneReserveBytes);

struct EmitRecord {  // followed by data_bytes
  RecordHeader header;
  WireFence fence;
  std::uint64_t offset;  // of the data in its stream: what was dropped shows as a gap
  std::uint32_t stream;  // 1 stdout, 2 stderr, 3 chunks of a task, 4 its log
  std::uint32_t data_bytes;
};
static_assert(sizeof(EmitRecord) == 40);

struct ProgressRecord {  // followed by message_bytes
  RecordHeader header;
  WireFence fence;
  std::uint64_t done;
  std::uint64_t total;  // 0: not known
  std::uint32_t message_bytes;
  std::uint32_t reserved;
};
static_assert(sizeof(ProgressRecord) == 48);

// The packet that carries a record's descriptors over the slot's descriptor socket, in the order of the records.
inline constexpr std::uint32_t kTagMagic = 0x67617464;  // "dtag"
struct DescriptorTag {
  std::uint32_t magic;
  std::uint32_t count;
  std::uint64_t position;  // of the record, in its ring
  WireFence fence;
};
static_assert(sizeof(DescriptorTag) == 32);

// memcpy for what may be empty: then `from` may be null, which memcpy itself forbids.
inline void copy_bytes(char* to, std::string_view from) {
  if (!from.empty()) std::memcpy(to, from.data(), from.size());
}

[[nodiscard]] constexpr std::size_t padded(std::size_t bytes) { return (bytes + 7) & ~std::size_t{7}; }

}  // namespace futured::channel
