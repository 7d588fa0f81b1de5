// Daemon: one life of futured in the simulation. The real scheduler, and daemon/loop's turn written out for a world
// without threads: what leaves at once, what waits for its commit, and what a commit that was rolled back keeps.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/core/retention.h"
#include "daemon/core/scheduler.h"
#include "daemon/store/store.h"
#include "tests/simulation/machine.h"
#include "tests/simulation/oracle.h"
#include "tests/simulation/receivers.h"

namespace futured::simulation {

class Daemon {
 public:
  struct World {
    SchedulerSetup setup;
    Store& store;
    Machine& machine;
    Oracle& oracle;
    Receivers& receivers;
    Random& random;
    std::vector<std::vector<std::string>> tasks;  // of each pool of the setup
    bool tasks_known_at_start = true;
    std::size_t window_bytes_max = 0;  // what the scheduler may hold, slack included
    std::size_t audit_every = 1;       // steps
    DeliveryRetries retries;           // of every callback
    std::uint64_t deaf_per_mille = 0;  // deliveries that their receivers refuse
    bool verbose = false;
    std::optional<RetentionPolicy> retention;
    std::uint64_t trim_per_mille = 0;  // of commits, each followed by a step of retention
  };

  // Starts as Loop::start does.
  Daemon(World world, Moment now);

  void request(Event event) { requests_.push_back(std::move(event)); }

  // One turn. `thorough`: reads all that there is; else what the wake-ups happened to bring.
  void turn(Moment now, bool thorough);
  enum class Disk { kWorks, kRollsBack };
  // The store thread gets a moment. False: it had nothing to do.
  bool commit(Moment now, Disk disk);
  // kill -9. A commit under way may or may not be on disk.
  void die(bool commit_landed);

  // Nothing is gathered, under way, or waiting to be said.
  [[nodiscard]] bool is_quiet() const;
  [[nodiscard]] bool takes_submits() const { return !retry_at_; }
  // When there is something to do again without anybody's help.
  [[nodiscard]] Instant next_timer() const;
  [[nodiscard]] const Scheduler& scheduler() const { return *scheduler_; }

 private:
  struct Cursor {
    SlotId slot;
    std::uint64_t until = 0;
  };
  struct Deferred {
    std::vector<effect::Accepted> accepted;
    std::vector<effect::Cancelled> cancelled;
    std::vector<effect::QueuePut> queues_put;
    std::vector<effect::ScheduleChanged> schedules_changed;
    std::vector<effect::QueuePurged> queues_purged;
    std::vector<effect::Moved> moved;
    std::vector<effect::SemaphorePut> semaphores_put;
    std::vector<effect::CacheCleared> caches_cleared;
    std::vector<effect::EventPut> events_put;
    std::vector<effect::Registered> registered;
    std::vector<effect::Deliver> deliveries;
    std::vector<effect::Offer> offers;
    std::vector<effect::WaitTold> waits_told;
    std::vector<Cursor> cursors;
  };

  void step(const Event& event, Moment now);
  void poll(Moment now, bool thorough);
  void hear_calls(Moment now, bool thorough);
  void tell_wait(const effect::WaitTold& told, Moment now);
  void check_size(const std::vector<effect::Offer>& offers) const;
  void report(SlotId slot, const Report& report, Moment now);
  void tell(const Notice& notice, Moment now);
  void carry_out(Moment now);
  void inspect(SlotId slot, Moment now);
  void make_offer(const effect::Offer& offer, Moment now);
  bool revoke(const effect::OfSlot& revoke);
  void deliver(Moment now, bool thorough);
  void send_batch();
  void load(std::vector<JobId> ids, bool due);
  void trim(Moment now);
  void take_answer(Moment now);
  void say(const char* what, SlotId slot, const Fence& fence) const;

  World world_;
  std::unique_ptr<Scheduler> scheduler_;
  Effects effects_;
  std::vector<Event> requests_;
  std::vector<Event> late_;  // tasks of pools that were not known at the start

  std::unique_ptr<Batch> in_flight_;  // also while it waits to be tried again
  std::optional<Instant> retry_at_;
  std::vector<Claim> claims_;
  std::vector<JobId> loads_;
  std::vector<JobId> due_;
  std::vector<KeyQuery> keys_;
  std::vector<DelayedClaim> delayed_claims_;
  std::vector<DeliveryClaim> delivery_claims_;
  std::vector<BatchQuery> batch_queries_;
  std::vector<JobId> cache_reads_;
  std::vector<effect::Deliver> with_receivers_;
  Deferred deferred_;
  struct Answer {
    std::vector<ClaimAnswer> claimed;
    std::vector<event::Loaded> loaded;
    std::optional<event::KeysFound> keys;
    std::vector<DelayedAnswer> delayed_claimed;
    std::vector<DeliveryClaimAnswer> deliveries_claimed;
    std::vector<BatchAnswer> batches;
    std::optional<event::CacheRead> cached;
  };
  std::optional<Answer> answer_;  // the commit is done; the loop has not heard of it yet
  std::size_t steps_ = 0;
};

}  // namespace futured::simulation
