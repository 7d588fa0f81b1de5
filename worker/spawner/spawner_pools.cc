// The spawner's side towards its zygotes.
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "worker/channel/packet.h"
#include "worker/spawner/process_tree.h"
#include "worker/spawner/spawner.h"

extern char** environ;  // NOLINT: POSIX asks for this declaration

namespace futured::spawner {

namespace {

constexpr Duration kBackoffMin = std::chrono::milliseconds(100);
constexpr Duration kBackoffMax = std::chrono::seconds(30);
constexpr Duration kSteady = std::chrono::seconds(10);  // a zygote that lasts so long starts the backoff anew
constexpr std::size_t kTasksMax = 10'000;
constexpr int kForkTries = 5;
constexpr Duration kForkAgain = std::chrono::milliseconds(200);

struct Child {
  pid_t pid = 0;
  int exec_errno = 0;
};

// Everything that the child needs is made before the fork: after it only system calls.
[[nodiscard]] Child start_program(const std::vector<std::string>& argv, const std::vector<std::string>& environment,
                                  int control, const rlimit& descriptors) {
  std::vector<char*> argv_pointers;
  for (const std::string& argument : argv) argv_pointers.push_back(const_cast<char*>(argument.c_str()));
  argv_pointers.push_back(nullptr);
  std::vector<char*> environment_pointers;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view key = std::string_view(*entry).substr(0, std::string_view(*entry).find('=') + 1);
    const bool replaced = std::any_of(environment.begin(), environment.end(),
                                      [&](const std::string& ours) { return ours.starts_with(key); });
    if (!replaced && key != "NOTIFY_SOCKET=") environment_pointers.push_back(*entry);
  }
  for (const std::string& entry : environment) environment_pointers.push_back(const_cast<char*>(entry.c_str()));
  environment_pointers.push_back(nullptr);
  int report[2];
  if (::pipe2(report, O_CLOEXEC) != 0) return {0, errno};
  Fd report_read(report[0]);
  Fd report_write(report[1]);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return {0, errno};
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);
    ::setsid();
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    ::signal(SIGHUP, SIG_DFL);
    ::setrlimit(RLIMIT_NOFILE, &descriptors);
    // Clear of 3, so that neither dup2 below hits the other's source.
    const int report_high = ::fcntl(report_write.get(), F_DUPFD_CLOEXEC, 10);
    const int control_high = ::fcntl(control, F_DUPFD_CLOEXEC, 10);
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    ::dup2(null, 0);
    ::dup2(2, 1);
    ::dup2(control_high, zygote::kControlFd);
    ::execvpe(argv_pointers[0], argv_pointers.data(), environment_pointers.data());
    const int error = errno;
    (void)!::write(report_high, &error, sizeof error);
    ::_exit(127);
  }
  report_write.reset();
  Child child{pid, 0};
  int error = 0;
  ssize_t got;
  do {
    got = ::read(report_read.get(), &error, sizeof error);
  } while (got < 0 && errno == EINTR);
  if (got == ssize_t{sizeof error}) child.exec_errno = error;
  return child;
}

[[nodiscard]] bool is_terminated(const char* text, std::size_t size) {
  return std::memchr(text, '\0', size) != nullptr;
}

}  // namespace

void Spawner::start_zygote(PoolState& pool) {
  pool.tasks.clear();
  pool.failure.clear();
  pool.restart_at = Instant::never();
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
    return zygote_lost(pool, system_error("socketpair").message);
  }
  pool.socket = Fd(pair[0]);
  const Fd theirs(pair[1]);
  // The zygote's end blocks: nothing of the protocol asks a zygote to do otherwise.
  (void)::fcntl(theirs.get(), F_SETFL, 0);
  std::vector<std::string> environment = pool.environment;
  environment.push_back(instance_entry(instance_));
  pool.state = PoolState::State::kStarting;
  const Child child = start_program(pool.argv, environment, theirs.get(), descriptors_before_);
  pool.pid = child.pid;
  if (child.pid == 0 || child.exec_errno != 0) {
    return zygote_lost(pool, system_error("cannot start " + pool.argv[0], child.exec_errno).message);
  }
  if (const auto stat = read_stat(child.pid)) (void)journal_->add({child.pid, stat->start_time});
  // Best effort: the group only serves to find a zygote that outlives us; its workers are moved on to their slots'.
  (void)groups_.confine("pool-" + std::to_string(pool.id), child.pid, {});
  if (auto watched = watch(pool.socket.get(), EPOLLIN, Kind::kZygote, pool.id); !watched) {
    zygote_lost(pool, watched.error().message);
  }
}

