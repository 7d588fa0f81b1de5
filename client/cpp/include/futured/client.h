// Client: a connection to a futured daemon. Include this one; it brings the rest.
//
//   auto client = futured::client::Client::connect("unix:/run/futured/futured.sock");
//   auto future = client.executor().submit("sha256", "some bytes");
//   std::cout << future.result() << "\n";
#pragma once

#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "futured/admin.h"
#include "futured/array_file.h"
#include "futured/errors.h"
#include "futured/executor.h"
#include "futured/future.h"
#include "futured/schedule.h"
#include "futured/segments.h"
#include "futured/types.h"

namespace futured::client {

class ClientState;

struct ConnectOptions {
  Milliseconds connect_timeout{5'000};     // until the daemon has answered once
  Milliseconds reconnect_timeout{30'000};  // after a break; then what is open ends as Unavailable
  // Called while the daemon cannot be reached, before each further try, on whichever thread tries: may start one. Must
  // not throw, nor use the client.
  std::function<void()> when_unreachable;
  // What a done callback threw. Called on the callback thread; by default a line on standard error.
  std::function<void(const Future&, std::exception_ptr)> on_callback_error;
};

// kEmitted: the chunks that a task streams. kLog: its log lines.
enum class OutputKind : std::uint8_t { kAll, kStdout, kStderr, kEmitted, kLog };

// What a running task says of its progress.
struct ProgressReport {
  std::uint32_t attempt = 0;
  double fraction = 0;  // 0 to 1
  std::string message;
};

// A running job with a Timeouts::heartbeat was alive.
struct Heartbeat {
  std::uint32_t attempt = 0;
  std::int64_t alive_us = 0;  // its last sign of life, Unix time
};

struct OutputOptions {
  OutputKind kind = OutputKind::kAll;
  std::uint32_t attempt = 0;  // 0 = the last
  bool follow = false;        // until the job has ended
  std::uint64_t tail_bytes = 0;
  std::uint64_t stdout_offset = 0;  // begin there, in that attempt; a later attempt begins at its beginning
  std::uint64_t stderr_offset = 0;
  std::uint64_t emitted_offset = 0;
  std::uint64_t log_offset = 0;
  std::function<void(const ProgressReport&)> on_progress;  // set: reports are sent too; the latest where they are many
  // Set: signs of life of a job with a Timeouts::heartbeat are sent too, as the daemon looks for them.
  std::function<void(const Heartbeat&)> on_heartbeat;
  std::stop_token stop;  // ends the reading, as a sink that returns false does
};

struct OutputChunk {
  OutputKind kind = OutputKind::kStdout;
  std::uint32_t attempt = 0;
  std::uint64_t offset = 0;
  std::uint64_t dropped_bytes = 0;  // missing before `bytes`: over the bound of what is kept
  std::string_view bytes;           // valid during the call
};

// A job's output piece by piece, as an input range. For one thread. A break of the connection is mended within the
// reconnect timeout, without loss or repetition.
//
//   for (const OutputStream::Piece& piece : client.stream(id)) std::cout << piece.bytes;
class OutputStream {
 public:
  struct Piece {
    OutputKind kind = OutputKind::kEmitted;
    std::uint32_t attempt = 0;
    std::uint64_t offset = 0;
    std::uint64_t dropped_bytes = 0;  // missing before `bytes`
    std::string bytes;
  };

  OutputStream(OutputStream&&) noexcept;
  OutputStream& operator=(OutputStream&&) noexcept;
  ~OutputStream();

  // Waits for the next piece; nothing when the job has ended and all of it was given. Throws Error.
  [[nodiscard]] std::optional<Piece> next();
  // How the job ended, once next() has given nothing; without result.
  [[nodiscard]] const Outcome& outcome() const;

  using Iterator = InputIterator<OutputStream, Piece>;
  [[nodiscard]] Iterator begin() { return Iterator(this); }
  [[nodiscard]] static std::default_sentinel_t end() { return {}; }

 private:
  friend class Client;
  class State;
  explicit OutputStream(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

struct WatchOptions {
  JobFilter filter;                // of job events; served: states, causes, queue, task, name, owner_uid
  std::vector<std::uint64_t> ids;  // of job events; empty = any
  bool progress = false;           // also: what tasks report; of what one reports in quick succession, the last
  bool heartbeats = false;         // also: that jobs with a Timeouts::heartbeat are alive, as the daemon looks for it
  bool queues = false;             // also: a queue was made, paused or resumed
  bool workers = false;            // also: a worker came or ended
  std::uint32_t epoch = 0;         // go on behind this event; 0 and 0 = from now on
  std::uint64_t sequence = 0;
  bool from_start = false;  // from the first event that the daemon has kept; without epoch and sequence
};

// What a job waits for.
struct Why {
  std::string text;            // one line
  std::uint64_t position = 0;  // among the jobs of its queue that go to its pool; 1 = next, 0 = it is not queued
  bool is_position_estimated = false;
};

// Consecutive ids.
struct KeyedJobs {
  std::uint64_t first_id = 0;
  std::uint32_t count = 0;
};

// A job came into a state. Or the state is as it was, and its task says how far it is (`report`), or it was found alive
// (`heartbeat`).
struct JobEvent {
  std::uint64_t id = 0;
  JobState state = JobState::kUnknown;
  std::uint32_t attempt = 0;
  std::string queue;
  std::string task;  // "" = a command
  std::string name;
  std::uint32_t owner_uid = 0;
  Cause cause;
  std::optional<ProgressReport> report;
  std::optional<Heartbeat> heartbeat;
};

// A queue was made, paused or resumed.
struct QueueEvent {
  std::string queue;
  std::string discipline;  // "FIFO", "LIFO", "PRIORITY"
  bool paused = false;
};

// A worker came; or it and all that it had started are gone.
struct WorkerEvent {
  std::string pool;
  std::uint32_t slot = 0;
  std::uint64_t generation = 0;
  int pid = 0;
  bool ended = false;
  int exit_code = 0;  // ended
  int signal = 0;     // ended; 0 = it exited
};

// Sequence numbers ascend by one within an epoch, over everything that happens. A gap is told with the first event
// behind it; while there is none, at once and alone, as std::monostate: only that events are gone is known, which may
// have been the last ones of a job that is watched. Client::job tells how that stands.
struct Event {
  std::uint32_t epoch = 0;
  std::uint64_t sequence = 0;
  std::int64_t time_us = 0;  // microseconds since 1970 UTC; of a gap that is told alone, 0
  bool gap = false;          // some events before this one are gone
  std::variant<std::monostate, JobEvent, QueueEvent, WorkerEvent> what;
};

// Copyable handle, safe from any thread; the connection closes with the last copy, once what was submitted has been
// acknowledged. A process that forks must connect anew in the child: a client carried over refuses, and may be let go
// of. Every call may throw Error (errors.h): Unavailable when the daemon cannot be reached, else what it refused and
// why.
class Client {
 public:
  // Address: "unix:/path", "/path" or "host:port"; "" = $FUTURED_ADDRESS, else the system's socket, else the user's.
  [[nodiscard]] static Client connect(const std::string& address = {}, const ConnectOptions& options = {});

  [[nodiscard]] Executor executor(JobOptions options = {}) const;

  // The future of any job, of whatever client or life of the daemon. An id that was never given out shows when
  // somebody waits (Error of kind kNotFound).
  [[nodiscard]] Future future(std::uint64_t id) const;
  [[nodiscard]] std::vector<Future> futures(std::span<const std::uint64_t> ids) const;

  // The jobs that an idempotency key of this user stands for. Error of kind kNotFound when it was never used.
  [[nodiscard]] KeyedJobs find(const std::string& key) const;

  // Until everything submitted so far has been acknowledged or refused.
  void flush() const;

  // ---- Jobs
  [[nodiscard]] JobInfo job(std::uint64_t id, bool details = false) const;
  [[nodiscard]] JobPage jobs(const JobFilter& filter, std::uint32_t page_size = 100, const std::string& page_token = {},
                             bool oldest_first = false) const;
  std::vector<CancelEntry> cancel(std::span<const std::uint64_t> ids, const CancelOptions& options = {}) const;
  std::vector<RetryEntry> retry(std::span<const std::uint64_t> ids) const;
  // Of the jobs that have not ended, those that the filter chooses; it must choose by something. The caller's own, or
  // for root and the daemon's user everybody's. Those of after the call are not among them.
  CancelCounts cancel(const JobFilter& filter, const CancelOptions& options = {}) const;
  // Likewise of the jobs that ended without success and were not retried.
  std::vector<RetryEntry> retry(const JobFilter& filter) const;
  // The outcome with all bytes of its result. Error of kind kFailedPrecondition when the job has not ended.
  [[nodiscard]] Outcome result(std::uint64_t id) const;
  // Calls `sink` for every piece until the end, or until it returns false or throws. Returns the outcome when the job
  // has ended, else one of state kUnknown. Resumes by itself, without loss or repetition, when the connection breaks.
  Outcome read_output(std::uint64_t id, const OutputOptions& options,
                      const std::function<bool(const OutputChunk&)>& sink) const;
  // The same as a range, until the job has ended; what a task emits, unless another kind is asked for.
  [[nodiscard]] OutputStream stream(std::uint64_t id, OutputKind kind = OutputKind::kEmitted,
                                    std::uint64_t offset = 0) const;
  // Calls `sink` for every event until it returns false or throws. `ready` is called when the watch is in
  // place, `caught_up` when `sink` was given all that had happened by then; neither again when it resumes, by itself,
  // behind the last event that `sink` was given.
  void watch(const WatchOptions& options, const std::function<bool(const Event&)>& sink,
             const std::function<void()>& ready = {}, const std::function<void()>& caught_up = {}) const;
  [[nodiscard]] Why why(std::uint64_t id) const;

  // ---- Completion callbacks: what the daemon does when jobs have ended (CompletionCallback in types.h)
  // Of a job that has ended already, it is delivered at once.
  // `batch_jobs`: once, when so many jobs, from `job` on, have all ended; 0 = that job alone.
  CallbackInfo add_callback(std::uint64_t job, const CompletionCallback& callback, std::uint32_t batch_jobs = 0) const;
  // job 0: of any job, those that are due or were added after the submit. `states`: see CallbackInfo; empty: any.
  [[nodiscard]] CallbackPage callbacks(std::uint64_t job, const std::vector<std::string>& states = {},
                                       std::uint32_t page_size = 100, const std::string& page_token = {}) const;
  // Delivers again, from the first attempt on; returns how many. Without ids: all of this user's that failed.
  std::uint64_t replay_callbacks(std::span<const std::uint64_t> ids = {}) const;

  // ---- Segments: large payloads and results, without a copy on the daemon's own machine; over TCP they are sent.
  // Hands filled memory over. The daemon keeps it until drop(), until this client closes, or until the last job that
  // names it has ended, whichever is last. Over TCP it also lets one go that was neither put nor read for an hour while
  // no job names it. dtype and shape make it an array.
  [[nodiscard]] Segment put(SegmentBuffer buffer, std::string_view dtype = {},
                            std::vector<std::int64_t> shape = {}) const;
  // Copies once, into shared memory, and hands that over.
  [[nodiscard]] Segment put(std::span<const std::byte> bytes, std::string_view dtype = {},
                            std::vector<std::int64_t> shape = {}) const;
  template <typename T>
  [[nodiscard]] Segment put(const Array<const T>& array) const {
    return put(std::as_bytes(array.elements()), dtype_of<T>(), {array.shape().begin(), array.shape().end()});
  }
  // A buffer whose elements are all of it: a one-dimensional array.
  template <typename T>
  [[nodiscard]] Segment put_array(SegmentBuffer buffer) const {
    const auto elements = static_cast<std::int64_t>(buffer.bytes().size() / sizeof(T));
    return put(std::move(buffer), dtype_of<T>(), {elements});
  }
  // Rows [begin, end) of an array in a file, without `end` up to the last: read, or decompressed, straight into shared
  // memory. Of a compressed file only the blocks are read that hold some of them.
  //
  //   executor.submit("sum", {part_of(client.put(ArrayFile("x.npy"), 0, 1000))});
  [[nodiscard]] Segment put(const ArrayFile& file, std::uint64_t begin = 0,
                            std::optional<std::uint64_t> end = {}) const;
  // Sends bytes to the daemon's disk, once for many jobs: they outlive this client, the daemon and the machine, until
  // drop(), or until nobody has named them for an hour; jobs that name them keep them beyond that. The same bytes again
  // are the same segment. Throws Error of kind kResourceExhausted when the disk, or this user's share of it, is full.
  //
  //   const StoredSegment table = client.store(bytes);
  //   executor.submit("lookup", {part_of(table.segment), …});
  [[nodiscard]] StoredSegment store(std::span<const std::byte> bytes, std::string_view dtype = {},
                                    std::vector<std::int64_t> shape = {}) const;
  template <typename T>
  [[nodiscard]] StoredSegment store(const Array<const T>& array) const {
    return store(std::as_bytes(array.elements()), dtype_of<T>(), {array.shape().begin(), array.shape().end()});
  }
  [[nodiscard]] StoredSegment store(const ArrayFile& file) const;
  // What this user has stored, by its digest. Throws Error of kind kNotFound.
  [[nodiscard]] StoredSegment find_stored(const std::string& digest) const;
  void drop(const Segment& segment) const;
  [[nodiscard]] MappedBytes map(const Segment& segment) const;
  // A part of an ended job's result. Mapped where it is a segment; a small one, and any over TCP, is fetched.
  [[nodiscard]] MappedBytes map_result(std::uint64_t id, std::uint32_t part = 0) const;

  // ---- Queues, pools, workers, the daemon
  [[nodiscard]] std::vector<QueueInfo> queues() const;
  [[nodiscard]] QueueInfo queue(const std::string& name) const;
  // One that exists is told, if its options are the same; else kAlreadyExists.
  QueueInfo create_queue(const std::string& name, const QueueOptions& options = {}) const;
  // Takes over the options that `fields` names, as futured.v1.QueueOptions does: "rate", "queued_jobs_max", ….
  QueueInfo update_queue(const std::string& name, const QueueOptions& options,
                         const std::vector<std::string>& fields) const;
  QueueInfo drain_queue(const std::string& name) const;  // refuses new jobs, until it is resumed
  // Cancels what is queued, and says how many that were. When the daemon ends meanwhile, the rest is still queued.
  std::uint64_t purge_queue(const std::string& name) const;
  // To another queue, as far as they have not begun. Refused when it has no room for them; a later part of many may be,
  // and MoveReport::refused says so.
  MoveReport move_jobs(std::span<const std::uint64_t> ids, const std::string& to) const;
  MoveReport move_queue(const std::string& from, const std::string& to) const;  // all that it has
  void delete_queue(const std::string& name) const;  // kFailedPrecondition while it has unfinished jobs
  QueueInfo pause_queue(const std::string& name) const;
  QueueInfo resume_queue(const std::string& name) const;
  SemaphoreInfo set_semaphore(const std::string& name, std::uint32_t permits) const;  // makes or resizes
  [[nodiscard]] std::vector<SemaphoreInfo> semaphores() const;
  void delete_semaphore(const std::string& name) const;  // refused while jobs need it
  // ---- The result cache. `task` "" = all. Of the caller's; root and the daemon's own user see everybody's.
  [[nodiscard]] std::vector<CacheEntryInfo> cache_entries(const std::string& task = {}) const;  // newest first
  [[nodiscard]] CacheStatsInfo cache_stats() const;
  std::uint64_t clear_cache(const std::string& task = {}) const;  // how many entries went
  std::uint64_t clear_cache(const CacheSelection& selection) const;
  // ---- Named events, which jobs wait for (JobOptions::when). One that is set stays so until it is cleared.
  NamedEventInfo set_event(const std::string& name) const;
  NamedEventInfo clear_event(const std::string& name) const;
  [[nodiscard]] std::vector<NamedEventInfo> named_events() const;  // those that are set or waited for
  // ---- Schedules. Those that name one throw Error(kNotFound) when there is none.
  Schedule put_schedule(const Schedule& schedule) const;  // new, or in the place of the one with its name
  [[nodiscard]] Schedule schedule(const std::string& name) const;
  [[nodiscard]] std::vector<Schedule> schedules() const;
  Schedule pause_schedule(const std::string& name) const;
  Schedule resume_schedule(const std::string& name) const;
  void delete_schedule(const std::string& name) const;
  // µs since 1970; at most 1,000.
  [[nodiscard]] std::vector<std::int64_t> next_firings(const std::string& name, std::uint32_t count) const;

  [[nodiscard]] std::vector<PoolInfo> pools() const;
  // Loads its plugins anew; running jobs finish on those of before. Returns when the pool's next workers have the new
  // ones. Throws Error(kFailedPrecondition) when they do not load: then all is as it was.
  PoolInfo reload_pool(const std::string& name) const;
  [[nodiscard]] PoolInfo pool(const std::string& name) const;  // throws Error(kNotFound) when there is none
  // Of one pool, or of all. Measuring memory and CPU time costs the daemon up to a millisecond a worker.
  [[nodiscard]] std::vector<WorkerInfo> workers(const std::string& pool = {}, bool measure_memory = true) const;
  [[nodiscard]] DaemonInfo info() const;
  [[nodiscard]] Statistics stats() const;
  // The daemon's event loops. Told even while one of them hangs, unless it is gRPC's.
  [[nodiscard]] std::vector<LoopInfo> debug_loops() const;
  ShutdownInfo shutdown(bool spawner, Milliseconds grace) const;

  [[nodiscard]] const std::string& address() const;

 private:
  explicit Client(std::shared_ptr<ClientState> state) : state_(std::move(state)) {}

  std::shared_ptr<ClientState> state_;
};

// Where Client::connect("") goes. The user's own: $XDG_RUNTIME_DIR/futured.sock, else /tmp/futured-UID/futured.sock.
[[nodiscard]] std::string default_address();
[[nodiscard]] std::string user_socket_path();
inline constexpr std::string_view kSystemSocketPath = "/run/futured/futured.sock";

}  // namespace futured::client
