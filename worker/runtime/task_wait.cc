// Jobs that a task waits for, holding its thread.
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <thread>

#include "base/payload.h"
#include "base/wait_call.h"
#include "worker/runtime/task_context.h"

namespace futured::runtime {

namespace {

constexpr Duration kLookAgain = std::chrono::milliseconds(10);  // of a daemon that is too busy to say
constexpr Duration kSleepMax = std::chrono::seconds(1);         // then it gives a sign of life

[[nodiscard]] bool is_busy(const channel::Reply& reply) {
  return !reply.job.is_set() && reply.error_class == to_string(ErrorCode::kUnavailable);
}

[[nodiscard]] WaitError damaged(const Error& error) { return {std::string(to_string(error.code)), error.message}; }

}  // namespace

std::string TaskContext::encode_wait(std::uint32_t number, const std::vector<std::uint64_t>& jobs,
                                     const WaitJobs& options) const {
  if (jobs.size() > limits::kWaitJobsMax) {
    throw WaitError("INVALID_ARGUMENT",
                    "a wait for " + std::to_string(jobs.size()) + " jobs is over " +
                        std::to_string(limits::kWaitJobsMax) + "; wait for some after others",
                    Retry::kPointless);
  }
  WaitCall call{.kind = WaitCall::Kind::kWait, .wait = number, .lends_permits = options.lends_permits};
  for (const std::uint64_t job : jobs) call.jobs.push_back(JobId{job});
  return encode_wait_call(call);
}

std::string TaskContext::encode_give_up(std::uint32_t number) const {
  return encode_wait_call({.kind = WaitCall::Kind::kGiveUp, .wait = number});
}

std::string TaskContext::encode_read(std::uint64_t job, std::uint64_t offset) const {
  return encode_wait_call({.kind = WaitCall::Kind::kRead, .jobs = {JobId{job}}, .offset = offset});
}

bool TaskContext::is_over(std::string_view answer) const { return answer == kWaitIsOver; }

bool TaskContext::add_page(std::string_view answer, std::string& outcome) const {
  const auto page = decode_page(answer);
  if (!page) throw damaged(page.error());
  if (page->bytes.empty() && outcome.size() < page->total) {
    throw WaitError("DATA_LOSS", "a page of an outcome is empty");
  }
  outcome += page->bytes;
  return outcome.size() >= page->total;
}

ChildOutcome TaskContext::decode_outcome(std::uint64_t job, std::string_view encoded) const {
  const auto outcome = futured::decode_outcome(encoded);
  if (!outcome) throw damaged(outcome.error());
  ChildOutcome told{.job = job,
                    .state = static_cast<ChildState>(outcome->state),
                    .cause = std::string(outcome->cause),
                    .error_class = std::string(outcome->error_class),
                    .message = std::string(outcome->message),
                    .exit_code = outcome->exit_code,
                    .signal = outcome->signal,
                    .parts = {}};
  const auto parts = decode_parts(outcome->result);
  if (!parts) throw damaged(parts.error());
  for (const Part& part : *parts) told.parts.push_back({std::string(part.content_type), std::string(part.bytes)});
  return told;
}

// Others may be waiting for this very thread.
void TaskContext::check_may_hold_thread(std::string_view what) const {
  if (shares_thread_) {
    throw WaitError("FAILED_PRECONDITION",
                    "a task of a pool of mode async must not hold its thread: co_await context." + std::string(what) +
                        "(…) of its AsyncContext",
                    Retry::kPointless);
  }
  if (!open_calls_.empty()) {  // a run has one call at a time
    throw WaitError("FAILED_PRECONDITION", "a call that is awaited has no answer yet; await this one too");
  }
}

channel::Reply TaskContext::ask(std::string_view request) {
  for (;;) {
    throw_if_stopped();
    const channel::CallId call{fence_, ++calls_};
    send(call, request);
    channel::Reply reply = await_reply(call.number);
    if (!is_busy(reply)) return reply;
    std::this_thread::sleep_for(kLookAgain);
  }
}

bool TaskContext::wait_jobs(const std::vector<std::uint64_t>& jobs, const WaitJobs& options) {
  check_may_hold_thread("wait");
  const std::uint32_t number = next_wait();
  const std::string request = encode_wait(number, jobs, options);
  const Instant until = options.timeout.count() > 0 ? monotonic_now() + options.timeout : Instant::never();
  for (;;) {
    const std::uint32_t seen = end_.nudges(run_);
    const channel::Reply reply = ask(request);
    if (!reply.job.is_set()) throw WaitError(reply.error_class, reply.error_message);
    if (is_over(reply.error_message)) return true;
    if (await_nudge(seen, until)) continue;
    (void)ask(encode_give_up(number));
    return false;
  }
}

// False: the time is over.
bool TaskContext::await_nudge(std::uint32_t seen, Instant until) {
  while (end_.nudges(run_) == seen) {
    throw_if_stopped();
    end_.beat(run_);
    const Duration left = until - monotonic_now();
    if (left.count() <= 0) return false;
    if (!end_.arm_for_nudge(run_, seen)) continue;
    const std::int64_t ns = std::min<Duration>(left, kSleepMax).count();
    const timespec patience{ns / 1'000'000'000, ns % 1'000'000'000};
    std::array<pollfd, 2> sources{{{end_.lifeline_fd(), 0, 0}, {end_.wake_fd(), POLLIN, 0}}};
    (void)ppoll(sources.data(), sources.size(), &patience, nullptr);
    end_.disarm();
    if ((sources[0].revents & (POLLHUP | POLLERR)) != 0) throw Stopped();
  }
  return true;
}

ChildOutcome TaskContext::read_outcome(std::uint64_t job) {
  check_may_hold_thread("outcome");
  std::string outcome;
  for (bool is_whole = false; !is_whole;) {
    const channel::Reply reply = ask(encode_read(job, outcome.size()));
    if (!reply.job.is_set()) throw WaitError(reply.error_class, reply.error_message);
    is_whole = add_page(reply.error_message, outcome);
  }
  return decode_outcome(job, outcome);
}

}  // namespace futured::runtime
