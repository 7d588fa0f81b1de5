// What happens to the workers in their slots.
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "worker/channel/channel.h"
#include "worker/spawner/process_tree.h"
#include "worker/spawner/spawner.h"

namespace futured::spawner {

namespace {

// Deaths are told by SIGCHLD and by the zygote; this only bounds how long a missed one could go unseen.
constexpr Duration kLookAgain = std::chrono::milliseconds(50);

[[nodiscard]] std::uint64_t cpu_ns_of(const rusage& usage) {
  const auto ns = [](const timeval& time) {
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_usec) * 1'000;
  };
  return ns(usage.ru_utime) + ns(usage.ru_stime);
}

// It was to be killed, or its job has brought the worker down. Where there is one such, its neighbours are innocent.
[[nodiscard]] bool is_guilty(const SlotState& slot) {
  if (slot.count == 1) return false;
  if (slot.kill_asked) return true;
  const auto map = channel::ChannelMap::map(slot.memory.get());
  return map && map->header().is_to_blame.load(std::memory_order_acquire) != 0;
}

}  // namespace

SlotState* Spawner::find(std::uint32_t id, std::uint32_t generation) {
  const auto slot = slots_.find(id);
  return slot == slots_.end() || slot->second.generation != generation ? nullptr : &slot->second;
}

// A new generation: empty channel, new sockets, nothing left of the last worker's figures.
Status Spawner::prepare(SlotState& slot) {
  ++slot.generation;
  slot.pid = 0;
  slot.limits = {};
  slot.confined = {};
  slot.over = Limit::kNone;
  slot.over_what.clear();
  slot.exited = slot.kill_asked = false;
  slot.fork_failures = 0;
  slot.wait_status = -1;
  slot.peak_rss_bytes = slot.cpu_ns = 0;
  slot.deadline = slot.reap_by = Instant::never();
  if (!slot.memory.is_open()) {
    auto memory = channel::create_memory("futured-channel-" + std::to_string(slot.id), slot.geometry);
    if (!memory) return memory.error();
    slot.memory = std::move(*memory);
  }
  if (!slot.to_worker.is_open()) {
    slot.to_worker = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    slot.to_host = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!slot.to_worker.is_open() || !slot.to_host.is_open()) return system_error("eventfd");
  }
  const Status begun = channel::initialise(slot.memory.get(), SlotId{slot.id}, slot.generation, slot.geometry);
  if (!begun) return begun;
  return renew_sockets(slot);
}

Status Spawner::renew_sockets(SlotState& slot) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return system_error("socketpair");
  slot.host_socket = Fd(pair[0]);
  slot.worker_socket = Fd(pair[1]);
  if (::pipe2(pair, O_CLOEXEC) != 0) return system_error("pipe2");
  slot.lifeline_read = Fd(pair[0]);
  slot.lifeline = Fd(pair[1]);
  return {};
}

void Spawner::on_forked(PoolState& pool, const zygote::Forked& message, Fd pidfd) {
  SlotState* slot = find(message.slot, message.generation);
  if (slot == nullptr || slot->state != SlotState::State::kForking || slot->pool != pool.id) {
    (void)::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);  // of a start that was called off
    return;
  }
  slot->pid = message.pid;
  slot->pidfd = std::move(pidfd);
  const auto stat = read_stat(message.pid);
  slot->start_time = stat ? stat->start_time : 0;
  if (stat) {
    if (auto written = journal_->add({slot->pid, slot->start_time}); !written) {
      std::fprintf(stderr, "futured-spawner: journal: %s\n", written.error().message.c_str());
    }
  }
  WorkerLimits limits = pool.limits;
  if (slot->own_memory_bytes_max != 0) limits.memory_bytes_max = slot->own_memory_bytes_max;
  confine(*slot, limits);
  (void)watch(slot->pidfd.get(), EPOLLIN, Kind::kWorker, slot->id);
  bool kill_asked = false;
  for_each_of(*slot, [&](SlotState& each) {
    each.pid = slot->pid;
    each.state = SlotState::State::kRunning;
    kill_asked = kill_asked || each.kill_asked;
  });
  if (kill_asked) return begin_kill(*slot);
  (void)!::write(slot->lifeline.get(), &zygote::kGo, 1);  // fails only if the child is dead already
  for_each_of(*slot, [&](const SlotState& each) { tell_started(each); });
}

