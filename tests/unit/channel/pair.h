// Both ends of one channel in one process, for tests.
#pragma once

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fcntl.h>

#include <cstdint>
#include <optional>
#include <string>

#include "worker/channel/host_end.h"
#include "worker/channel/worker_end.h"

namespace futured::channel {

inline Fd duplicate(int descriptor) { return Fd(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0)); }

// What the spawner holds of a slot.
struct TestSlot {
  explicit TestSlot(Geometry sizes = {}) : geometry(sizes) {
    memory = create_memory("test", geometry).value();
    to_worker = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    to_host = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    begin(1);
  }

  void begin(std::uint32_t generation) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) std::abort();
    host_socket = Fd(pair[0]);
    worker_socket = Fd(pair[1]);
    if (::pipe2(pair, O_CLOEXEC) != 0) std::abort();
    lifeline_read = Fd(pair[0]);
    lifeline_write = Fd(pair[1]);
    if (!initialise(memory.get(), SlotId{1}, generation, geometry)) std::abort();
  }

  [[nodiscard]] ChannelFds fds(const Fd& socket) const {
    return {duplicate(memory.get()), duplicate(to_worker.get()), duplicate(to_host.get()), duplicate(socket.get())};
  }
  [[nodiscard]] Result<HostEnd> try_host() const { return HostEnd::attach(fds(host_socket)); }
  [[nodiscard]] HostEnd host() const {
    auto end = try_host();
    if (!end) ADD_FAILURE() << end.error().message;
    return std::move(*end);
  }
  [[nodiscard]] WorkerEnd worker() const {
    auto end = WorkerEnd::attach(fds(worker_socket), duplicate(lifeline_read.get()));
    if (!end) ADD_FAILURE() << end.error().message;
    return std::move(*end);
  }

  Geometry geometry;
  Fd memory, to_worker, to_host, host_socket, worker_socket, lifeline_read, lifeline_write;
};

inline Fence fence(std::uint64_t job, std::uint32_t attempt = 1) { return {JobId{job}, Epoch{7}, attempt}; }

inline RunRequest request(std::uint64_t job, std::string_view payload = {}) {
  RunRequest run;
  run.fence = fence(job);
  run.payload = payload;
  return run;
}

// Takes and finishes one run, or says why not.
inline bool work_one(WorkerEnd& worker, std::string_view result = {}) {
  Run run;
  if (worker.try_next(run) != Intake::kRun) return false;
  if (worker.take(run) != Take::kTaken) return false;
  Outcome outcome;
  outcome.result = result;
  worker.done(run, outcome);
  return true;
}

// The next response, which must be a DONE.
inline std::optional<Done> read_done(HostEnd& host) {
  Response response;
  if (host.read(response) != Read::kResponse) return {};
  return std::get<Done>(response);
}

}  // namespace futured::channel
