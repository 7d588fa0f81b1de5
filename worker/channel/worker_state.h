// The inside of WorkerEnd; nobody else includes it.
#pragma once

#include <atomic>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "worker/channel/worker_end.h"

namespace futured::channel {

class WorkerEnd::State {
 public:
  State(ChannelFds fds, Fd lifeline, ChannelMap map)
      : fds_(std::move(fds)), lifeline_(std::move(lifeline)), map_(std::move(map)) {}
  [[nodiscard]] Status open();

  [[nodiscard]] Intake try_next(Run& run);
  [[nodiscard]] Intake next(Run& run);
  [[nodiscard]] bool arm();
  [[nodiscard]] bool arm_for_stop();
  void disarm();
  [[nodiscard]] int wake_fd() const { return intake_epoll_.get(); }
  [[nodiscard]] int lifeline_fd() const { return lifeline_.get(); }
  [[nodiscard]] Take take(Run& run);
  void done(Run& run, const Outcome& outcome);
  [[nodiscard]] std::optional<StopReason> stop_reason(const Fence& fence);
  void detach(Run& run);
  void hand_out_stops() { hands_out_stops_ = true; }
  void note_running(const Run* run) {
    map_.header().running.store(run != nullptr ? run->place + 1 : 0, std::memory_order_release);
  }
  [[nodiscard]] LoopFigures& loop_figures() { return map_.loop_figures(); }
  void take_blame() { map_.header().is_to_blame.store(1, std::memory_order_release); }
  [[nodiscard]] bool has_more(const Run& run) const;
  void settle();
  [[nodiscard]] bool rest() const;
  [[nodiscard]] bool resume(Run& run);
  [[nodiscard]] bool is_stopped_softly(const Run& run) const;
  void beat(const Run& run) { map_.place(run.place).alive_at_ns.store(monotonic_now().ns, std::memory_order_relaxed); }
  [[nodiscard]] std::optional<Reply> reply(const Run& run, std::uint64_t number) const;
  [[nodiscard]] bool arm_for_reply(const Run& run, std::uint64_t number);
  [[nodiscard]] std::uint32_t nudges(const Run& run) const {
    return map_.place(run.place).nudges.load(std::memory_order_seq_cst);
  }
  [[nodiscard]] bool arm_for_nudge(const Run& run, std::uint32_t seen);
  // Appends one record that may have to wait: the fixed part, whose size field is filled in here, and its text.
  [[nodiscard]] bool try_append(std::span<char> fixed, std::string_view text);
  [[nodiscard]] bool append(std::span<char> fixed, std::string_view text, Duration patience);

 private:
  struct Outstanding {  // every request record between tail and intake, in order
    Fence fence;        // of a RUN; job 0 for anything else
    std::uint64_t begin;
    std::uint64_t end;
    bool finished;
  };
  struct Elastic {  // response bytes beyond the reserves, until the daemon releases them
    std::uint64_t end;
    std::size_t bytes;
  };
  struct Stop {
    Fence fence;
    StopReason reason;
  };
  struct Unsent {  // a packet that the descriptor socket had no room for
    DescriptorTag tag;
    bool has_result = false;  // besides the segments
    Fd result;                // closed: made of `bytes` when its turn comes
    std::string bytes;
    std::vector<Fd> segments;
  };
  struct Report;

  [[nodiscard]] Intake intake_one(std::uint64_t published, Run& run);
  [[nodiscard]] bool read_run(std::uint32_t bytes, Run& run);
  [[nodiscard]] bool receive_descriptors(Run& run);
  void finish(std::uint64_t position);
  void pass_stop(const StopRecord& record, std::uint64_t end);
  void hand_out_stop(const StopRecord& record, std::uint64_t end, Run& run);
  void scan_stops(std::uint64_t published);
  [[nodiscard]] std::optional<StopReason> look_for_stop(const Fence& fence, std::uint64_t from,
                                                        std::optional<StopReason> wanted) const;
  [[nodiscard]] bool is_outstanding(const Fence& fence) const;
  void drop_stop(const Fence& fence);

  [[nodiscard]] std::size_t elastic_room();
  [[nodiscard]] bool wait_for_room(std::unique_lock<std::mutex>& lock, std::size_t bytes, Duration patience);
  void append_done(std::unique_lock<std::mutex>& lock, Run& run, const Outcome& outcome);
  void write_done(DoneRecord record, const Outcome& outcome, const Report& report);
  [[nodiscard]] bool send_beside(const DescriptorTag& tag, Report& report);
  [[nodiscard]] bool keep_unsent(const DescriptorTag& tag, Report& report);
  [[nodiscard]] bool send_first_unsent();
  void flush_unsent();
  void publish(std::size_t bytes, std::size_t elastic);
  void wake_host();

  ChannelFds fds_;
  Fd lifeline_;
  ChannelMap map_;
  // The eventfd is never read: each epoll sees each write once, edge-triggered, so two sleepers cannot steal from
  // one another.
  Fd intake_epoll_;
  Fd room_epoll_;
  std::mutex room_mutex_;  // one sleeper for room at a time; taken before mutex_, never after

  // Of the intake thread.
  std::atomic<std::uint64_t> read_{0};
  bool ended_ = false;
  bool hands_out_stops_ = false;
  bool silent_progress_ = false;  // passed records that no DONE told the daemon of

  std::mutex mutex_;  // all below
  std::deque<Outstanding> outstanding_;
  std::uint64_t response_at_ = 0;
  std::deque<Elastic> elastic_;
  std::size_t elastic_used_ = 0;
  std::deque<Unsent> unsent_;
  std::vector<Stop> stops_;
  std::atomic<std::uint64_t> scanned_{0};  // requests looked through for stops
  std::atomic<std::size_t> stop_count_{0};
  std::atomic<std::size_t> unsent_count_{0};
};

}  // namespace futured::channel