void Spawner::read_zygote(PoolState& pool) {
  std::array<char, sizeof(zygote::Failed) + 1> buffer;
  while (pool.socket.is_open()) {
    auto packet = channel::receive_packet(pool.socket.get(), buffer);
    if (packet && !packet->has_value()) return;
    if (!packet) return zygote_lost(pool, packet.error().message);
    if ((*packet)->bytes == 0) return zygote_lost(pool, pool.failure.empty() ? "its zygote ended" : pool.failure);
    if (!on_zygote(pool, {buffer.data(), (*packet)->bytes}, (*packet)->descriptors)) {
      return zygote_lost(pool, "its zygote sent what is not of the protocol");
    }
  }
}

bool Spawner::on_zygote(PoolState& pool, std::string_view bytes, std::vector<Fd>& descriptors) {
  zygote::MessageHeader header;
  if (bytes.size() < sizeof header) return false;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version != zygote::kVersion) return false;
  const auto read_as = [&](auto& message) {
    if (bytes.size() != sizeof message) return false;
    std::memcpy(&message, bytes.data(), sizeof message);
    return true;
  };
  switch (static_cast<zygote::MessageType>(header.type)) {
    case zygote::MessageType::kTask: {
      zygote::Task task;
      if (!read_as(task) || task.index != pool.tasks.size() || pool.tasks.size() >= kTasksMax) return false;
      if (!is_terminated(task.name, sizeof task.name) || !is_terminated(task.version, sizeof task.version))
        return false;
      pool.tasks.push_back(task);
      return true;
    }
    case zygote::MessageType::kReady:
      if (!read_as(pool.ready) || pool.ready.task_count != pool.tasks.size()) return false;
      on_ready(pool);
      return true;
    case zygote::MessageType::kFailed: {
      zygote::Failed failed;
      if (!read_as(failed) || !is_terminated(failed.message, sizeof failed.message)) return false;
      pool.failure = failed.message;
      return true;
    }
    case zygote::MessageType::kForked: {
      zygote::Forked forked;
      if (!read_as(forked) || descriptors.size() != 1 || forked.pid <= 1) return false;
      on_forked(pool, forked, std::move(descriptors.front()));
      return true;
    }
    case zygote::MessageType::kForkFailed: {
      zygote::ForkFailed failed;
      if (!read_as(failed)) return false;
      SlotState* slot = find(failed.slot, failed.generation);
      if (slot == nullptr || slot->state != SlotState::State::kForking) return true;
      on_fork_failed(*slot, failed.error_number);
      return true;
    }
    case zygote::MessageType::kExited: {
      zygote::Exited exited;
      if (!read_as(exited)) return false;
      SlotState* slot = find(exited.slot, exited.generation);
      if (slot != nullptr && slot->pid == exited.pid && slot->pool == pool.id) {
        on_exited(*slot, exited.wait_status, exited.peak_rss_bytes, exited.cpu_ns);
      }
      return true;
    }
    case zygote::MessageType::kFork:
    case zygote::MessageType::kReload:
      break;
  }
  return false;
}

void Spawner::on_ready(PoolState& pool) {
  if (pool.state != PoolState::State::kStarting) return;
  if (pool.mode != 0 && pool.ready.mode != pool.mode) {
    pool.failure = "its zygote serves another mode than the pool's";
    return zygote_lost(pool, std::string(pool.failure));
  }
  if (pool.ready.threads > 1 && !pool.allow_threads) {
    return zygote_lost(pool, "its zygote has " + std::to_string(pool.ready.threads) +
                                 " threads, and the pool does not allow forks from threads");
  }
  pool.state = PoolState::State::kReady;
  pool.ready_at = monotonic_now();
  tell_pool(pool);
  for (auto& [id, slot] : slots_) {
    if (slot.pool == pool.id && slot.state == SlotState::State::kWaiting) fork_into(pool, slot);
  }
}

