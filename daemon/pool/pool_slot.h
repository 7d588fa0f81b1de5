// PoolSlot: one slot's channel as the daemon sees it, over the generations of its workers.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "daemon/pool/local_pools.h"
#include "worker/spawner/wire.h"

namespace futured::pool {

// A DONE that was read while attaching, kept until poll() hands it out.
struct KeptDone {
  channel::Done done;
  std::string error_class;
  std::string error_message;
  std::string result;
  std::vector<Fd> descriptors;

  // `done` with its views pointing into this.
  [[nodiscard]] channel::Done& refreshed();
};

// The last call of a run that goes on, if it has no answer. Those before it were answered, or its task gave them up.
struct KeptCall {
  channel::CallId id;
  std::string request;
};

// The end of what a run that goes on had emitted into one stream while no daemon was there; bounded as live output is.
struct KeptOutput {
  Fence fence;
  std::uint64_t offset = 0;
  std::string data;
};

class PoolSlot {
 public:
  explicit PoolSlot(SlotId id) : id_(id) {}

  [[nodiscard]] SlotId id() const { return id_; }
  [[nodiscard]] bool is_alive() const { return alive_; }
  [[nodiscard]] std::uint32_t pool() const { return pool_; }  // the spawner's number of the pool that it belongs to now
  [[nodiscard]] std::uint32_t generation() const { return generation_; }
  [[nodiscard]] std::uint64_t memory_bytes_max() const { return memory_bytes_max_; }  // of its worker; 0: its pool's
  [[nodiscard]] channel::HostEnd* end() { return end_ ? &*end_ : nullptr; }
  [[nodiscard]] const channel::HostEnd* end() const { return end_ ? &*end_ : nullptr; }

  // A worker has been forked into the slot: the channel of the last generation is let go.
  [[nodiscard]] Status started(const spawner::WorkerStarted& message, std::vector<Fd> descriptors, WallTime now);
  // The process tree is gone. What it wrote can still be read.
  void ended(const spawner::WorkerEnded& message) { ended_ = message; }
  // The same, because its spawner ended.
  void lost(const spawner::WorkerEnded& message) {
    ended_ = message;
    is_lost_ = true;
  }

  // After attaching: takes back what no worker has taken, reads what was reported and not released.
  void recover(std::vector<RecoveredRun>& runs);

  // Hands out responses, at most `responses_max`; then, when the worker has ended and nothing is left to read, its end.
  // Returns how many it handed out.
  std::size_t poll(PoolHandler& handler, std::size_t responses_max);
  [[nodiscard]] bool has_ended() const { return ended_.has_value(); }
  [[nodiscard]] bool has_news() const { return has_kept() || ended_.has_value(); }

  // What was read while attaching and is not handed out yet: the cursor is already past it.
  [[nodiscard]] bool has_kept() const { return !kept_.empty() || !kept_calls_.empty() || !kept_output_.empty(); }
  [[nodiscard]] bool is_released() const { return !end_ || end_->all_released(); }
  [[nodiscard]] WorkerFigures figures() const;

  bool start_wanted = false;  // a worker is to be started once the last one is gone and released
  bool start_sent = false;    // and the spawner has been asked for it
  bool kill_sent = false;

 private:
  void keep(const channel::Emit& emit);
  void keep(const channel::Call& call);
  // Those of runs that are not in `runs`, or are done, are answered: nobody waits for them.
  void drop_calls_but_of(const std::vector<RecoveredRun>& runs);
  std::size_t hand_out_kept(PoolHandler& handler);
  void tell_end(PoolHandler& handler);
  void blame(WorkerEnded& told);

  SlotId id_;
  std::uint32_t pool_ = 0;
  std::uint32_t generation_ = 0;
  std::int32_t pid_ = 0;
  std::uint64_t memory_bytes_max_ = 0;
  bool alive_ = false;
  WallTime started_at_;
  std::uint64_t jobs_done_ = 0;
  std::optional<channel::HostEnd> end_;
  std::deque<KeptDone> kept_;
  std::map<Fence, KeptCall> kept_calls_;
  std::map<std::uint32_t, KeptOutput> kept_output_;  // by stream
  std::optional<spawner::WorkerEnded> ended_;
  bool is_lost_ = false;
};

}  // namespace futured::pool
