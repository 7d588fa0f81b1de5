// What the spawner knows of its pools and slots.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/time.h"
#include "worker/channel/channel.h"
#include "worker/channel/zygote.h"
#include "worker/spawner/slot_groups.h"
#include "worker/spawner/wire.h"

namespace futured::spawner {

struct PoolState {
  std::uint32_t id = 0;
  std::string name;
  std::uint32_t mode = 0;
  bool allow_threads = false;
  std::vector<std::string> argv;
  std::vector<std::string> environment;
  WorkerLimits limits;

  enum class State { kStarting, kReady, kDown, kStopping };
  State state = State::kDown;
  pid_t pid = 0;  // 0: no zygote, or it has been reaped
  Fd socket;      // to the zygote
  zygote::Ready ready{};
  std::vector<zygote::Task> tasks;
  std::string failure;                    // what it said of itself, or what we saw last
  Instant restart_at = Instant::never();  // kDown
  Instant ready_at;
  Duration backoff{0};
};

struct SlotState {
  std::uint32_t id = 0;
  std::uint32_t pool = 0;
  std::uint32_t generation = 0;
  // Of the slots that its worker serves: the first one leads, and knows pid, pidfd, lifeline, confinement and figures.
  std::uint32_t first = 0;
  std::uint32_t count = 1;
  channel::Geometry geometry;

  enum class State {
    kWaiting,  // for a zygote that is ready, and for the others of its worker
    kForking,  // FORK is sent
    kRunning,
    kTerming,  // SIGTERM is sent, the grace runs
    kKilling,  // until nothing of its tree is left
    kEnded,
  };
  State state = State::kEnded;

  // Of the slot.
  Fd memory;
  Fd to_worker;
  Fd to_host;
  // Of the generation. Both ends of the socket stay here, so that a result in it outlives worker and daemon.
  Fd host_socket;
  Fd worker_socket;
  Fd lifeline_read;  // until the zygote has it
  Fd lifeline;       // closing it ends the worker
  Fd pidfd;
  pid_t pid = 0;
  std::uint64_t start_time = 0;
  std::uint64_t own_memory_bytes_max = 0;  // of this generation, in place of its pool's; 0: none
  WorkerLimits limits;
  Confined confined;
  MemoryEvents memory_before;             // of its group
  std::uint64_t kills_around_before = 0;  // where it is among others
  Limit over = Limit::kNone;              // what it was killed for
  std::string over_what;                  // kNone: empty

  bool exited = false;  // reaped: the figures below are final
  bool kill_asked = false;
  int fork_failures = 0;  // of this generation
  int wait_status = -1;
  std::uint64_t peak_rss_bytes = 0;
  std::uint64_t cpu_ns = 0;
  Instant deadline = Instant::never();  // kTerming: end of the grace; kKilling, kWaiting: next look
  Instant reap_by = Instant::never();   // its pidfd says dead, its zygote has yet to say how
  WorkerEnded ended{};                  // kEnded with a generation: what was told
};

}  // namespace futured::spawner
