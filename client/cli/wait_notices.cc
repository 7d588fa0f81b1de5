#include "client/cli/wait_notices.h"

#include <algorithm>
#include <exception>
#include <span>
#include <utility>

#include "client/cli/cli.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

// Nothing tells of it, so the daemon is asked: soon, for most waits are short, then seldom, for some last days.
constexpr client::Milliseconds kFirstAfter(2'000);
constexpr client::Milliseconds kAgainAfter(10'000);
constexpr std::size_t kJobsAskedMax = 100;  // one call each

}  // namespace

WaitNotices::WaitNotices(std::string address, std::vector<std::uint64_t> jobs, Tell tell)
    : address_(std::move(address)), tell_(std::move(tell)), jobs_(std::move(jobs)), thread_([this] { run(); }) {}

WaitNotices::~WaitNotices() {
  {
    const std::lock_guard guard(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void WaitNotices::turn_to(std::uint64_t job) {
  const std::lock_guard guard(mutex_);
  jobs_.assign(1, job);
  since_ = Clock::now();
}

void WaitNotices::run() {
  std::unique_lock lock(mutex_);
  Clock::time_point next_look = since_;
  while (!store_told_) {
    const Clock::time_point due = std::max(since_ + kFirstAfter, next_look);
    if (changed_.wait_until(lock, due, [this] { return over_; })) return;
    if (Clock::now() < since_ + kFirstAfter) continue;  // it has turned to another job meanwhile
    std::vector<std::uint64_t> jobs = std::exchange(jobs_, {});
    lock.unlock();
    const bool seen = look(jobs);
    lock.lock();
    if (!seen && jobs_.empty()) jobs_ = std::move(jobs);
    next_look = Clock::now() + kAgainAfter;
  }
}

// Over a connection of its own, which is given up at once: the verb's own would wait for a daemon that is gone, and the
// end of the verb for that. False: the daemon did not answer.
bool WaitNotices::look(const std::vector<std::uint64_t>& jobs) {
  constexpr client::Milliseconds kNone(0);
  try {
    const client::Client client =
        client::Client::connect(address_, {.connect_timeout = kNone, .reconnect_timeout = kNone});
    // First: while nothing is committed, a job that has ended looks as if it had not begun.
    tell_if_failing(client);
    if (!store_told_ && !not_started_told_) tell_if_not_started(client, jobs);
    return true;
  } catch (const std::exception&) {  // what is wrong with the daemon, the verb hears and tells
    return false;
  }
}

// One is enough: what it waits for, those behind it mostly wait for, too, and while it runs nothing needs to be said.
void WaitNotices::tell_if_not_started(const client::Client& client, const std::vector<std::uint64_t>& jobs) {
  for (const std::uint64_t id : std::span(jobs).first(std::min(jobs.size(), kJobsAskedMax))) {
    const client::JobState state = client.job(id).state;
    not_started_told_ = is_waiting(state);
    if (not_started_told_) tell_("job " + std::to_string(id) + " is " + one_line(client.why(id).text));
    if (not_started_told_ || state == client::JobState::kRunning) return;
  }
}

void WaitNotices::tell_if_failing(const client::Client& client) {
  const auto figures = client.stats().figures;
  const auto failing = figures.find("store_failing");
  if (failing == figures.end() || failing->second == 0) return;
  store_told_ = true;
  tell_("the daemon cannot commit (is its disk full?), so no job ends: fut doctor says where to make room; waiting on");
}

bool is_waiting(client::JobState state) {
  return state == client::JobState::kScheduled || state == client::JobState::kBlocked ||
         state == client::JobState::kQueued;
}

}  // namespace futured::cli
