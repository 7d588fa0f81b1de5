#include "worker/spawner/spawner.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "worker/channel/channel.h"
#include "worker/spawner/notify.h"
#include "worker/spawner/process_tree.h"

namespace futured::spawner {

namespace {

constexpr int kRecheckMs = 1'000;  // for the end of work while the idle time is over

[[nodiscard]] int ms_until(Instant when, Instant now) {
  if (when == Instant::never()) return -1;
  if (when <= now) return 0;
  return static_cast<int>(std::min<std::int64_t>(((when - now).count() + 999'999) / 1'000'000, 60'000));
}

}  // namespace

Result<std::unique_ptr<Spawner>> Spawner::create(const Options& options) {
  std::unique_ptr<Spawner> spawner(new Spawner(options));
  if (auto opened = spawner->open(); !opened) return opened.error();
  return spawner;
}

Status Spawner::open() {
  if (auto locked = lock(); !locked) return locked;
  const std::string journal_path = options_.state_folder + "/spawner.journal";
  if (auto killed = Journal::kill_leftovers(journal_path); !killed) return killed;

  if (::getrandom(&instance_, sizeof instance_, 0) != sizeof instance_) return system_error("getrandom");
  if (options_.use_cgroup) groups_ = SlotGroups::create(find_own_groups(), instance_);
  kills_around_ = find_memory_kill_sources();  // behind it: we may have another group since
  std::fprintf(stderr, "futured-spawner: %s\n", description_of(groups_).c_str());
  auto journal = Journal::create(journal_path, instance_, groups_.paths());
  if (!journal) return journal.error();
  journal_ = std::move(*journal);
  raise_descriptor_limit();
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) return system_error("prctl PR_SET_CHILD_SUBREAPER");

  epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.is_open()) return system_error("epoll_create1");
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGCHLD, SIGTERM, SIGINT}) ::sigaddset(&signals, signal);
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return system_error("sigprocmask");
  ::signal(SIGHUP, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  signals_ = Fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.is_open()) return system_error("signalfd");
  if (auto watched = watch(signals_.get(), EPOLLIN, Kind::kSignals, 0); !watched) return watched;
  idle_since_ = monotonic_now();
  return listen();
}

// For the vault. What we start gets back what we came with.
void Spawner::raise_descriptor_limit() {
  constexpr rlim_t kWanted = 2 * limits::kSegmentsHeldMax + 16 * limits::kSlotsMax;  // those in queues are copies
  if (::getrlimit(RLIMIT_NOFILE, &descriptors_before_) != 0) return;
  const rlimit raised{std::min(descriptors_before_.rlim_max, std::max(descriptors_before_.rlim_cur, kWanted)),
                      descriptors_before_.rlim_max};
  (void)::setrlimit(RLIMIT_NOFILE, &raised);
}

Status Spawner::lock() {
  const std::string path = options_.state_folder + "/spawner.lock";
  lock_ = Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock_.is_open()) return system_error("open " + path);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return {};
  if (errno != EWOULDBLOCK) return system_error("flock " + path);
  return Error{ErrorCode::kAlreadyExists, "a spawner already serves " + options_.state_folder};
}

Status Spawner::listen() {
  const std::string path = options_.state_folder + "/spawner.sock";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() > limits::kSocketPathBytesMax) {
    return Error{ErrorCode::kInvalidArgument, "the socket path is longer than 107 bytes: " + path};
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  listener_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_.is_open()) return system_error("socket");
  ::unlink(path.c_str());  // ours: we hold the lock
  const mode_t before = ::umask(0177);
  const int bound = ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::umask(before);
  if (bound != 0) return system_error("bind " + path);
  if (::listen(listener_.get(), 16) != 0) return system_error("listen " + path);
  return watch(listener_.get(), EPOLLIN, Kind::kListener, 0);
}

Status Spawner::watch(int descriptor, std::uint32_t events, Kind kind, std::uint32_t id) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = (std::uint64_t{static_cast<std::uint32_t>(kind)} << 32) | id;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) != 0) return system_error("epoll_ctl");
  return {};
}

void Spawner::run() {
  notify_service_manager(std::getenv("NOTIFY_SOCKET"), "READY=1");
  while (!(stopping_ && is_all_gone())) {
    std::array<epoll_event, 64> events;
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), sleep_ms(monotonic_now()));
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      on_event(static_cast<Kind>(event.data.u64 >> 32), static_cast<std::uint32_t>(event.data.u64), event.events);
    }
    on_time(monotonic_now());
    forget_stopped_pools();
    if (daemon_) watch_for_room(*daemon_, Kind::kDaemon, daemon_watched_for_room_);
    if (vault_user_) watch_for_room(*vault_user_, Kind::kVault, vault_watched_for_room_);
  }
  // Nobody is left who could be an exception to this.
  for (auto left = orphans(); !left.empty(); left = orphans()) {
    (void)kill_trees(left);
    reap();
  }
  groups_.remove();
  journal_->remove();
  ::unlink((options_.state_folder + "/spawner.sock").c_str());
}

