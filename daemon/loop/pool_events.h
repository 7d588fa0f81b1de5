// PoolEvents: what the pools say, told to the core in its own words.
#pragma once

#include "daemon/loop/loop.h"

namespace futured {

class Loop::PoolEvents : public pool::PoolHandler {
 public:
  explicit PoolEvents(Loop& loop) : loop_(loop) {}

  void on(const pool::PoolReady& event) override;
  void on(const pool::PoolFailed& event) override;
  void on(const pool::WorkerStarted& event) override;
  void on(const pool::WorkerEnded& event) override;
  void on(const pool::SpawnerLost& event) override;
  void on(SlotId slot, channel::Done& done) override;
  void on(SlotId slot, const channel::Emit& emit) override;
  void on(SlotId slot, const channel::Progress& progress) override;
  void on(SlotId slot, const channel::Call& call) override;

  // waits.cc
  void tell(effect::WaitTold told);

 private:
  void answer_reload(const std::string& pool, const Status& how);
  void step(const Event& event);
  // Takes over a result's segments, into done.result. Kind kNone when it is kept: else why it is not.
  [[nodiscard]] Cause keep_result(channel::Done& done, std::string& with_ids);
  [[nodiscard]] Result<event::Submit> child_of(const channel::Call& call) const;
  void on_wait_call(SlotId slot, const channel::Call& call);
  void refuse(SlotId slot, const channel::CallId& call, const Error& error);
  void answer(SlotId slot, const channel::CallId& call, std::string_view text);
  void read_ended(effect::WaitTold told);
  void read_outcome(SlotId slot, const channel::CallId& call, JobId job, std::uint64_t offset);
  void tell_not_started(const pool::WorkerEnded& event);
  // Null: a slot that no pool of this configuration has.
  [[nodiscard]] const std::string* pool_of(SlotId slot) const;

  Loop& loop_;
};

}  // namespace futured
