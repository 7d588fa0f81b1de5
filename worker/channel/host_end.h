// The daemon's end of a channel: offers runs, revokes them, reads what the worker says.
//
// One thread. Every byte that the worker can write is read once into private memory, checked, and only then used. What
// cannot be true breaks the channel: broken() says why, nothing more is offered or read, and the owner kills the
// worker.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/time.h"
#include "worker/channel/call.h"
#include "worker/channel/channel.h"

namespace futured::channel {

struct RunRequest {
  Fence fence;
  std::uint32_t task = 0;
  bool follow = false;
  std::string_view payload;  // encoded parts; above limits::kInlineBytesMax it is copied once, into a sealed memfd
  int payload_memfd = -1;    // or a sealed memfd that holds them already; still the caller's
  std::uint32_t payload_memfd_bytes = 0;
  Duration run_timeout{0};  // told to the task; 0: none
  std::span<const int> descriptors =
      {};  // the payload's segments, in the order of its kSegment parts; still the caller's
};

// How far responses have been read, up to the first call without an answer. Given back to release() once everything
// before it is committed.
struct Cursor {
  std::uint32_t generation = 0;
  std::uint64_t position = 0;
  std::uint64_t dones = 0;
};

// Views and descriptors hold until the next read(); descriptors may be moved out.
struct Done {
  Fence fence;
  DoneStatus status = DoneStatus::kWorkerError;
  Instant started_at;
  Instant finished_at;
  std::uint64_t cpu_ns = 0;
  std::uint64_t peak_rss_bytes = 0;
  std::int32_t exit_code = 0;
  std::int32_t signal = 0;
  bool no_retry = false;
  std::uint32_t retry_after_ms = 0;  // 0: not said
  bool message_cut = false;
  bool stacks_kept = false;
  std::string_view error_class;
  std::string_view error_message;
  std::string_view result;     // encoded parts, wherever they came from; not yet decoded by anyone
  Fd* result_memfd = nullptr;  // set when the result came in a sealed memfd of exactly result.size() bytes or more
  std::span<Fd> descriptors;   // the result's segments
};

struct Emit {
  Fence fence;
  std::uint32_t stream = 0;
  std::uint64_t offset = 0;
  std::string_view data;
};

struct Progress {
  Fence fence;
  std::uint64_t done = 0;
  std::uint64_t total = 0;
  std::string_view message;
};

// Answered once, with HostEnd::answer(). Until then nothing from it on is released, so that the next daemon reads it.
struct Call {
  CallId id;
  std::string_view request;  // encoded, and sound (base/child.h, base/wait_call.h)
};

using Response = std::variant<Done, Emit, Progress, Call>;

enum class Read { kResponse, kNothing, kBroken };

// The oldest run that is neither finished nor revoked.
struct Head {
  Fence fence;
  RunState state = RunState::kOffered;
  Instant taken_at;  // unless kOffered
  Instant alive_at;  // its last sign of life; 0: none since it was taken
};

enum class Revoked {
  kYes,      // it will not run; its room comes back when the worker passes it
  kTaken,    // too late: its DONE is on the way
  kUnknown,  // no such run is offered here
};

class HostEnd {
 public:
  // For a fresh channel and for one that another daemon left: then recovered() lists the runs that it offered, and
  // read() begins with the first response that it did not release.
  [[nodiscard]] static Result<HostEnd> attach(ChannelFds fds);

  [[nodiscard]] const std::vector<Head>& recovered() const { return recovered_; }

  // Appends without publishing. False: no room in the ring, for its DONE, or for its descriptors; nothing has changed,
  // and wants_room() is true until an offer is taken again. A fence must not be on offer here already.
  [[nodiscard]] bool offer(const RunRequest& request);
  // Asks a run to stop. False: no room even in what is kept for stops.
  [[nodiscard]] bool stop(const Fence& fence, StopReason reason);
  // Shows the worker what was appended: one store, and one eventfd write if it sleeps.
  void publish();
  [[nodiscard]] Revoked revoke(const Fence& fence);

  [[nodiscard]] std::optional<Head> head();
  // Runs that were taken since the last call, oldest first; for a worker that has many at once. A worker takes in the
  // order of the offers, so what it takes out of turn is told late.
  [[nodiscard]] std::vector<Head> newly_taken();
  // The run whose code the worker says it is at; of a broken channel, the one that it was at then.
  [[nodiscard]] std::optional<Fence> running() const;
  // Its fence, whatever stands in shared memory: for when a broken channel does not say what was running.
  [[nodiscard]] std::optional<Fence> oldest() const;
  [[nodiscard]] std::optional<Head> find(const Fence& fence);
  [[nodiscard]] std::size_t outstanding() const { return outstanding_; }  // offered or taken, without a DONE read
  [[nodiscard]] bool wants_room() const { return wants_room_; }

  // The next response. kNothing also while a DONE's descriptors are still on their way.
  [[nodiscard]] Read read(Response& response);
  [[nodiscard]] Cursor cursor() const;
  // Frees everything before `cursor` for the worker. Older cursors, and those of other generations, change nothing.
  void release(const Cursor& cursor);
  [[nodiscard]] bool all_released() const { return released_ == cursor().position; }

