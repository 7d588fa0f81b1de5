#include "client/cli/store_watch.h"

#include <exception>
#include <utility>

#include "client/cli/cli.h"
#include "futured/client.h"

namespace futured::cli {

namespace {

// Nothing tells of a store that fails, so it is asked: soon, for most waits are short, then seldom, for some last days.
constexpr client::Milliseconds kFirstAfter(3'000);
constexpr client::Milliseconds kAgainAfter(10'000);

}  // namespace

StoreWatch::StoreWatch(std::string address) : address_(std::move(address)), thread_([this] { run(); }) {}

StoreWatch::~StoreWatch() {
  {
    const std::lock_guard guard(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StoreWatch::run() {
  client::Milliseconds patience = kFirstAfter;
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, patience, [this] { return over_; })) {
    lock.unlock();
    const bool told = tell_if_failing();
    lock.lock();
    if (told) return;
    patience = kAgainAfter;
  }
}

// Over a connection of its own, which is given up at once: the verb's own would wait for a daemon that is gone, and the
// end of the verb for that.
bool StoreWatch::tell_if_failing() const {
  constexpr client::Milliseconds kNone(0);
  try {
    const client::Client client =
        client::Client::connect(address_, {.connect_timeout = kNone, .reconnect_timeout = kNone});
    const auto figures = client.stats().figures;
    const auto failing = figures.find("store_failing");
    if (failing == figures.end() || failing->second == 0) return false;
  } catch (const std::exception&) {
    return false;  // what is wrong with the daemon, the verb hears and tells
  }
  complain(
      "the daemon cannot commit (is its disk full?), so no job ends: fut doctor says where to make room; waiting on");
  return true;
}

}  // namespace futured::cli