void Spawner::on_exited(SlotState& slot, int wait_status, std::uint64_t peak_rss_bytes, std::uint64_t cpu_ns) {
  if (slot.exited || slot.pid == 0 || slot.state == SlotState::State::kEnded) return;
  slot.exited = true;
  slot.reap_by = Instant::never();
  slot.wait_status = wait_status;
  slot.peak_rss_bytes = peak_rss_bytes;
  slot.cpu_ns = cpu_ns;
  begin_kill(slot);  // of whatever it left behind
}

void Spawner::kill_worker(const Kill& message) {
  SlotState* const asked = find(message.slot, message.generation);
  if (asked == nullptr) return;
  SlotState* const slot = asked->state == SlotState::State::kWaiting ? asked : &lead_of(*asked);
  switch (slot->state) {
    case SlotState::State::kEnded:
      return;
    case SlotState::State::kKilling:
      if (asked->count > 1) asked->kill_asked = true;  // one more that may have done it
      return;
    case SlotState::State::kWaiting:
      slot->kill_asked = true;
      return fail_start(*slot, "killed before it began");
    case SlotState::State::kForking:
      asked->kill_asked = true;  // on_forked goes on
      return;
    case SlotState::State::kRunning:
      break;
    case SlotState::State::kTerming:
      if (message.grace_ms > 0) return;
      break;
  }
  asked->kill_asked = true;
  if (message.grace_ms == 0) return begin_kill(*slot);
  slot->state = SlotState::State::kTerming;
  slot->deadline = monotonic_now() + std::chrono::milliseconds(message.grace_ms);
  (void)::syscall(SYS_pidfd_send_signal, slot->pidfd.get(), SIGTERM, nullptr, 0);
}

void Spawner::begin_kill(SlotState& slot) {
  slot.state = SlotState::State::kKilling;
  go_on_killing(slot);
}

// One round. Ends the slot once its worker is reaped and nothing of its tree is left; else there is a next round at the
// next death.
void Spawner::go_on_killing(SlotState& slot) {
  slot.deadline = monotonic_now() + kLookAgain;
  if (slot.confined.kill && !groups_.kill(group_of(slot))) return;
  // Who may write to control groups may have left its own: an empty one proves nothing.
  if (!slot.exited) {
    const auto stat = read_stat(slot.pid);
    if (!stat || stat->start_time != slot.start_time) return;  // its zygote has reaped it, and tells of it next
    const std::array<pid_t, 1> root{slot.pid};
    (void)kill_trees(root);
    return;
  }
  // Looked for twice: while a list of children is read, a death can hide the one behind it.
  std::vector<pid_t> left = orphans();
  if (left.empty()) left = orphans();
  if (left.empty()) return finish(slot);
  (void)kill_trees(left);
}

void Spawner::go_on_killing_all() {
  for (auto& [id, slot] : slots_) {
    if (slot.first == id && slot.state == SlotState::State::kKilling) go_on_killing(slot);
  }
}

// Children of this process that are neither zygotes nor workers that lost their zygote: what dead workers left to us.
std::vector<pid_t> Spawner::orphans() const {
  std::vector<pid_t> children = children_of(::getpid());
  std::erase_if(children, [&](pid_t pid) {
    const auto is_zygote = [&](const auto& entry) { return entry.second.pid == pid; };
    const auto is_worker = [&](const auto& entry) {
      const SlotState& slot = entry.second;
      return slot.first == slot.id && slot.pid == pid && !slot.exited;
    };
    return std::any_of(pools_.begin(), pools_.end(), is_zygote) || std::any_of(slots_.begin(), slots_.end(), is_worker);
  });
  return children;
}

