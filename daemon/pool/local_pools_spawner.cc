// What the spawner is asked for: pools, reloads, its own end.
#include <algorithm>
#include <utility>

#include "daemon/pool/local_pools_impl.h"

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
  for (const auto& slot : impl_->slots) {
    const bool is_misplaced = impl_->name_of(slot->pool()) != nullptr && impl_->is_strange(*slot);
    if (slot->is_alive() && is_misplaced) impl_->kill(*slot, 0);
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
