#include "daemon/pool/local_pools.h"

#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <set>
#include <utility>

#include "daemon/pool/pool_slot.h"
#include "daemon/pool/spawner_link.h"

namespace futured::pool {

namespace {

constexpr int kReplayWithinMs = 10'000;

// The spawner's number of a pool: its place and what it is made of. A pool whose settings changed is another pool
// there, so that no worker of the old settings is taken for one of the new.
// `reloads`: how often its plugins were loaded anew.
std::uint32_t number_of(std::uint32_t place, const PoolConfig& config, const std::string& zygote,
                        std::uint32_t reloads) {
  std::uint32_t digest = 2166136261U;  // FNV-1a
  const auto mix = [&digest](std::string_view text) {
    for (const char c : text) digest = (digest ^ static_cast<unsigned char>(c)) * 16777619U;
    digest = (digest ^ 0xffU) * 16777619U;
  };
  mix(config.name);
  mix(zygote);
  mix(std::to_string(config.slots) + "@" + std::to_string(config.first_slot.value));
  for (const std::string& argument : to_arguments(config.terms)) mix(argument);
  for (const auto& [key, value] : config.env) mix(key + "=" + value);
  // Reloads follow one another within 8 bits; the digest keeps what is left.
  return (((digest ^ (digest >> 16)) << 16) | ((reloads & 0xffU) << 8)) | ((place + 1) & 0xffU);
}

void append_string(std::string& strings, std::string_view text) {
  strings.append(text);
  strings.push_back('\0');
}

}  // namespace

// A pool's figures and what they are made from.
struct PoolHistory {
  std::optional<Instant> asked_at;  // of the zygote; not once it has answered, well or not
  Instant ready_at;
  PoolFigures figures;  // jobs_done: by workers whose slots have others now
};

struct WantedWorker {
  std::string pool;
  std::uint64_t memory_bytes_max = 0;  // 0: the pool's
};

class LocalPools::Impl {
 public:
  explicit Impl(LocalPoolsSetup given) : setup(std::move(given)), epoll(epoll_create1(EPOLL_CLOEXEC)) {}

  [[nodiscard]] Status connect();
  [[nodiscard]] Status take(Notice notice, PoolHandler* handler);
  [[nodiscard]] Status start_pool(std::uint32_t number, const PoolConfig& config);
  void poll_link(PoolHandler& handler);
  void lose_spawner(const std::string& why, PoolHandler& handler);
  void start_if_due(PoolSlot& slot);
  void set_worker(const std::string& pool, spawner::StartWorker& message) const;
  void note_fork(const spawner::WorkerStarted& message);
  void kill_broken(PoolSlot& slot);
  void kill(PoolSlot& slot, std::uint32_t grace_ms);
  [[nodiscard]] PoolSlot& slot(SlotId id);
  [[nodiscard]] const std::string* name_of(std::uint32_t number) const;
  [[nodiscard]] std::uint32_t newest_of(std::uint32_t place, const PoolConfig& config) const;
  void take_over(const std::string& name, std::uint32_t number);
  void stop_pool(std::uint32_t number);
  void stop_retired();