void Spawner::reap() {
  for (;;) {
    int status = 0;
    rusage usage{};
    const pid_t pid = ::wait4(-1, &status, WNOHANG, &usage);
    if (pid <= 0) break;
    for (auto& [id, pool] : pools_) {
      if (pool.pid != pid) continue;
      pool.pid = 0;
      if (pool.socket.is_open()) read_zygote(pool);  // its last words, and then its end of file
      if (pool.socket.is_open()) zygote_lost(pool, "its zygote ended");
      for (auto& [slot_id, slot] : slots_) {
        // Reaped by the zygote that died before it could say how.
        if (slot.pool != id || slot.first != slot_id || slot.pid == 0 || slot.exited) continue;
        if (!read_stat(slot.pid)) on_exited(slot, -1, 0, 0);
      }
    }
    for (auto& [id, slot] : slots_) {
      if (slot.first != id || slot.pid != pid || slot.exited) continue;
      on_exited(slot, status, static_cast<std::uint64_t>(usage.ru_maxrss) * 1024, cpu_ns_of(usage));
    }
  }
  go_on_killing_all();
}

// The worker never began. Nothing ran, so nothing needs killing but a child that may wait at its lifeline.
void Spawner::fail_start(SlotState& slot, std::string_view why) {
  slot.lifeline.reset();
  slot.lifeline_read.reset();
  slot.state = SlotState::State::kEnded;
  slot.deadline = Instant::never();
  slot.ended = {};
  slot.ended.header = {kVersion, static_cast<std::uint32_t>(MessageType::kWorkerEnded)};
  slot.ended.pool = slot.pool;
  slot.ended.slot = slot.id;
  slot.ended.generation = slot.generation;
  slot.ended.cause = static_cast<std::uint32_t>(slot.kill_asked ? EndCause::kKilled : EndCause::kStartFailed);
  slot.ended.wait_status = -1;
  std::memcpy(slot.ended.message, why.data(), std::min(why.size(), kTextBytes - 1));
  tell(channel::bytes_of(slot.ended));
}

// Every slot of the worker is told its end.
void Spawner::finish(SlotState& slot) {
  slot.deadline = Instant::never();
  slot.lifeline.reset();
  slot.pidfd.reset();
  WorkerEnded figures{};
  figures.pid = slot.pid;
  figures.wait_status = slot.wait_status;
  figures.peak_rss_bytes = slot.peak_rss_bytes;
  figures.cpu_ns = slot.cpu_ns;
  judge_memory(slot, figures);
  figures.limit = static_cast<std::uint32_t>(slot.over);
  std::memcpy(figures.message, slot.over_what.data(), std::min(slot.over_what.size(), kTextBytes - 1));
  bool is_one_guilty = false;
  for_each_of(slot, [&](const SlotState& each) { is_one_guilty = is_one_guilty || is_guilty(each); });
  for_each_of(slot, [&](SlotState& each) { tell_end(each, figures, is_one_guilty && !is_guilty(each)); });
  groups_.release(group_of(slot));
  std::vector<JournalEntry> living;
  for (const auto& [id, other] : slots_) {
    if (other.state != SlotState::State::kEnded && other.pid != 0 && other.first == id)
      living.push_back({other.pid, other.start_time});
  }
  for (const auto& [id, pool] : pools_) {
    if (pool.pid == 0) continue;
    if (const auto stat = read_stat(pool.pid)) living.push_back({pool.pid, stat->start_time});
  }
  journal_->compact(living);
}

void Spawner::tell_end(SlotState& slot, const WorkerEnded& figures, bool is_neighbour) {
  slot.state = SlotState::State::kEnded;
  slot.exited = true;
  slot.ended = figures;
  slot.ended.header = {kVersion, static_cast<std::uint32_t>(MessageType::kWorkerEnded)};
  slot.ended.pool = slot.pool;
  slot.ended.slot = slot.id;
  slot.ended.generation = slot.generation;
  const bool is_ours = slot.kill_asked || slot.over != Limit::kNone;
  const EndCause cause = is_neighbour ? EndCause::kNeighbour : is_ours ? EndCause::kKilled : EndCause::kExited;
  slot.ended.cause = static_cast<std::uint32_t>(cause);
  tell(channel::bytes_of(slot.ended));
}

bool Spawner::is_all_waiting(const SlotState& slot) {
  std::uint32_t waiting = 0;
  for_each_of(slot, [&](const SlotState& each) {
    if (each.pool == slot.pool && each.first == slot.first && each.state == SlotState::State::kWaiting) ++waiting;
  });
  return waiting == slot.count;
}

}  // namespace futured::spawner
