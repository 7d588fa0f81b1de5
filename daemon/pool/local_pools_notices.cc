// What the spawner tells.
#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "daemon/pool/local_pools_impl.h"

namespace futured::pool {

// One message of the spawner. Without a handler it belongs to the replay, and what it changes is looked up later.
Status LocalPools::Impl::take(Notice notice, PoolHandler* handler) {
  switch (notice.type) {
    case spawner::MessageType::kPool:
      replayed[notice.as<spawner::Pool>().pool] = notice.as<spawner::Pool>().name;
      return {};
    case spawner::MessageType::kPoolTask: {
      const auto& task = notice.as<spawner::PoolTask>();
      tasks_coming[task.pool].push_back({task.name, task.version});
      return {};
    }
    case spawner::MessageType::kPoolReady: {
      const std::uint32_t number = notice.as<spawner::PoolReady>().pool;
      tasks_known[number] = std::move(tasks_coming[number]);
      tasks_coming.erase(number);
      PoolHistory& pool = history[number];
      pool.ready_at = monotonic_now();
      if (pool.asked_at) pool.figures.zygote_start = pool.ready_at - *std::exchange(pool.asked_at, std::nullopt);
      if (const auto reloaded = reloading.find(number); reloaded != reloading.end()) {
        const std::string pool_name = reloaded->second;
        take_over(pool_name, number);
        if (handler != nullptr) handler->on(PoolReady{pool_name, tasks[pool_name], true});
        return {};
      }
      const std::string* const name = name_of(number);
      if (name == nullptr) return {};
      tasks[*name] = tasks_known[number];
      if (handler != nullptr) handler->on(PoolReady{*name, tasks[*name]});
      return {};
    }
    case spawner::MessageType::kPoolFailed: {
      const auto& told = notice.as<spawner::PoolFailed>();
      history[told.pool].asked_at.reset();
      if (const auto reload = reloading.extract(told.pool)) {
        stop_pool(told.pool);
        if (handler != nullptr) handler->on(PoolFailed{reload.mapped(), told.message, true});
        return {};
      }
      const std::string* const name = name_of(told.pool);
      if (handler == nullptr) failed[told.pool] = told.message;
      if (name != nullptr && handler != nullptr) handler->on(PoolFailed{*name, told.message});
      return {};
    }
    case spawner::MessageType::kWorkerStarted: {
      const spawner::WorkerStarted message = notice.as<spawner::WorkerStarted>();
      if (message.slot < 1 || message.slot > limits::kSlotsMax) return {};
      PoolSlot& started = slot(SlotId{message.slot});
      // The spawner keeps a slot's eventfd for its next worker, so closing ours would leave it watched, and the next
      // one, which may get the same number, could not be.
      if (started.end() != nullptr) (void)epoll_ctl(epoll.get(), EPOLL_CTL_DEL, started.end()->wake_fd(), nullptr);
      history[started.pool()].figures.jobs_done += started.figures().jobs_done;
      note_fork(message);
      const std::string* const now_named = name_of(message.pool);
      const auto of_before = replayed.find(message.pool);  // while attaching, before the pools are configured
      const std::string pool_name = now_named != nullptr          ? *now_named
                                    : of_before != replayed.end() ? of_before->second
                                                                  : std::string();
      if (!notice.descriptors.empty()) loops->started(started.id(), pool_name, notice.descriptors.front().get());
      const Status attached = started.started(message, std::move(notice.descriptors), wall_now());
      if (!attached.ok()) {
        kill(started, 0);  // its end is told, and a new worker starts with fresh memory
        return {};
      }
      epoll_event interest{.events = EPOLLIN | EPOLLET, .data = {.fd = started.end()->wake_fd()}};
      if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, started.end()->wake_fd(), &interest) != 0)
        return system_error("epoll_ctl");
      if (retired.contains(message.pool)) kill(started, 0);  // it was asked for before another took its pool's place
      if (handler != nullptr && name_of(message.pool) != nullptr) {
        handler->on(WorkerStarted{started.id(), message.generation, message.pid, message.memory_bytes_max});
      }
      return {};
    }
    case spawner::MessageType::kWorkerEnded: {
      const auto& message = notice.as<spawner::WorkerEnded>();
      if (message.slot >= 1 && message.slot <= limits::kSlotsMax) slot(SlotId{message.slot}).ended(message);
      return {};
    }
    case spawner::MessageType::kPoolStopped:
    case spawner::MessageType::kReplayed:
    case spawner::MessageType::kWelcome:
      return {};
    case spawner::MessageType::kRefused:
      return Error{ErrorCode::kFailedPrecondition, notice.as<spawner::Refused>().message};
    case spawner::MessageType::kHello:
    case spawner::MessageType::kStartPool:
    case spawner::MessageType::kStartWorker:
    case spawner::MessageType::kKill:
    case spawner::MessageType::kStopPool:
    case spawner::MessageType::kShutdown:
      break;
  }
  return Error{ErrorCode::kInternal, "the spawner sent a message that only it may receive"};
}

void LocalPools::wait_notices(PoolHandler& handler, int timeout_ms) {
  if (!impl_->link) return;
  pollfd event{impl_->link->fd(), POLLIN, 0};
  if (::poll(&event, 1, timeout_ms) > 0) impl_->poll_link(handler);
}

std::map<std::string, std::string> LocalPools::failures() const {
  std::map<std::string, std::string> failures;
  for (const auto& [number, why] : impl_->failed) {
    if (const std::string* const name = impl_->name_of(number)) failures[*name] = why;
  }
  return failures;
}

void LocalPools::Impl::poll_link(PoolHandler& handler) {
  while (link) {
    auto notice = link->receive();
    if (!notice.ok()) return lose_spawner(notice.error().message, handler);
    if (!notice->has_value()) return;
    if (const Status taken = take(std::move(**notice), &handler); !taken.ok()) {
      return lose_spawner(taken.error().message, handler);
    }
  }
}

void LocalPools::Impl::lose_spawner(const std::string& why, PoolHandler& handler) {
  link.reset();
  for (const auto& slot : slots) {
    if (!slot->is_alive() || slot->has_ended()) continue;
    spawner::WorkerEnded message{};
    message.slot = slot->id().value;
    message.generation = slot->generation();
    message.wait_status = 9;  // its lifeline is closed: it is dead or dying
    unseen.push_back(message);
  }
  retired.clear();
  for (const auto& [number, name] : std::exchange(reloading, {})) {
    handler.on(PoolFailed{name, "the spawner is gone: " + why, true});
  }
  handler.on(SpawnerLost{why});
}

// A worker that was asked for before its zygote was there has waited for that.
void LocalPools::Impl::note_fork(const spawner::WorkerStarted& message) {
  const auto asked = worker_asked_at.extract(message.slot);
  if (asked.empty()) return;  // it was there when this daemon came
  PoolHistory& pool = history[message.pool];
  pool.figures.fork = monotonic_now() - std::max(asked.mapped(), pool.ready_at);
}

}  // namespace futured::pool
