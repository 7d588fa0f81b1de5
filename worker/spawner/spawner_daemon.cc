// The spawner's side towards the daemon.
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "worker/spawner/spawner.h"

namespace futured::spawner {

namespace {

constexpr std::size_t kGreetingsMax = 16;

template <typename Message>
[[nodiscard]] Message make(MessageType type) {
  Message message{};
  message.header = {kVersion, static_cast<std::uint32_t>(type)};
  return message;
}

template <typename Message>
[[nodiscard]] bool read_as(std::string_view bytes, Message& message) {
  return bytes.size() == sizeof message && channel::read_head(bytes, message);
}

template <std::size_t size>
void put_text(char (&field)[size], std::string_view text) {
  text = text.substr(0, size - 1);
  std::memcpy(field, text.data(), text.size());
  field[text.size()] = '\0';
}

}  // namespace

void Spawner::accept_daemon() {
  Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.is_open() || greetings_.size() >= kGreetingsMax || stopping_) return;
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return;
  if (peer.uid != ::geteuid() && peer.uid != 0) return;
  const int number = socket.get();
  if (!watch(number, EPOLLIN, Kind::kGreeting, static_cast<std::uint32_t>(number))) return;
  greetings_.emplace(number, std::move(socket));
}

void Spawner::greet(int number) {
  const auto found = greetings_.find(number);
  if (found == greetings_.end()) return;
  Fd socket = std::move(found->second);
  greetings_.erase(found);
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, number, nullptr);

  std::array<char, 256> buffer;
  const auto packet = channel::receive_packet(number, buffer);
  Hello hello{};  // of the same size as VAULT_HELLO, and its epoch in the same place
  static_assert(sizeof(VaultHello) == sizeof hello && offsetof(VaultHello, epoch) == offsetof(Hello, epoch));
  if (!packet || !packet->has_value() || !read_as({buffer.data(), (*packet)->bytes}, hello)) return;
  const bool is_for_vault = hello.header.type == static_cast<std::uint32_t>(VaultMessageType::kHello);
  if (!is_for_vault && hello.header.type != static_cast<std::uint32_t>(MessageType::kHello)) return;
  auto refused = make<Refused>(MessageType::kRefused);
  if (hello.header.version != kVersion) {
    put_text(refused.message, "the spawner speaks version " + std::to_string(kVersion) + " of its protocol");
  }
  if (hello.epoch < epoch_)
    put_text(refused.message, "a daemon of a higher epoch has been here: " + std::to_string(epoch_));
  if (refused.message[0] != '\0') {
    (void)channel::send_packet(number, channel::bytes_of(refused));
    return;
  }
  if (is_for_vault) {
    if (!watch(number, EPOLLIN, Kind::kVault, static_cast<std::uint32_t>(number))) return;
    if (vault_user_) read_vault();
    vault_user_.emplace(std::move(socket));
    vault_watched_for_room_ = false;
    if (!vault_.tell(*vault_user_)) vault_user_.reset();
    return;
  }
  if (daemon_) drop_daemon("another daemon of epoch " + std::to_string(hello.epoch) + " took over");
  epoch_ = hello.epoch;
  if (!watch(number, EPOLLIN, Kind::kDaemon, static_cast<std::uint32_t>(number))) return;
  daemon_.emplace(std::move(socket));
  daemon_watched_for_room_ = false;
  welcome();
}

void Spawner::welcome() {
  auto message = make<Welcome>(MessageType::kWelcome);
  message.instance = instance_;
  message.pid = ::getpid();
  message.kills_by = static_cast<std::uint32_t>(groups_.kills_by());
  message.memory_by = static_cast<std::uint32_t>(groups_.memory_by());
  message.processes_by = static_cast<std::uint32_t>(groups_.processes_by());
  tell(channel::bytes_of(message));
  for (const auto& [id, pool] : pools_) {
    auto replay = make<Pool>(MessageType::kPool);
    replay.pool = id;
    replay.mode = pool.mode;
    put_text(replay.name, pool.name);
    tell(channel::bytes_of(replay));
    tell_pool(pool);
  }
  for (const auto& [id, slot] : slots_) {
    const bool begun = slot.state == SlotState::State::kRunning || slot.state == SlotState::State::kTerming ||
                       slot.state == SlotState::State::kKilling || slot.state == SlotState::State::kEnded;
    if (!begun || slot.generation == 0) continue;
    tell_started(slot);
    if (slot.state == SlotState::State::kEnded) tell(channel::bytes_of(slot.ended));
  }
  tell(channel::bytes_of(make<Replayed>(MessageType::kReplayed)));
}

