// The worker's end of a channel: takes runs, reports their outcomes.
//
// One thread calls next(), try_next(), arm() and take(); done(), the emits and stop_requested() may be called by any.
// The worker trusts the daemon, but checks bounds, so that a damaged ring ends the worker and does not mislead it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "worker/channel/call.h"
#include "worker/channel/channel.h"

namespace futured::channel {

// One offered run. The payload lies in shared memory and may be read until done(); a Run is kept until then.
struct Run {
  Fence fence;
  std::uint32_t task = 0;
  bool follow = false;
  std::string_view payload;     // encoded parts; after take() also when it came by descriptor
  std::vector<Fd> descriptors;  // after take(): the payload's segments, in the order of its kSegment parts
  Instant taken_at;             // after take()
  Duration run_timeout{0};      // from then on; 0: none
  StopReason stop{};            // Intake::kStop only: `fence` is to stop for this

  // For the channel only.
  std::uint64_t position = 0;
  std::uint32_t place = 0;
  bool is_detached = false;
  std::vector<char> own_payload;
  std::uint32_t descriptor_count = 0;
  bool payload_in_descriptor = false;
  std::uint32_t payload_bytes = 0;
  SealedView payload_view;
};

struct Outcome {
  DoneStatus status = DoneStatus::kSucceeded;
  Instant started_at;   // unset: when it was taken
  Instant finished_at;  // unset: now
  std::uint64_t cpu_ns = 0;
  std::uint64_t peak_rss_bytes = 0;
  std::int32_t exit_code = 0;
  std::int32_t signal = 0;
  bool no_retry = false;
  std::uint32_t retry_after_ms = 0;  // 0: not said
  bool stacks_kept = false;          // in the spool directory: docs/formats/stacks.md
  std::string_view error_class;      // cut to limits::kErrorClassBytesMax
  std::string_view error_message;    // cut to limits::kErrorMessageBytesMax
  std::string_view result;           // encoded parts; goes by memfd when it does not fit the ring
  std::span<const int> descriptors =
      {};  // the result's segments, in the order of its kSegment parts; still the caller's
};

enum class Intake {
  kRun,      // `run` is filled in; take() it
  kStop,     // hand_out_stops() only: `run` names a run, taken or over, that is to stop
  kNothing,  // try_next() only: no request is waiting
  kEnded,    // the spawner is gone or wants this worker gone: exit
  kBroken,   // the request ring makes no sense: exit
};

enum class Take {
  kTaken,
  kRevoked,     // the daemon took it back: go on with the next one
  kUnreadable,  // taken, but its descriptors or payload did not arrive: done() it with kWorkerError
};

class WorkerEnd {
 public:
  // `lifeline`: the read end whose end of file tells this worker to exit.
  [[nodiscard]] static Result<WorkerEnd> attach(ChannelFds fds, Fd lifeline);
  WorkerEnd(WorkerEnd&&) noexcept;
  ~WorkerEnd();

  // The next offered run, in order. Blocks; no system call while there is work. Blocks also until results that the
  // descriptor socket had no room for are on their way.
  [[nodiscard]] Intake next(Run& run);
  [[nodiscard]] Intake try_next(Run& run);

  // For workers with an event loop of their own: arm(), and when it says true, sleep on wake_fd() (readable) and
  // lifeline_fd() (end of file); then disarm() and try_next() or stop_requested(). False: requests are waiting already.
  [[nodiscard]] bool arm();
  // The same for a run that sleeps until it is stopped: offers that wait behind it do not count. False: something came
  // that stop_requested() has not looked at.
  [[nodiscard]] bool arm_for_stop();
  void disarm();
  [[nodiscard]] int wake_fd() const;
  [[nodiscard]] int lifeline_fd() const;

  // Claims an offered run and fetches what came beside it. One compare-and-swap when nothing did.
  [[nodiscard]] Take take(Run& run);

  // For a worker that has many runs at once. A taken run no longer needs its record: its payload is copied, and what
  // lies behind it in the ring no longer waits for its end.
  void detach(Run& run);
  // From now on next() and try_next() hand out stops, in their order among the runs; stop_requested() knows only of
  // those that were not handed out yet.
  void hand_out_stops();
  // Whose code is at work, for who looks when the worker has died: one store. Null: nobody's.
  void note_running(const Run* run);
  [[nodiscard]] LoopFigures& loop_figures();

  // This slot's job is what ends the worker: one store, for signal handlers.
  void take_blame();

  // Reports a taken run. Never waits for the daemon longer than kRoomWait, and only for a report that does not fit its
  // reserve; a result that then still has no room goes by memfd.
  void done(Run& run, const Outcome& outcome);

  // True once the daemon has asked for this run to stop. A load and a compare while nothing has changed.
  [[nodiscard]] bool stop_requested(const Fence& fence);
  // Why: a soft timeout only as long as nothing else was asked; of other reasons the first.
  [[nodiscard]] std::optional<StopReason> stop_reason(const Fence& fence);

  // Requests lie behind this run already.
  [[nodiscard]] bool has_more(const Run& run) const;

  // Before a worker exits: waits until all descriptors are on their way, or the lifeline has closed.
  void settle();
  // For workers that run each job in a fork of themselves, which uses its own copy of this end and nobody else's
  // meanwhile. The parent, when the fork is gone: goes on from what it wrote. False: it has not reported the run.
  [[nodiscard]] bool resume(Run& run);

  // As stop_requested(), for a soft timeout of a taken run. Neither locks nor allocates: for signal handlers.
  [[nodiscard]] bool is_stopped_softly(const Run& run) const;

  // A sign of life of a taken run: one store, which the daemon looks at when it has heard nothing for too long.
  void beat(const Run& run);
  // False: no room now; nothing was written. Data over kEmitBytesMax is refused so too.
  [[nodiscard]] bool try_emit(const Fence& fence, std::uint32_t stream, std::uint64_t offset, std::string_view data);
  // Waits for room, at most `patience`, and not once the lifeline has closed.
  [[nodiscard]] bool emit(const Fence& fence, std::uint32_t stream, std::uint64_t offset, std::string_view data,
                          Duration patience);
  [[nodiscard]] bool try_progress(const Fence& fence, std::uint64_t done, std::uint64_t total,
                                  std::string_view message);

  // Asks for a job (base/child.h), or about a wait (base/wait_call.h). A run makes one call at a time, and numbers them
  // from 1. False: no room within `patience`, as emit().
  [[nodiscard]] bool call(const CallId& id, std::string_view request, Duration patience);
  // The answer to a call of this run, once it is there. To one that is not its last: none.
  [[nodiscard]] std::optional<Reply> reply(const Run& run, std::uint64_t number) const;
  // As arm_for_stop(), for who waits for an answer or a stop. False: something came that reply() or stop_requested()
  // has not looked at.
  [[nodiscard]] bool arm_for_reply(const Run& run, std::uint64_t number);
  // How often this run was told to look again at what it waits for. Read before a wait is asked for, it shows whether
  // anything came since.
  [[nodiscard]] std::uint32_t nudges(const Run& run) const;
  // As arm_for_stop(), for who waits for a nudge beyond `seen`, or a stop.
  [[nodiscard]] bool arm_for_nudge(const Run& run, std::uint32_t seen);

  static constexpr Duration kRoomWait = std::chrono::milliseconds(20);

 private:
  class State;
  explicit WorkerEnd(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace futured::channel