void Spawner::on_event(Kind kind, std::uint32_t id, std::uint32_t events) {
  switch (kind) {
    case Kind::kListener:
      accept_daemon();
      return;
    case Kind::kSignals: {
      signalfd_siginfo info;
      bool end = false;
      while (::read(signals_.get(), &info, sizeof info) == ssize_t{sizeof info}) end = end || info.ssi_signo != SIGCHLD;
      reap();
      if (end) shut_down();
      return;
    }
    case Kind::kGreeting:
      greet(static_cast<int>(id));
      return;
    case Kind::kDaemon:
      if (daemon_ && daemon_->socket() == static_cast<int>(id)) read_daemon();
      return;
    case Kind::kVault:
      if (vault_user_ && vault_user_->socket() == static_cast<int>(id)) read_vault();
      return;
    case Kind::kZygote:
      if (const auto pool = pools_.find(id); pool != pools_.end()) read_zygote(pool->second);
      return;
    case Kind::kWorker: {
      const auto slot = slots_.find(id);
      if (slot == slots_.end() || !slot->second.pidfd.is_open()) return;
      // Dead, but only its parent can say how. Watched no longer, since a dead pidfd stays readable.
      (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, slot->second.pidfd.get(), nullptr);
      if (!slot->second.exited) slot->second.reap_by = monotonic_now() + std::chrono::seconds(5);
      return;
    }
  }
  (void)events;
}

int Spawner::sleep_ms(Instant now) const {
  Instant next = sample_at_;
  for (const auto& [id, slot] : slots_) next = std::min({next, slot.deadline, slot.reap_by});
  for (const auto& [id, pool] : pools_) {
    if (pool.state == PoolState::State::kDown && pool.pid == 0) next = std::min(next, pool.restart_at);
  }
  if (options_.idle_exit.count() > 0 && !daemon_ && !stopping_) {
    const Instant idle_end = idle_since_ + options_.idle_exit;
    next = std::min(next, idle_end <= now ? now + std::chrono::milliseconds(kRecheckMs) : idle_end);
  }
  return ms_until(next, now);
}

void Spawner::on_time(Instant now) {
  if (sample_at_ <= now) sample(now);
  for (auto& [id, slot] : slots_) {
    if (slot.reap_by <= now) {
      // Its zygote does not reap: then nobody can trust that zygote, and its death hands the zombie to us.
      slot.reap_by = Instant::never();
      const auto pool = pools_.find(slot.pool);
      const auto stat = read_stat(slot.pid);
      if (stat && pool != pools_.end() && pool->second.pid != 0 && stat->parent == pool->second.pid) {
        ::kill(pool->second.pid, SIGKILL);
        slot.reap_by = now + std::chrono::seconds(5);
      } else {
        on_exited(slot, -1, 0, 0);
      }
    }
    if (slot.deadline > now) continue;
    slot.deadline = Instant::never();
    switch (slot.state) {
      case SlotState::State::kTerming:
        begin_kill(slot);
        break;
      case SlotState::State::kKilling:
        go_on_killing(slot);
        break;
      case SlotState::State::kWaiting:
        if (const auto pool = pools_.find(slot.pool); pool != pools_.end()) fork_into(pool->second, slot);
        break;
      case SlotState::State::kForking:
      case SlotState::State::kRunning:
      case SlotState::State::kEnded:
        break;
    }
  }
  for (auto& [id, pool] : pools_) {
    const bool due = pool.state == PoolState::State::kDown && pool.pid == 0 && pool.restart_at <= now;
    if (due && !stopping_) start_zygote(pool);
  }
  if (options_.idle_exit.count() > 0 && !daemon_ && !stopping_ && idle_since_ + options_.idle_exit <= now) {
    if (!has_work()) shut_down();
  }
}

bool Spawner::has_work() const {
  for (const auto& [id, slot] : slots_) {
    if (slot.state == SlotState::State::kEnded) continue;
    const auto map = channel::ChannelMap::map(slot.memory.get());
    if (map && channel::has_unfinished(*map)) return true;
  }
  return false;
}

bool Spawner::is_all_gone() const {
  const bool slots_gone = std::all_of(slots_.begin(), slots_.end(),
                                      [](const auto& entry) { return entry.second.state == SlotState::State::kEnded; });
  const bool pools_gone =
      std::all_of(pools_.begin(), pools_.end(), [](const auto& entry) { return entry.second.pid == 0; });
  return slots_gone && pools_gone && (!daemon_ || !daemon_->is_waiting());
}

}  // namespace futured::spawner