void Spawner::tell(std::string_view bytes, std::span<const int> descriptors) {
  if (daemon_ && !daemon_->send(bytes, descriptors)) drop_daemon("it is gone or does not read");
}

void Spawner::drop_daemon(std::string_view why) {
  std::fprintf(stderr, "futured-spawner: daemon dropped: %.*s\n", static_cast<int>(why.size()), why.data());
  daemon_.reset();
  idle_since_ = monotonic_now();
}

// Asks epoll for room in the connection's socket while something is queued for it.
void Spawner::watch_for_room(Connection& connection, Kind kind, bool& watched) {
  if (connection.is_waiting() == watched) return;
  watched = connection.is_waiting();
  epoll_event event{};
  event.events = watched ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.u64 =
      (std::uint64_t{static_cast<std::uint32_t>(kind)} << 32) | static_cast<std::uint32_t>(connection.socket());
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.socket(), &event);
}

// What a daemon had given before it went is read to the end: the last of it may be what it had just acknowledged.
void Spawner::read_vault() {
  std::array<char, sizeof(NeedSegment) + kNeedRangesMax * sizeof(JobRange) + limits::kContentTypeBytesMax> buffer;
  for (;;) {
    auto packet = channel::receive_packet(vault_user_->socket(), buffer);
    if (packet && !packet->has_value()) break;
    if (packet && (*packet)->bytes > 0 && vault_.handle({buffer.data(), (*packet)->bytes}, (*packet)->descriptors))
      continue;
    if (!packet || (*packet)->bytes > 0) {
      std::fprintf(stderr, "futured-spawner: keeps no more segments for this daemon: %s\n",
                   packet ? "it sent what is not of this protocol" : packet.error().message.c_str());
    }
    return vault_user_.reset();
  }
  if (!vault_user_->flush()) vault_user_.reset();
}

void Spawner::read_daemon() {
  if (!daemon_->flush()) return drop_daemon("it is gone");
  std::vector<char> buffer(kPacketBytesMax + 1);
  const int socket = daemon_->socket();
  while (daemon_ && daemon_->socket() == socket) {
    const auto packet = channel::receive_packet(socket, buffer);
    if (packet && !packet->has_value()) return;
    if (!packet || (*packet)->bytes == 0) return drop_daemon(packet ? "it closed" : packet.error().message);
    if (!handle({buffer.data(), (*packet)->bytes})) return drop_daemon("it sent what is not of this protocol");
  }
}

bool Spawner::handle(std::string_view bytes) {
  MessageHeader header;
  if (bytes.size() < sizeof header) return false;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version != kVersion) return false;
  switch (static_cast<MessageType>(header.type)) {
    case MessageType::kStartPool: {
      StartPool message;
      if (bytes.size() < sizeof message || !read_as(bytes.substr(0, sizeof message), message)) return false;
      if (bytes.size() != sizeof message + message.strings_bytes) return false;
      message.name[kNameBytes - 1] = '\0';
      start_pool(message, bytes.substr(sizeof message));
      return true;
    }
    case MessageType::kStartWorker: {
      StartWorker message;
      if (!read_as(bytes, message)) return false;
      start_worker(message);
      return true;
    }
    case MessageType::kKill: {
      Kill message;
      if (!read_as(bytes, message)) return false;
      kill_worker(message);
      return true;
    }
    case MessageType::kStopPool: {
      StopPool message;
      if (!read_as(bytes, message)) return false;
      if (const auto pool = pools_.find(message.pool); pool != pools_.end()) stop_pool(pool->second);
      return true;
    }
    case MessageType::kShutdown:
      shut_down();
      return true;
    case MessageType::kHello:
    case MessageType::kWelcome:
    case MessageType::kRefused:
    case MessageType::kPool:
    case MessageType::kPoolTask:
    case MessageType::kPoolReady:
    case MessageType::kPoolFailed:
    case MessageType::kPoolStopped:
    case MessageType::kWorkerStarted:
    case MessageType::kWorkerEnded:
    case MessageType::kReplayed:
      break;
  }
  return false;
}