  LocalPoolsSetup setup;
  Fd epoll;
  std::optional<SpawnerLink> link;
  Epoch epoch;
  std::string instance;
  std::vector<PoolConfig> configs;
  std::map<std::string, std::uint32_t> numbers;             // of configured pools
  std::map<std::uint32_t, std::string> replayed;            // pools that the spawner had at attach
  std::map<std::uint32_t, std::string> reloading;           // pools that are to take the place of those of their names
  std::set<std::uint32_t> retired;                          // pools whose place was taken, until their workers are gone
  std::map<std::uint32_t, std::vector<Task>> tasks_coming;  // before their READY
  std::map<std::uint32_t, std::vector<Task>> tasks_known;
  std::map<std::uint32_t, std::string> failed;     // of the replay: pools whose zygote is down
  std::map<std::string, std::vector<Task>> tasks;  // of configured pools that are ready
  std::vector<spawner::WorkerEnded> unseen;  // ends that follow from the spawner's, until its successor has seen them
  std::vector<std::unique_ptr<PoolSlot>> slots;      // [i] is SlotId i + 1
  std::map<std::uint32_t, WantedWorker> wanted;      // by slot: its next worker
  std::map<std::uint32_t, Instant> worker_asked_at;  // by slot, while its START_WORKER is under way
  std::map<std::uint32_t, PoolHistory> history;      // by the spawner's number: other settings, another history
  std::vector<RecoveredRun> recovered;
  std::set<PoolSlot*> touched;  // offered or stopped since the last publish
  const std::shared_ptr<WorkerLoops> loops = std::make_shared<WorkerLoops>();
  std::size_t next_polled = 0;
};

PoolSlot& LocalPools::Impl::slot(SlotId id) {
  FUTURED_CHECK(id.value >= 1 && id.value <= limits::kSlotsMax, "slots are numbered from 1");
  while (slots.size() < id.value) {
    slots.push_back(std::make_unique<PoolSlot>(SlotId{static_cast<std::uint32_t>(slots.size() + 1)}));
  }
  return *slots[id.value - 1];
}

// As it was reloaded last, where the spawner still has it.
std::uint32_t LocalPools::Impl::newest_of(std::uint32_t place, const PoolConfig& config) const {
  const std::uint32_t first = number_of(place, config, setup.zygote_program, 0);
  std::uint32_t newest = first;
  for (const auto& [number, name] : replayed) {
    if (((number ^ first) & ~0xff00U) == 0) newest = std::max(newest, number);
  }
  return newest;
}

Status LocalPools::reload(const std::string& pool) {
  const auto busy = [&](const std::string& why) {
    return Error{ErrorCode::kFailedPrecondition, "pool \"" + pool + "\": " + why};
  };
  if (!impl_->link) return busy("the spawner is not there just now; try again");
  for (const auto& [number, name] : impl_->reloading) {
    if (name == pool) return busy("it is being reloaded");
  }
  const auto config = std::ranges::find(impl_->configs, pool, &PoolConfig::name);
  if (config == impl_->configs.end()) return Error{ErrorCode::kNotFound, "no pool \"" + pool + "\""};
  const std::uint32_t now = impl_->numbers.at(pool);
  const std::uint32_t next = (now & ~0xff00U) | ((now + 0x100U) & 0xff00U);
  if (impl_->retired.contains(next)) return busy("workers of earlier reloads have not ended; try again later");
  if (const Status started = impl_->start_pool(next, *config); !started.ok()) return started;
  impl_->reloading[next] = pool;
  return {};
}

void LocalPools::Impl::take_over(const std::string& name, std::uint32_t number) {
  retired.insert(std::exchange(numbers.at(name), number));
  reloading.erase(number);
  tasks[name] = tasks_known[number];
  stop_retired();
}

void LocalPools::Impl::stop_pool(std::uint32_t number) {
  spawner::StopPool stop{};
  stop.pool = number;
  if (link) static_cast<void>(link->send(stop, spawner::MessageType::kStopPool));
}

void LocalPools::Impl::stop_retired() {
  std::erase_if(retired, [this](std::uint32_t number) {
    const bool is_there =
        std::ranges::any_of(slots, [&](const auto& slot) { return slot->is_alive() && slot->pool() == number; });
    if (!is_there) stop_pool(number);
    return !is_there;
  });
}

const std::string* LocalPools::Impl::name_of(std::uint32_t number) const {
  for (const auto& [name, known] : numbers) {
    if (known == number) return &name;
  }
  return nullptr;
}

LocalPools::LocalPools(LocalPoolsSetup setup) : impl_(std::make_unique<Impl>(std::move(setup))) {
  FUTURED_CHECK(impl_->epoll.is_open(), "an epoll descriptor can be had");
}

LocalPools::~LocalPools() = default;

Status LocalPools::attach(Epoch epoch) {
  impl_->epoch = epoch;
  if (const Status connected = impl_->connect(); !connected.ok()) return connected;
  for (const auto& slot : impl_->slots) slot->recover(impl_->recovered);
  return {};
}

Status LocalPools::reattach() {
  const std::string before = impl_->instance;
  Status begun = impl_->connect();
  if (begun.ok() && impl_->instance == before) {
    begun = Error{ErrorCode::kFailedPrecondition, "the spawner goes on, but has closed its connection"};
  }
  if (begun.ok()) begun = configure(impl_->configs);
  if (!begun.ok()) {
    impl_->link.reset();
    impl_->instance = before;
    return begun;
  }
  for (const spawner::WorkerEnded& end : std::exchange(impl_->unseen, {})) impl_->slot(SlotId{end.slot}).lost(end);
  for (const auto& slot : impl_->slots) {
    slot->start_sent = false;  // what was asked of the last spawner
    impl_->start_if_due(*slot);
  }
  return {};
}

// Up to the end of the spawner's replay.
Status LocalPools::Impl::connect() {
  auto opened = SpawnerLink::open({setup.spawner_program, setup.state_directory, setup.spawner_idle_exit_s}, epoch);
  if (!opened.ok()) return opened.error();
  instance = std::to_string(opened->welcome().instance);
  link.emplace(std::move(*opened));
  replayed.clear();
  tasks_coming.clear();
  tasks_known.clear();
  failed.clear();
  for (;;) {
    auto notice = link->wait(kReplayWithinMs);
    if (!notice.ok()) return notice.error();
    if (!notice->has_value()) return Error{ErrorCode::kUnavailable, "the spawner does not tell what it has"};
    if ((*notice)->type == spawner::MessageType::kReplayed) break;
    if (const Status taken = take(std::move(**notice), nullptr); !taken.ok()) return taken;
  }
  epoll_event interest{.events = EPOLLIN, .data = {.fd = link->fd()}};
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, link->fd(), &interest) != 0) return system_error("epoll_ctl");
  return {};
}

const std::string& LocalPools::spawner_instance() const { return impl_->instance; }
std::int32_t LocalPools::spawner_pid() const { return impl_->link ? impl_->link->welcome().pid : 0; }

