#include "daemon/rpc/why.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <map>
#include <utility>

#include "daemon/rpc/job_view.h"
#include "daemon/rpc/no_job.h"

namespace futured::rpc {

namespace {

// What a queued job waits for, as far as the loop can say.
struct Waiting {
  bool paused = false;
  std::uint64_t queued = 0;
  std::uint64_t running = 0;  // of its queue
  std::uint32_t workers = 0;
  std::uint32_t workers_ready = 0;
  std::string problem;
  bool store_failing = false;
  std::string limit;  // that keeps it from starting; empty: none
  std::string other;  // whose outcome it waits for; empty: of none
  QueuePlace place;
  std::string blocked_by;
};

std::string wait_for_batch(const Loop& loop, const Dependency& on) {
  const Dependencies::AwaitedBatch* const batch = loop.scheduler().dependencies().batch(on.job);
  std::string text = "every job of batch " + std::to_string(on.job.value);
  if (batch != nullptr && batch->is_counted) {
    text += " (" + std::to_string(batch->open) + " of " + std::to_string(batch->count) + " have not ended)";
  }
  switch (on.condition) {
    case DependencyCondition::kEnded:
      return text + " to end";
    case DependencyCondition::kSucceeded:
      return text + " to succeed";
    case DependencyCondition::kNotSucceeded:
      return text + " to fail";
  }
  return text;
}

// Of one dependency that does not hold. A job that is not resident has not begun.
std::string wait_for(const Loop& loop, const Dependency& on) {
  if (!on.job.is_set()) return "event \"" + on.event + "\"";
  if (on.batch_jobs > 0) return wait_for_batch(loop, on);
  const auto live = loop.scheduler().live(on.job);
  std::string state(to_string(live ? live->state : JobState::kQueued));
  std::ranges::transform(state, state.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::string job = "job " + std::to_string(on.job.value) + " (" + state + ") ";
  switch (on.condition) {
    case DependencyCondition::kEnded:
      return job + "to end";
    case DependencyCondition::kSucceeded:
      return job + "to succeed";
    case DependencyCondition::kNotSucceeded:
      return job + "to end without success";
  }
  return job;
}

std::string wait_for(const Loop& loop, const std::vector<DependencyRow>& rows) {
  constexpr std::size_t kNamed = 8;
  std::vector<std::string> words;
  std::size_t open = 0;
  std::map<std::uint32_t, std::vector<std::string>> groups;
  for (const DependencyRow& row : rows) {
    if (row.state != DependencyState::kOpen) continue;
    if (row.on.any_of != 0) {
      groups[row.on.any_of].push_back(groups[row.on.any_of].size() < kNamed ? wait_for(loop, row.on) : "");
      continue;
    }
    if (++open <= kNamed) words.push_back(wait_for(loop, row.on));
  }
  if (open > kNamed) words.push_back(std::to_string(open - kNamed) + " more");
  for (const auto& [group, ways] : groups) {
    std::string either;
    for (std::size_t i = 0; i < std::min(ways.size(), kNamed); ++i) either += (i == 0 ? "" : " or ") + ways[i];
    if (ways.size() > kNamed) either += " or " + std::to_string(ways.size() - kNamed) + " more";
    words.push_back(ways.size() == 1 ? either : "(" + either + ")");
  }
  if (words.empty()) return "the results that it takes, which are being read";
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    text += (i == 0 ? "" : i + 1 < words.size() ? ", " : " and ") + words[i];
  }
  return text;
}

Waiting waiting_for(const Loop& loop, const JobView& view) {
  Waiting waiting;
  for (const LaneFigures& lane : loop.scheduler().lanes()) {
    if (lane.queue != view.record.spec.queue) continue;
    waiting.paused = lane.paused;
    if (!lane.pool.empty() && lane.pool != view.pool) continue;
    waiting.queued += lane.queued;
    waiting.running += lane.running;
  }
  for (const SlotFigures& slot : loop.scheduler().slots()) {
    if (slot.pool != view.pool || !slot.is_listed) continue;
    ++waiting.workers;
    waiting.workers_ready += slot.ready ? 1 : 0;
  }
  const auto problem = loop.pool_problems().find(view.pool);
  if (problem != loop.pool_problems().end()) waiting.problem = problem->second;
  waiting.store_failing = loop.store_is_failing();
  if (view.state() == JobState::kBlocked) waiting.blocked_by = wait_for(loop, view.record.dependencies);
  if (view.state() == JobState::kQueued) {
    waiting.other = loop.scheduler().awaits(view.record.job.id);
    waiting.limit = loop.scheduler().limited_by(view.record.spec, monotonic_now());
    waiting.place =
        loop.scheduler().place_of(view.record.job.id, view.record.spec, loop.scheduler().pool_named(view.pool),
                                  std::max(view.record.job.submitted_at, view.record.job.start_at));
  }
  return waiting;
}

std::string plural(std::uint64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// Each names what would free it.
std::string why_queued(const JobView& view, const Waiting& waiting) {
  const std::string queue = "queue \"" + view.record.spec.queue + "\"";
  const std::string pool = "pool \"" + view.pool + "\"";
  if (!waiting.other.empty()) return "queued: " + waiting.other;
  if (waiting.paused) {
    return "queued: waits for " + queue + ", which is paused: fut queue resume " + view.record.spec.queue + " frees it";
  }
  if (!waiting.problem.empty()) {
    return "queued: waits for " + pool + ", which cannot run jobs just now: " + waiting.problem;
  }
  if (view.pool.empty()) return "queued: waits for a pool that runs it: set one up in futured.toml";
  if (waiting.workers == 0) {
    return "queued: waits for " + pool + ", of which this daemon has no workers: set it up in futured.toml";
  }
  if (!waiting.limit.empty()) return "queued: " + waiting.limit;
  if (waiting.workers_ready == 0) return "queued: waits for " + pool + ", none of whose workers is ready yet";
  std::string text = "queued: waits until a worker of " + pool +
                     " is free: " + plural(waiting.workers_ready, "worker") + " for " +
                     plural(std::max<std::uint64_t>(waiting.queued, 1), "queued job") + " of " + queue;
  if (waiting.store_failing) text += "; the store cannot commit just now";
  return text;
}

std::string ms_text(Duration time) {
  return std::to_string(std::max<std::int64_t>(time.count() / 1'000'000, 0)) + " ms";
}

// Of which limit, or of whose wish.
std::string cause_of_stop(const StopView& stop) {
  if (stop.why == CauseKind::kSoftTimeout) return "its soft_timeout is over";
  if (stop.why == CauseKind::kRunTimeout) return "its run_timeout is over";
  if (stop.why == CauseKind::kTotalTimeout) return "its total_timeout is over";
  if (stop.why == CauseKind::kHeartbeatTimeout) return "it gave no sign of life within its heartbeat_timeout";
  return stop.reason.empty() ? "cancelled" : "cancelled: " + stop.reason;
}

// "job 7", "jobs 7, 8".
std::string jobs_text(const std::vector<JobId>& jobs) {
  constexpr std::size_t kNamed = 10;
  std::string text = jobs.size() == 1 ? "job " : "jobs ";
  for (std::size_t i = 0; i < std::min(jobs.size(), kNamed); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(jobs[i].value);
  }
  if (jobs.size() <= kNamed) return text;
  const bool are_all = jobs.size() < limits::kWaitsShownMax;
  return text + " and " + std::to_string(jobs.size() - kNamed) + (are_all ? " more" : " or more others");
}

std::string why_running(const LiveView& live) {
  const std::string attempt = "worker " + live.worker + " has had attempt " + std::to_string(live.attempt) + " for " +
                              ms_text(wall_now() - live.taken_at);
  if (!live.waits_for.empty()) return "running: waits for " + jobs_text(live.waits_for) + "; " + attempt;
  if (!live.stop) return "running: " + attempt;
  const StopView& stop = *live.stop;
  const std::string since = "running: stopping for " + ms_text(wall_now() - stop.since);
  const std::string then =
      stop.is_killed ? ", being killed" : ", will be killed in " + ms_text(stop.kill_at - wall_now());
  return since + then + " (" + cause_of_stop(stop) + "); " + attempt;
}

std::string why_delayed(const JobView& view) {
  const WallTime at = view.record.job.start_at;
  const std::int64_t left_ms = std::max<std::int64_t>((at - wall_now()).count() / 1'000'000, 0);
  const auto second = static_cast<std::time_t>(at.us / 1'000'000);
  std::tm utc{};
  gmtime_r(&second, &utc);
  std::array<char, 32> text{};
  (void)std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return "scheduled: it may not start before " + std::string(text.data()) + ", in " + std::to_string(left_ms) + " ms";
}

std::string why(const JobView& view, const Waiting& waiting) {
  const JobRecord& record = view.record;
  if (is_terminal(record.ending.state)) {
    std::string text = "ended: " + std::string(to_string(record.ending.state));
    if (record.ending.cause && !record.ending.cause->message.empty()) {
      api::Cause cause;
      to_api(*record.ending.cause, cause);
      // "cancelled: REASON" would say twice what it was.
      const bool is_cancelled = record.ending.state == JobState::kCancelled && cause.message().starts_with("cancelled");
      text += is_cancelled ? cause.message().substr(std::string_view("cancelled").size()) : ": " + cause.message();
    }
    return text;
  }
  switch (view.state()) {
    case JobState::kRunning:
      return why_running(*view.live);
    case JobState::kScheduled: {
      if (!view.live) return why_delayed(view);
      const std::string failed = std::to_string(view.live->attempt);
      std::string text = "scheduled: attempt " + failed + " failed, attempt " + std::to_string(view.live->attempt + 1);
      if (record.job.retry_at.us == 0) return text + " begins after its backoff";
      const std::int64_t left_ms = (record.job.retry_at - wall_now()).count() / 1'000'000;
      return text + " begins in " + std::to_string(std::max<std::int64_t>(left_ms, 0)) + " ms";
    }
    case JobState::kBlocked:
      return "blocked: waits for " + waiting.blocked_by;
    default:  // queued
      return why_queued(view, waiting);
  }
}

}  // namespace

grpc::ServerUnaryReactor* open_why(Front& front, grpc::CallbackServerContext* context, const api::WhyRequest& request,
                                   api::WhyResponse* response) {
  auto answer = Answer<api::WhyResponse>::open(front, context, response);
  const JobId id{request.id()};
  ask_reader(front, answer, [&front, answer, id](StoreReader& reader) {
    auto record = reader.get(id, false);
    if (!record.ok()) return answer->refuse(record.error());
    if (!*record) return answer->refuse(no_job(id, reader));
    std::vector<JobRecord> records;
    records.push_back(std::move(**record));
    add_live(front, std::move(records), [&front, answer](Result<std::vector<JobView>> views) {
      if (!views.ok()) return answer->refuse(views.error());
      auto view = std::make_shared<JobView>(std::move(views->front()));
      front.loop.look([&front, answer, view](const Loop& loop) {
        const Waiting waiting = waiting_for(loop, *view);
        front.pump.post([answer, view, place = waiting.place, text = why(*view, waiting)] {
          answer->give([&](api::WhyResponse& out) {
            out.set_text(text);
            const bool waits = view->state() == JobState::kRunning && view->live;
            for (const JobId job : waits ? view->live->waits_for : std::vector<JobId>()) out.add_waits_for(job.value);
            out.set_position(place.position);
            out.set_position_estimated(place.is_estimated);
          });
        });
      });
    });
  });
  return answer->reactor();
}

}  // namespace futured::rpc
