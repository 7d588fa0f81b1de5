#include "daemon/pool/local_pools.h"

#include <sys/epoll.h>

#include <algorithm>
#include <utility>

#include "daemon/pool/local_pools_impl.h"

namespace futured::pool {

LocalPools::LocalPools(LocalPoolsSetup setup) : impl_(std::make_unique<Impl>(std::move(setup))) {
  FUTURED_CHECK(impl_->epoll.is_open(), "an epoll descriptor can be had");
}

LocalPools::~LocalPools() = default;

PoolSlot& LocalPools::Impl::slot(SlotId id) {
  FUTURED_CHECK(id.value >= 1 && id.value <= limits::kSlotsMax, "slots are numbered from 1");
  while (slots.size() < id.value) {
    slots.push_back(std::make_unique<PoolSlot>(SlotId{static_cast<std::uint32_t>(slots.size() + 1)}));
  }
  return *slots[id.value - 1];
}

const std::string* LocalPools::Impl::name_of(std::uint32_t number) const {
  for (const auto& [name, known] : numbers) {
    if (known == number) return &name;
  }
  return nullptr;
}

std::vector<RecoveredRun> LocalPools::recovered() const { return impl_->recovered; }

std::vector<WorkerStarted> LocalPools::live() const {
  std::vector<WorkerStarted> live;
  for (const auto& slot : impl_->slots) {
    if (slot->is_alive() && slot->end() != nullptr && !impl_->is_strange(*slot)) {
      live.push_back({slot->id(), slot->generation(), slot->figures().pid, slot->memory_bytes_max()});
    }
  }
  return live;
}

int LocalPools::fd() const { return impl_->epoll.get(); }

bool LocalPools::poll(PoolHandler& handler, std::size_t responses_max) {
  // Takes the slots' edges; what they mean is looked at below.
  epoll_event events[16];
  const int ready = epoll_wait(impl_->epoll.get(), events, 16, 0);
  const auto is_link = [this](const epoll_event& event) { return impl_->link && event.data.fd == impl_->link->fd(); };
  if (ready == 16 || std::any_of(events, events + std::max(ready, 0), is_link)) impl_->poll_link(handler);
  std::size_t left = responses_max;
  const std::size_t count = impl_->slots.size();
  for (std::size_t i = 0; i < count && left > 0; ++i) {
    PoolSlot& slot = *impl_->slots[(impl_->next_polled + i) % count];
    const bool was_alive = slot.is_alive();
    left -= std::min(left, slot.poll(handler, left));
    impl_->kill_broken(slot);
    if (!was_alive || slot.is_alive()) continue;
    impl_->loops->ended(slot.id());
    impl_->start_if_due(slot);
    impl_->stop_retired();
  }
  if (count > 0) impl_->next_polled = (impl_->next_polled + 1) % count;
  return left == 0;
}

bool LocalPools::has_strangers() const {
  return std::ranges::any_of(impl_->slots, [this](const auto& slot) {
    return slot->is_alive() && !slot->has_ended() && impl_->is_strange(*slot);
  });
}

// Of a pool that is configured no more, or in a slot that is another pool's now: spare ones move with the sizes of all
// pools.
bool LocalPools::Impl::is_strange(const PoolSlot& slot) const {
  const std::string* const name = name_of(slot.pool());
  if (name == nullptr) return true;
  const auto config = std::ranges::find(configs, *name, &PoolConfig::name);
  return config == configs.end() || !config->has(slot.id());
}

// Of a worker with several slots any run may have written where it should not, and nobody can say which. A slot that
// runs nothing has not.
void LocalPools::Impl::kill_broken(PoolSlot& slot) {
  if (!slot.is_alive() || slot.end() == nullptr || !slot.end()->is_broken() || slot.kill_sent) return;
  bool is_one_suspect = false;
  for (const auto& other : slots) {
    const bool is_of_worker = other->is_alive() && other->figures().pid == slot.figures().pid;
    if (!is_of_worker || other->end() == nullptr || other->end()->outstanding() == 0) continue;
    is_one_suspect = true;
    kill(*other, 0);
  }
  if (!is_one_suspect) kill(slot, 0);
}

// `grace_ms`: what an earlier STOP has not given.
void LocalPools::Impl::kill(PoolSlot& slot, std::uint32_t grace_ms) {
  if (!link || !slot.is_alive() || slot.kill_sent) return;
  spawner::Kill message{};
  message.slot = slot.id().value;
  message.generation = slot.generation();
  message.grace_ms = grace_ms;
  slot.kill_sent = link->send(message, spawner::MessageType::kKill).ok();
}

// The spawner empties the channel for a new worker, so the last one's reports must be committed before.
void LocalPools::Impl::start_if_due(PoolSlot& slot) {
  if (!slot.start_wanted || slot.start_sent || slot.is_alive() || slot.has_news() || !slot.is_released() || !link)
    return;
  const auto next = wanted.find(slot.id().value);
  if (next == wanted.end()) return;
  spawner::StartWorker message{};
  message.pool = numbers.at(next->second.pool);
  message.slot = slot.id().value;
  message.memory_bytes_max = next->second.memory_bytes_max;
  set_worker(next->second.pool, message);
  worker_asked_at[message.slot] = monotonic_now();
  slot.start_sent = link->send(message, spawner::MessageType::kStartWorker).ok();
}

// A worker serves so many slots as its pool runs jobs at once in it.
void LocalPools::Impl::set_worker(const std::string& pool, spawner::StartWorker& message) const {
  const auto config = std::ranges::find(configs, pool, &PoolConfig::name);
  FUTURED_CHECK(config != configs.end(), "workers are of configured pools");
  message.count = config->terms.slots_per_worker();
  message.runs_at_once = config->terms.runs_per_slot();
  const SlotId first = config->is_spare(SlotId{message.slot}) ? config->first_spare : config->first_slot;
  message.first = message.slot - (message.slot - first.value) % message.count;
}

bool LocalPools::arm() {
  bool quiet = true;
  for (const auto& slot : impl_->slots) {
    if (slot->has_news()) quiet = false;
    if (slot->is_alive() && slot->end() != nullptr && !slot->end()->is_broken() && !slot->end()->arm()) quiet = false;
  }
  return quiet;
}

void LocalPools::start_worker(const std::string& pool, SlotId id, std::uint64_t memory_bytes_max) {
  PoolSlot& slot = impl_->slot(id);
  impl_->wanted[id.value] = {pool, memory_bytes_max};
  slot.start_wanted = true;
  impl_->start_if_due(slot);
}

bool LocalPools::offer(const Offer& offer) {
  PoolSlot& slot = impl_->slot(offer.slot);
  if (!slot.is_alive() || slot.end() == nullptr) return false;
  channel::RunRequest request;
  request.fence = offer.fence;
  request.task = offer.task;
  request.follow = offer.follow;
  request.run_timeout = offer.run_timeout;
  request.payload = offer.payload;
  request.descriptors = offer.descriptors;
  if (!slot.end()->offer(request)) return false;
  impl_->touched.insert(&slot);
  return true;
}

void LocalPools::publish() {
  for (PoolSlot* const slot : impl_->touched) {
    if (slot->end() != nullptr) slot->end()->publish();
  }
  impl_->touched.clear();
}

bool LocalPools::revoke(SlotId id, const Fence& fence) {
  channel::HostEnd* const end = impl_->slot(id).end();
  return end != nullptr && end->revoke(fence) == channel::Revoked::kYes;
}

std::optional<channel::Head> LocalPools::head(SlotId id) {
  channel::HostEnd* const end = impl_->slot(id).end();
  return end != nullptr ? end->head() : std::nullopt;
}

std::vector<channel::Head> LocalPools::newly_taken(SlotId id) {
  channel::HostEnd* const end = impl_->slot(id).end();
  return end != nullptr ? end->newly_taken() : std::vector<channel::Head>();
}

void LocalPools::stop(SlotId id, const Fence& fence, channel::StopReason reason) {
  PoolSlot& slot = impl_->slot(id);
  // Without room for the request the grace simply runs out.
  if (slot.end() != nullptr && slot.end()->stop(fence, reason)) impl_->touched.insert(&slot);
}

void LocalPools::answer(SlotId id, const channel::CallId& call, const channel::Answer& answer) {
  if (channel::HostEnd* const end = impl_->slot(id).end()) end->answer(call, answer);
}

void LocalPools::nudge(SlotId id, const Fence& fence) {
  if (channel::HostEnd* const end = impl_->slot(id).end()) end->nudge(fence);
}

std::optional<Instant> LocalPools::alive_at(SlotId id, const Fence& fence) const {
  channel::HostEnd* const end = impl_->slot(id).end();
  const auto run = end != nullptr ? end->find(fence) : std::nullopt;
  if (!run || run->state != channel::RunState::kTaken) return std::nullopt;
  return std::max(run->taken_at, run->alive_at);
}

void LocalPools::kill(SlotId id, Last last) {
  impl_->kill(impl_->slot(id), last == Last::kStacks ? static_cast<std::uint32_t>(limits::kStacksMs) : 0);
}

std::vector<SlotCursor> LocalPools::cursors() const {
  std::vector<SlotCursor> cursors;
  for (const auto& slot : impl_->slots) {
    if (!slot->is_released() && !slot->has_kept()) cursors.push_back({slot->id(), slot->end()->cursor()});
  }
  return cursors;
}

bool LocalPools::has_unreleased() const {
  return std::ranges::any_of(impl_->slots, [](const auto& slot) { return !slot->is_released() && !slot->has_kept(); });
}

void LocalPools::release(const SlotCursor& cursor) {
  PoolSlot& slot = impl_->slot(cursor.slot);
  if (slot.end() != nullptr) slot.end()->release(cursor.cursor);
  impl_->start_if_due(slot);
}

std::shared_ptr<const WorkerLoops> LocalPools::worker_loops() const { return impl_->loops; }

std::vector<WorkerFigures> LocalPools::workers() const {
  std::vector<WorkerFigures> figures;
  for (const auto& slot : impl_->slots) figures.push_back(slot->figures());
  return figures;
}

PoolFigures LocalPools::figures(const std::string& pool) const {
  const auto number = impl_->numbers.find(pool);
  if (number == impl_->numbers.end()) return {};
  const auto known = impl_->history.find(number->second);
  PoolFigures figures = known != impl_->history.end() ? known->second.figures : PoolFigures{};
  for (const auto& slot : impl_->slots) {
    if (slot->pool() == number->second) figures.jobs_done += slot->figures().jobs_done;
  }
  return figures;
}

const std::map<std::string, std::vector<Task>>& LocalPools::tasks() const { return impl_->tasks; }

}  // namespace futured::pool
