#include "client/cpp/home_process.h"

#include <pthread.h>

#include <atomic>

#include "futured/errors.h"

namespace futured::client {

namespace {

// Forks between the first process that made something here and this one.
std::atomic<std::uint32_t> generation{0};

void count_forks() {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { generation.fetch_add(1); });
  static_cast<void>(registered);
}

}  // namespace

HomeProcess::HomeProcess() {
  count_forks();
  generation_ = generation.load();
}

bool HomeProcess::is_here() const { return generation.load(std::memory_order_relaxed) == generation_; }

void HomeProcess::check() const {
  if (is_here()) return;
  throw Error(ErrorKind::kFailedPrecondition,
              "this client was connected before a fork: connect a new one in the child process");
}

}  // namespace futured::client