Status LocalPools::configure(const std::vector<PoolConfig>& pools) {
  if (&pools != &impl_->configs) impl_->configs = pools;
  for (std::uint32_t place = 0; place < pools.size(); ++place) {
    impl_->numbers[pools[place].name] = impl_->newest_of(place, pools[place]);
  }
  for (const auto& [number, name] : impl_->replayed) {
    if (impl_->name_of(number) != nullptr) continue;
    spawner::StopPool stop{};
    stop.pool = number;
    if (const Status sent = impl_->link->send(stop, spawner::MessageType::kStopPool); !sent.ok()) return sent;
  }
  for (const PoolConfig& config : pools) {
    const std::uint32_t number = impl_->numbers.at(config.name);
    if (const auto ready = impl_->tasks_known.find(number); ready != impl_->tasks_known.end()) {
      impl_->tasks[config.name] = ready->second;
    }
    if (impl_->replayed.contains(number)) continue;
    impl_->history[number].asked_at = monotonic_now();
    if (const Status started = impl_->start_pool(number, config); !started.ok()) return started;
  }
  return {};
}

Status LocalPools::Impl::start_pool(std::uint32_t number, const PoolConfig& config) {
  spawner::StartPool start{};
  start.pool = number;
  start.memory_bytes_max = config.terms.memory_bytes_max;
  start.processes_max = config.terms.processes_max;
  std::string strings;
  const auto argument = [&](std::string_view text) {
    append_string(strings, text);
    ++start.argv_count;
  };
  argument(setup.zygote_program);
  argument("--spool");
  argument(setup.state_directory + "/output");
  for (const std::string& term : to_arguments(config.terms)) argument(term);
  if (!config.terms.env_allow.empty()) {  // what the pool adds is not to be dropped again
    for (const auto& [key, value] : config.env) {
      argument("--env-allow");
      argument(key);
    }
  }
  for (const auto& [key, value] : config.env) {
    append_string(strings, key + "=" + value);
    ++start.environment_count;
  }
  if (strings.size() > spawner::kStringsBytesMax) {
    return Error{ErrorCode::kInvalidArgument, "pool \"" + config.name + "\": its plugins and environment are over " +
                                                  std::to_string(spawner::kStringsBytesMax) + " bytes"};
  }
  start.strings_bytes = static_cast<std::uint32_t>(strings.size());
  config.name.copy(start.name, sizeof start.name - 1);
  return link->send(start, spawner::MessageType::kStartPool, strings);
}

std::vector<RecoveredRun> LocalPools::recovered() const { return impl_->recovered; }

std::vector<WorkerStarted> LocalPools::live() const {
  std::vector<WorkerStarted> live;
  for (const auto& slot : impl_->slots) {
    if (slot->is_alive() && slot->end() != nullptr && impl_->name_of(slot->pool()) != nullptr) {
      live.push_back({slot->id(), slot->generation(), slot->figures().pid, slot->memory_bytes_max()});
    }
  }
  return live;
}

int LocalPools::fd() const { return impl_->epoll.get(); }

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
      const std::string* const pool_name = name_of(message.pool);
      if (!notice.descriptors.empty()) {
        loops->started(started.id(), pool_name != nullptr ? *pool_name : "", notice.descriptors.front().get());
      }
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

void LocalPools::wait_notices(PoolHandler& handler, int timeout_ms) {
  if (!impl_->link) return;
  pollfd event{impl_->link->fd(), POLLIN, 0};
  if (::poll(&event, 1, timeout_ms) > 0) impl_->poll_link(handler);
}

bool LocalPools::has_strangers() const {
  return std::ranges::any_of(impl_->slots, [this](const auto& slot) {
    return slot->is_alive() && !slot->has_ended() && impl_->name_of(slot->pool()) == nullptr;
  });
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

void LocalPools::Impl::kill_broken(PoolSlot& slot) {
  if (slot.is_alive() && slot.end() != nullptr && slot.end()->is_broken() && !slot.kill_sent) kill(slot, 0);
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
  message.first = message.slot - (message.slot - config->first_slot.value) % message.count;
}

// A worker that was asked for before its zygote was there has waited for that.
void LocalPools::Impl::note_fork(const spawner::WorkerStarted& message) {
  const auto asked = worker_asked_at.extract(message.slot);
  if (asked.empty()) return;  // it was there when this daemon came
  PoolHistory& pool = history[message.pool];
  pool.figures.fork = monotonic_now() - std::max(asked.mapped(), pool.ready_at);
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

Status LocalPools::shut_down_spawner() {
  if (!impl_->link) return {};
  if (const Status sent = impl_->link->send(spawner::Shutdown{}, spawner::MessageType::kShutdown); !sent.ok())
    return sent;
  const Instant until = monotonic_now() + std::chrono::seconds(10);
  while (monotonic_now() < until) {
    const auto notice = impl_->link->wait(static_cast<int>((until - monotonic_now()).count() / 1'000'000) + 1);
    if (!notice.ok()) {
      impl_->link.reset();
      return {};
    }
  }
  return Error{ErrorCode::kDeadlineExceeded, "the spawner has not ended within 10 s"};
}

}  // namespace futured::pool