  // Answers a call, at once and with the wake-up. One that is not open, or was given up by its run, changes nothing.
  void answer(const CallId& id, const Answer& answer);
  // An earlier daemon did, so what was asked for is on disk, or refused; it only died before it had released the call.
  [[nodiscard]] bool has_answer(const CallId& id);
  // What this run waits for may be there: wakes it, so that it asks. attach() does so to all that it finds taken, for
  // what they had asked an earlier daemon is known to this one only when they ask again.
  void nudge(const Fence& fence);

  // Before sleeping on wake_fd(): false when something can be read already.
  [[nodiscard]] bool arm();
  [[nodiscard]] int wake_fd() const { return fds_.to_host.get(); }

  [[nodiscard]] bool is_broken() const { return !broken_.empty(); }
  [[nodiscard]] const std::string& broken() const { return broken_; }
  [[nodiscard]] std::uint32_t generation() const { return map_.generation(); }
  [[nodiscard]] bool runs_many() const { return map_.runs_at_once() > 1; }

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Offer {  // of the place with its number
    Fence fence;
    std::uint64_t position = 0;
    std::uint32_t older = kNone;  // neighbours among the open ones, by the order of the offers
    std::uint32_t newer = kNone;
    bool open = false;       // neither finished nor revoked
    bool taken = false;      // the worker was seen to have it, which no later state may deny
    std::uint64_t call = 0;  // its last one that was read
  };
  struct OpenCall {
    CallId id;
    Cursor before;
    bool is_answered = false;
  };
  struct Passing {  // a revoked run, whose RUN lies in the ring until the worker has passed it
    std::uint64_t position = 0;
    std::uint32_t place = 0;
  };
  struct Arrived {  // a packet that lies in the socket until its record is released
    DescriptorTag tag;
    std::vector<Fd> descriptors;
  };
  enum class Fetched { kYes, kNotYet, kBroken };

  HostEnd(ChannelFds fds, ChannelMap map) : fds_(std::move(fds)), map_(std::move(map)) {}

  [[nodiscard]] Status recover();
  [[nodiscard]] Status recover_requests(std::uint64_t tail);
  [[nodiscard]] Status recover_places();
  void fail(std::string why);
  [[nodiscard]] std::optional<Fence> said_to_run() const;
  [[nodiscard]] bool request_room(std::size_t bytes, std::size_t keep_free);
  [[nodiscard]] bool see_request_tail();
  [[nodiscard]] bool has_free_place();
  void free_place(std::uint32_t place);
  [[nodiscard]] std::optional<Head> look(std::uint32_t place);
  [[nodiscard]] std::uint32_t find_open(const Fence& fence) const;  // its place; kNone
  void open(std::uint32_t place, const Fence& fence, std::uint64_t position);
  void close(std::uint32_t place);

  [[nodiscard]] std::optional<std::uint64_t> published_responses();
  [[nodiscard]] Read parse(const RecordHeader& header, Response& response);
  [[nodiscard]] Read parse_done(const RecordHeader& header, Response& response);
  [[nodiscard]] Read parse_emit(const RecordHeader& header, Response& response);
  [[nodiscard]] Read parse_progress(const RecordHeader& header, Response& response);
  [[nodiscard]] Read parse_call(const RecordHeader& header, Response& response);

  // host_call.cc
  [[nodiscard]] bool take_number(const CallId& id);
  static void write_reply(ReplyPlace& reply, const CallId& id, const Answer& answer);
  void wake_worker();
  template <typename Record>
  [[nodiscard]] bool copy_fixed(const RecordHeader& header, Record& record);
  [[nodiscard]] bool copy_variable(const RecordHeader& header, std::size_t fixed, std::uint64_t variable);
  [[nodiscard]] bool is_expected(const Fence& fence);
  [[nodiscard]] Fetched fetch(const DoneRecord& record);
  [[nodiscard]] Fetched peek_one();
  void drop_packet();

  ChannelFds fds_;
  ChannelMap map_;
  std::string broken_;
  std::optional<Fence> running_at_break_;

  std::vector<Offer> offers_;
  std::uint32_t oldest_ = kNone;
  std::uint32_t newest_ = kNone;
  std::uint32_t untold_ = kNone;                               // the oldest that newly_taken() has not told
  std::unordered_map<std::uint64_t, std::uint32_t> place_of_;  // by job, of open ones: only where there may be many
  std::vector<std::uint32_t> free_places_;
  std::vector<Passing> passing_;
  std::size_t outstanding_ = 0;
  std::uint64_t appended_ = 0;
  std::uint64_t published_ = 0;
  std::uint64_t request_tail_ = 0;  // last seen
  bool wants_room_ = false;
  std::vector<Head> recovered_;

  std::uint64_t cursor_ = 0;
  std::uint64_t released_ = 0;
  std::uint64_t dones_read_ = 0;
  std::uint64_t dones_released_ = 0;
  std::uint64_t response_seen_ = 0;    // last seen end of the responses
  std::uint64_t recovered_until_ = 0;  // responses before it may name runs that have left the request ring
  bool awaits_descriptors_ = false;
  std::deque<OpenCall> calls_;  // from the first without an answer on

  std::deque<Arrived> arrived_;
  std::string scratch_;  // private copy of a record's variable part
  SealedView result_view_;
};

}  // namespace futured::channel
