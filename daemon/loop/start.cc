#include <sys/epoll.h>

#include <algorithm>
#include <string>
#include <unordered_set>

#include "daemon/loop/pool_events.h"
#include "daemon/loop/soundness.h"
#include "daemon/loop/zone_files.h"

namespace futured {

namespace {

constexpr auto kReattachAgain = std::chrono::seconds(2);

}  // namespace

// The order matters: load, commit the next epoch, attach to the spawner, read the rings, adopt or kill, requeue. Only
// after this does anybody open a socket.
Status Loop::start() {
  auto snapshot = parts_.store->snapshot();
  if (!snapshot.ok()) return snapshot.error();
  if (const Status sound = check(*snapshot); !sound.ok()) return sound;
  const Epoch epoch{snapshot->epoch.value + 1};
  parts_.setup.epoch = epoch;
  pool_events_ = std::make_unique<PoolEvents>(*this);
  // Committed before the spawner hears of it, so that no two daemons ever speak with the same epoch.
  if (const Status begun = parts_.store->begin_epoch(epoch, snapshot->spawner_instance); !begun.ok())
    return begun.error();
  if (const Status opened = open_pools(epoch); !opened.ok()) return opened.error();
  const Status named = parts_.store->begin_epoch(epoch, parts_.pools->spawner_instance());
  if (!named.ok()) return named.error();

  const std::vector<pool::RecoveredRun> recovered = parts_.pools->recovered();
  auto live = load_recovered(recovered);
  if (!live.ok()) return live.error();
  if (const Status sound = check(*live, queues_of(*snapshot)); !sound.ok()) return sound;
  parts_.setup.zones = zones_of(*snapshot);
  for (const StoredSchedule& schedule : snapshot->schedules) {
    if (parts_.setup.zones.contains(schedule.row.zone)) continue;
    parts_.log("schedule \"" + schedule.row.name + "\" does not fire: this machine has no time zone \"" +
               schedule.row.zone + "\" any more");
  }
  const Moment moment = now();
  scheduler_ = std::make_unique<Scheduler>(parts_.setup, std::move(*snapshot), std::move(*live), moment, effects_);
  set_up_slots(recovered, moment);
  store_thread_ = std::make_unique<StoreThread>(std::move(parts_.store));
  store_gauge_ = store_thread_->gauge();
  name_descriptors();
  return {};
}

// A slot's is watched from its first worker on.
void Loop::name_descriptors() {
  std::vector<std::string> names = {"wake-up", "spawner"};
  for (const pool::PoolConfig& config : parts_.pool_configs) {
    for (std::uint32_t i = 0; i < config.slots; ++i) {
      names.push_back("slot " + config.name + "/" + std::to_string(config.first_slot.value + i));
    }
  }
  gauge_->watch(std::move(names));
}

Status Loop::open_pools(Epoch epoch) {
  for (const int fd : {wake_fd_.get(), parts_.pools->fd()}) {
    epoll_event interest{.events = EPOLLIN, .data = {.fd = fd}};
    if (epoll_ctl(epoll_fd_.get(), EPOLL_CTL_ADD, fd, &interest) != 0) return system_error("epoll_ctl");
  }
  if (const Status attached = parts_.pools->attach(epoch); !attached.ok()) return attached.error();
  if (const Status configured = parts_.pools->configure(parts_.pool_configs); !configured.ok())
    return configured.error();
  return wait_for_pools();
}

// A submit names a task, so tasks are known before the first submit. A pool that fails is told, and waited for no more.
// Workers that no pool of ours has are seen dead here: their jobs are requeued soon after.
Status Loop::wait_for_pools() {
  const Instant until = monotonic_now() + parts_.ready_within;
  for (const auto& [pool, why] : parts_.pools->failures()) pool_events_->on(pool::PoolFailed{pool, why});
  const auto missing = [this] {
    return std::ranges::count_if(parts_.pool_configs, [this](const pool::PoolConfig& config) {
      return !parts_.pools->tasks().contains(config.name) && !pool_problems_.contains(config.name);
    });
  };
  while ((missing() > 0 || parts_.pools->has_strangers()) && monotonic_now() < until && !fatal_) {
    parts_.pools->wait_notices(*pool_events_, static_cast<int>((until - monotonic_now()).count() / 1'000'000) + 1);
  }
  if (fatal_) return *fatal_;
  if (parts_.pools->has_strangers()) {
    return Error{ErrorCode::kDeadlineExceeded,
                 "workers of an earlier configuration were killed and have not ended; see the spawner's log"};
  }
  for (PoolSetup& setup : parts_.setup.pools) {
    const auto tasks = parts_.pools->tasks().find(setup.name);
    if (tasks == parts_.pools->tasks().end()) {
      pool_problems_.try_emplace(setup.name, "its zygote did not become ready in time");
      parts_.log("pool \"" + setup.name + "\": " + pool_problems_[setup.name]);
      continue;
    }
    for (const pool::Task& task : tasks->second) {
      setup.tasks.push_back(task.name);
      setup.versions.push_back(task.version);
    }
  }
  return {};
}

// The spawner died, and every worker with it. The next one sees the last of them dead before it starts any, so no
// attempt runs beside an earlier one.
void Loop::reattach(Moment moment) {
  const Status attached = parts_.pools->reattach();
  if (attached.ok()) {
    reattach_at_ = Instant::never();
    if (parts_.reattached) parts_.reattached();
  } else if (attached.error().code == ErrorCode::kFailedPrecondition) {
    fatal_ = attached.error();
  } else {
    parts_.log("cannot attach to a spawner: " + attached.error().message);
    reattach_at_ = moment.at + kReattachAgain;
  }
}

Result<LoadAnswer> Loop::load_recovered(const std::vector<pool::RecoveredRun>& recovered) {
  std::vector<JobId> ids;
  for (const pool::RecoveredRun& run : recovered) ids.push_back(run.fence.job);
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  if (ids.empty()) return LoadAnswer{};
  return parts_.store->load(ids);
}

// Workers that live are taken over with what they run; the other slots get new ones.
void Loop::set_up_slots(const std::vector<pool::RecoveredRun>& recovered, Moment moment) {
  std::unordered_set<SlotId> alive;
  for (const auto& [name, tasks] : parts_.pools->tasks()) pool_events_->on(pool::PoolReady{name, tasks});
  for (const pool::WorkerStarted& worker : parts_.pools->live()) {
    alive.insert(worker.slot);
    step(event::SlotReady{worker.slot, worker.generation, worker.pid, worker.memory_bytes_max}, moment);
  }
  for (const pool::RecoveredRun& run : recovered)
    step(event::Adopt{run.slot, run.fence, run.taken_at, run.done}, moment);
  for (std::uint32_t slot = 1; slot <= scheduler_->slot_count(); ++slot) {
    if (alive.contains(SlotId{slot}) || !scheduler_->is_wanted(SlotId{slot})) continue;
    parts_.pools->start_worker(scheduler_->pool_name(scheduler_->pool_of(SlotId{slot})), SlotId{slot});
  }
  carry_out(moment);
}

}  // namespace futured