// Its workers go on, and are reaped here from now on; those that were being forked are forked again by the next one.
void Spawner::zygote_lost(PoolState& pool, std::string_view why) {
  const bool was_stopping = pool.state == PoolState::State::kStopping;
  pool.failure = why;
  pool.socket.reset();
  if (pool.pid != 0) ::kill(pool.pid, SIGKILL);
  if (was_stopping || stopping_) return;
  const Instant now = monotonic_now();
  const bool steady = pool.state == PoolState::State::kReady && now - pool.ready_at >= kSteady;
  pool.backoff = steady || pool.backoff.count() == 0 ? kBackoffMin : std::min(pool.backoff * 2, kBackoffMax);
  pool.state = PoolState::State::kDown;
  pool.restart_at = now + pool.backoff;
  tell_pool(pool);
  for (auto& [id, slot] : slots_) {
    if (slot.pool != pool.id || slot.state != SlotState::State::kForking) continue;
    // A child that was forked and not told of meets the end of its lifeline before it does anything.
    if (slot.kill_asked) {
      fail_start(slot, "killed before it began");
    } else if (auto renewed = renew_sockets(slot); renewed) {
      slot.state = SlotState::State::kWaiting;
    } else {
      fail_start(slot, renewed.error().message);
    }
  }
}

void Spawner::fork_into(PoolState& pool, SlotState& slot) {
  if (pool.state == PoolState::State::kStopping) return fail_start(slot, "its pool is being stopped");
  if (pool.state != PoolState::State::kReady) return;  // on_ready comes back to it
  if (!is_all_waiting(slot)) return;                   // the last of them comes back to it
  SlotState& lead = lead_of(slot);
  zygote::Fork message{};
  message.header = {zygote::kVersion, static_cast<std::uint32_t>(zygote::MessageType::kFork)};
  message.slot = lead.id;
  message.generation = lead.generation;
  message.count = lead.count;
  std::vector<int> descriptors;
  for_each_of(lead, [&](const SlotState& each) {
    descriptors.insert(descriptors.end(),
                       {each.memory.get(), each.to_worker.get(), each.to_host.get(), each.worker_socket.get()});
  });
  descriptors.push_back(lead.lifeline_read.get());
  switch (channel::send_packet(pool.socket.get(), channel::bytes_of(message), descriptors)) {
    case channel::Sent::kYes:
      for_each_of(lead, [](SlotState& each) {
        each.lifeline_read.reset();
        each.state = SlotState::State::kForking;
      });
      return;
    case channel::Sent::kFull:
      slot.deadline = monotonic_now() + std::chrono::milliseconds(5);
      return;
    case channel::Sent::kGone:
      return;  // its end of file is on the way, and then the next zygote
  }
}

// The machine is short of processes or memory: that may pass, and asking at once would only make it worse.
void Spawner::on_fork_failed(SlotState& slot, int error_number) {
  ++slot.fork_failures;
  for_each_of(slot, [&](SlotState& each) {
    if (const auto renewed = renew_sockets(each); !renewed) return fail_start(each, renewed.error().message);
    if (each.kill_asked) return fail_start(each, "killed before it began");
    if (slot.fork_failures >= kForkTries) return fail_start(each, system_error("fork", error_number).message);
    each.state = SlotState::State::kWaiting;
    each.deadline = monotonic_now() + kForkAgain;
  });
}

void Spawner::stop_pool(PoolState& pool) {
  if (pool.state == PoolState::State::kStopping) return;
  pool.state = PoolState::State::kStopping;
  for (auto& [id, slot] : slots_) {
    if (slot.pool != pool.id || slot.state == SlotState::State::kEnded) continue;
    slot.kill_asked = true;
    const bool begun = slot.state != SlotState::State::kWaiting && slot.state != SlotState::State::kForking;
    if (begun) {
      begin_kill(lead_of(slot));
    } else {
      fail_start(slot, "its pool is being stopped");
    }
  }
}

// The zygote goes last: it is who can say how its workers ended.
void Spawner::forget_stopped_pools() {
  for (auto entry = pools_.begin(); entry != pools_.end();) {
    PoolState& pool = entry->second;
    const bool workers_gone = std::none_of(slots_.begin(), slots_.end(), [&](const auto& slot) {
      return slot.second.pool == pool.id && slot.second.state != SlotState::State::kEnded;
    });
    if (pool.state != PoolState::State::kStopping || !workers_gone || pool.pid != 0) {
      if (pool.state == PoolState::State::kStopping && workers_gone && pool.socket.is_open()) {
        pool.socket.reset();
        ::kill(pool.pid, SIGKILL);
      }
      ++entry;
      continue;
    }
    PoolStopped message{};
    message.header = {kVersion, static_cast<std::uint32_t>(MessageType::kPoolStopped)};
    message.pool = pool.id;
    tell(channel::bytes_of(message));
    groups_.release("pool-" + std::to_string(pool.id));
    entry = pools_.erase(entry);
  }
}

}  // namespace futured::spawner