void Spawner::tell_pool(const PoolState& pool) {
  if (pool.state == PoolState::State::kReady) {
    for (const zygote::Task& task : pool.tasks) {
      auto message = make<PoolTask>(MessageType::kPoolTask);
      message.pool = pool.id;
      message.index = task.index;
      put_text(message.name, task.name);
      put_text(message.version, task.version);
      tell(channel::bytes_of(message));
    }
    auto message = make<PoolReady>(MessageType::kPoolReady);
    message.pool = pool.id;
    message.mode = pool.ready.mode;
    message.task_count = pool.ready.task_count;
    message.threads = pool.ready.threads;
    tell(channel::bytes_of(message));
  } else if (pool.state == PoolState::State::kDown) {
    auto message = make<PoolFailed>(MessageType::kPoolFailed);
    message.pool = pool.id;
    message.retry_ms = static_cast<std::uint32_t>(pool.backoff.count() / 1'000'000);
    put_text(message.message, pool.failure);
    tell(channel::bytes_of(message));
  }
}

void Spawner::tell_started(const SlotState& slot) {
  auto message = make<WorkerStarted>(MessageType::kWorkerStarted);
  message.pool = slot.pool;
  message.slot = slot.id;
  message.generation = slot.generation;
  message.pid = slot.pid;
  message.memory_bytes_max = slot.own_memory_bytes_max;
  const std::array<int, kWorkerDescriptors> descriptors{slot.memory.get(), slot.to_worker.get(), slot.to_host.get(),
                                                        slot.host_socket.get()};
  tell(channel::bytes_of(message), descriptors);
}

void Spawner::start_pool(const StartPool& message, std::string_view strings) {
  if (stopping_ || pools_.contains(message.pool)) return;
  PoolState pool;
  pool.id = message.pool;
  pool.name = message.name;
  pool.mode = message.mode;
  pool.allow_threads = message.allow_threads != 0;
  pool.limits = {message.memory_bytes_max, message.processes_max};
  std::vector<std::string> all;
  while (!strings.empty()) {
    const std::size_t end = strings.find('\0');
    if (end == std::string_view::npos) break;
    all.emplace_back(strings.substr(0, end));
    strings.remove_prefix(end + 1);
  }
  PoolState& kept = pools_.emplace(message.pool, std::move(pool)).first->second;
  if (message.argv_count == 0 || all.size() != std::size_t{message.argv_count} + message.environment_count) {
    kept.failure = "START_POOL names no program";
    tell_pool(kept);
    return;
  }
  const auto environment = all.begin() + static_cast<std::ptrdiff_t>(message.argv_count);
  kept.argv.assign(all.begin(), environment);
  kept.environment.assign(environment, all.end());
  start_zygote(kept);
}

void Spawner::start_worker(const StartWorker& message) {
  const bool is_among = message.slot >= message.first && message.slot - message.first < message.count;
  if (message.count < 1 || message.count > limits::kJobsAtOnceMax || !is_among) return;
  if (message.runs_at_once < 1 || message.runs_at_once > limits::kCoroutinesMax) return;
  if (message.count > 1 && message.memory_bytes_max != 0) return;  // nobody could say whose it is
  SlotState& slot = slots_[message.slot];
  if (slot.state != SlotState::State::kEnded || stopping_) return;  // a START_WORKER that crossed with a replay
  slot.id = message.slot;
  slot.pool = message.pool;
  slot.first = message.first;
  slot.count = message.count;
  if (const auto wanted = channel::geometry_for(message.runs_at_once); slot.geometry != wanted) {
    slot.geometry = wanted;
    slot.memory.reset();
  }
  slot.own_memory_bytes_max = message.memory_bytes_max;
  if (auto prepared = prepare(slot); !prepared) return fail_start(slot, prepared.error().message);
  const auto pool = pools_.find(message.pool);
  if (pool == pools_.end()) return fail_start(slot, "no such pool");
  slot.state = SlotState::State::kWaiting;
  fork_into(pool->second, slot);
}

void Spawner::shut_down() {
  if (stopping_) return;
  stopping_ = true;
  listener_.reset();
  greetings_.clear();
  for (auto& [id, pool] : pools_) stop_pool(pool);
}

}  // namespace futured::spawner
