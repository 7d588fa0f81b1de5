#include "daemon/rpc/admin_service.h"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <utility>

#include "daemon/rpc/loop_debug.h"
#include "daemon/rpc/pools_service.h"
#include "daemon/store/content_usage.h"
#include "segment/socket_protocol.h"

namespace futured::rpc {

namespace {

std::int64_t own_rss_bytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t size = 0;
  std::int64_t resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

std::int64_t file_bytes(const std::string& path) {
  struct stat there {};
  return stat(path.c_str(), &there) == 0 ? there.st_size : 0;
}

// Nearest rank.
std::int64_t percentile(std::vector<std::int64_t> values, std::size_t percent) {
  if (values.empty()) return 0;
  const auto rank = static_cast<std::ptrdiff_t>((values.size() - 1) * percent / 100);
  std::nth_element(values.begin(), values.begin() + rank, values.end());
  return values[static_cast<std::size_t>(rank)];
}

// Within Loop::look.
api::StatsResponse stats_of(const Loop& loop) {
  api::StatsResponse stats;
  const LoopFigures& figures = loop.figures();
  stats.set_submitted(figures.submitted);
  stats.set_succeeded(figures.succeeded);
  stats.set_failed(figures.failed);
  stats.set_cancelled(figures.cancelled);
  stats.set_timed_out(figures.timed_out);
  stats.set_retries(figures.retries);
  stats.set_workers_died(figures.workers_died);
  stats.set_commits(figures.commits);
  stats.set_commit_jobs(figures.commit_jobs);
  stats.set_commit_p50_us(percentile(figures.commit_us, 50));
  stats.set_commit_p99_us(percentile(figures.commit_us, 99));
  stats.set_turns(figures.turns);
  const Scheduler& scheduler = loop.scheduler();
  std::uint64_t queued = 0;
  std::uint64_t offered = 0;
  for (const LaneFigures& lane : scheduler.lanes()) {
    queued += lane.queued;
    offered += lane.running;
    stats.set_scheduled(stats.scheduled() + lane.delayed);
    stats.set_blocked(stats.blocked() + lane.blocked);
  }
  const std::uint64_t running = scheduler.running().size();
  stats.set_running(running);
  stats.set_queued(queued + offered - running);  // an offer has not begun to run
  stats.set_resident_jobs(scheduler.resident_jobs());
  stats.set_resident_bytes(scheduler.window_bytes());
  stats.set_backlog_jobs(scheduler.backlog_jobs());
  for (const SlotFigures& slot : scheduler.slots()) {
    stats.set_workers(stats.workers() + (slot.ready ? 1 : 0));
    stats.set_workers_busy(stats.workers_busy() + (slot.offers > 0 ? 1 : 0));
  }
  (*stats.mutable_counters())["watched_ranges"] = loop.watches();
  (*stats.mutable_counters())["event_watches"] = loop.events().listeners();
  (*stats.mutable_counters())["store_failing"] = loop.store_is_failing() ? 1 : 0;
  auto& counters = *stats.mutable_counters();
  counters["trimmed_jobs"] = loop.figures().trimmed_jobs;
  const SpoolFigures spool = loop.spool();
  counters["trimmed_bytes"] = loop.figures().trimmed_bytes + spool.removed_bytes;
  counters["trimmed_files"] = loop.figures().trimmed_files + spool.removed_files;
  counters["trimmed_specs"] = loop.figures().trimmed_specs;
  counters["trimmed_keys"] = loop.figures().trimmed_keys;
  counters["trimmed_until"] = loop.figures().trimmed_until;
  counters["trim_failed"] = loop.figures().trim_failed ? 1 : 0;
  counters["kept_bytes"] = loop.figures().kept_bytes;
  counters["kept_bytes_max"] = loop.retention().bytes_max;
  counters["spool_files"] = spool.files;
  counters["spool_bytes"] = spool.bytes;
  counters["spool_failed"] = spool.is_failing ? 1 : 0;
  const CacheFigures cache = scheduler.cache().figures();
  counters["cache_entries"] = cache.entries;
  counters["cache_bytes"] = cache.bytes;
  counters["cache_bytes_max"] = scheduler.cache().bounds().bytes_max;
  counters["cache_hits"] = cache.hits;
  counters["cache_misses"] = cache.misses;
  counters["cache_joined"] = cache.joined;
  counters["cache_evicted"] = cache.evicted;
  return stats;
}

void add_own_figures(const Front& front, api::StatsResponse& stats) {
  stats.set_uptime_ms((wall_now() - front.started_at).count() / 1'000'000);
  stats.set_rss_bytes(own_rss_bytes());
  const std::string database = front.setup.state_directory + "/futured.db";
  stats.set_database_bytes(file_bytes(database));
  stats.set_wal_bytes(file_bytes(database + "-wal"));
  stats.set_streams_open(front.streams);
  stats.set_waits_open(front.waits);
  const ContentUsage contents = content_usage(database + ".files");
  const SegmentTable::Usage usage = front.segments.usage();
  auto& counters = *stats.mutable_counters();
  counters["segments"] = usage.segments;
  counters["segment_bytes"] = usage.bytes;
  counters["result_segment_bytes"] = usage.result_bytes;
  counters["stored_segment_bytes"] = usage.stored_bytes;
  counters["content_files"] = contents.files;
  counters["content_bytes"] = contents.bytes;
  counters["content_unfinished_files"] = contents.unfinished;
  counters["content_foreign_files"] = contents.foreign;
  counters["content_counted_all"] = contents.is_whole ? 1 : 0;
  counters["content_writable"] = contents.is_writable ? 1 : 0;
  counters["inbox_bytes"] = front.inbox_bytes;
  counters["open_calls"] = front.calls.size();
}

// Within Loop::look.
std::string core_text(const Loop& loop) {
  const Scheduler& scheduler = loop.scheduler();
  std::string text = "resident jobs " + std::to_string(scheduler.resident_jobs()) + ", " +
                     std::to_string(scheduler.window_bytes()) + " bytes\n";
  for (const LaneFigures& lane : scheduler.lanes()) {
    text += "queue " + lane.queue + " (" + std::string(to_string(lane.discipline)) + (lane.paused ? ", paused" : "") +
            ") for pool " + (lane.pool.empty() ? "-" : lane.pool) + ": queued " + std::to_string(lane.queued) +
            ", delayed " + std::to_string(lane.delayed) + ", offered or running " + std::to_string(lane.running) + "\n";
  }
  return text;
}

std::string pools_text(const Loop& loop) {
  std::string text;
  for (const SlotFigures& slot : loop.scheduler().slots()) {
    if (!slot.is_listed) continue;
    text += "slot " + slot.pool + "/" + std::to_string(slot.slot.value) + (slot.ready ? " ready" : " not ready") +
            ", offers " + std::to_string(slot.offers) + ", mean " + std::to_string(slot.mean.count() / 1000) + " us";
    if (slot.job) {
      text += ", head job " + std::to_string(slot.job->id.value) + " " + std::string(to_string(slot.job->state));
    }
    text += "\n";
  }
  for (const auto& [pool, problem] : loop.pool_problems()) text += "pool " + pool + ": " + problem + "\n";
  return text;
}

std::string retention_text(const Loop& loop) {
  const LoopFigures& figures = loop.figures();
  const SpoolFigures spool = loop.spool();
  return "retention: looked at jobs below " + std::to_string(figures.trimmed_until) + ", removed " +
         std::to_string(figures.trimmed_jobs) + " jobs, " + std::to_string(figures.trimmed_files) + " files, " +
         std::to_string(figures.trimmed_specs) + " specs, " + std::to_string(figures.trimmed_keys) + " keys; keeps " +
         std::to_string(figures.kept_bytes) + " of " + std::to_string(loop.retention().bytes_max) + " bytes" +
         (figures.trim_failed ? ", the last step failed" : "") + "\nspool: " + std::to_string(spool.files) +
         " files, " + std::to_string(spool.bytes) + " bytes, removed " + std::to_string(spool.removed_files) +
         (spool.is_sweeping ? ", being gone through" : "") + (spool.is_failing ? ", the last pass failed" : "") + "\n";
}

std::string store_text(const Loop& loop) {
  const LoopFigures& figures = loop.figures();
  return "commits " + std::to_string(figures.commits) + ", row changes in them " + std::to_string(figures.commit_jobs) +
         ", p50 " + std::to_string(percentile(figures.commit_us, 50)) + " us, p99 " +
         std::to_string(percentile(figures.commit_us, 99)) + " us" +
         (loop.store_is_failing() ? ", failing just now" : "") + "\n" + retention_text(loop);
}

void add_loops(const Front& front, api::DebugResponse& out) {
  const Instant now = monotonic_now();
  for (const auto& gauge : front.gauges) to_api(gauge->read(now), *out.add_loops());
  for (const LoopReading& reading : front.worker_loops->read(now)) to_api(reading, *out.add_loops());
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::Info(Context* context, const api::InfoRequest* request,
                                             api::InfoResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::InfoResponse>::open(front_, context, response);
  const Principal who = front_.who(*context);
  front_.loop.look([&front = front_, answer, who](const Loop& loop) {
    api::InfoResponse info;
    for (api::Pool& pool : pools_of(front, loop)) *info.add_pools() = std::move(pool);
    info.set_spawner_pid(loop.pools().spawner_pid());
    info.set_spawner_instance(loop.pools().spawner_instance());
    front.pump.post([&front, answer, who, info = std::move(info)] {
      answer->give([&](api::InfoResponse& out) {
        out = info;
        const ServerSetup& setup = front.setup;
        out.set_version(setup.version);
        out.set_pid(getpid());
        out.set_epoch(setup.epoch.value);
        out.set_state_dir(setup.state_directory);
        out.set_durable(setup.durable);
        out.set_started_us(front.started_at.us);
        out.set_store(setup.store);
        out.set_schema_version(setup.schema_version);
        out.set_socket(setup.socket);
        out.set_segment_socket(setup.socket + std::string(segment_socket::kPathSuffix));
        out.set_idle_exit_ms(setup.idle_exit_ms);
        out.set_your_uid(who.uid);
      });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* AdminService::Stats(Context* context, const api::StatsRequest* request,
                                              api::StatsResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::StatsResponse>::open(front_, context, response);
  front_.loop.look([&front = front_, answer](const Loop& loop) {
    front.pump.post([&front, answer, stats = stats_of(loop)] {
      answer->give([&](api::StatsResponse& out) {
        out = stats;
        add_own_figures(front, out);
      });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* AdminService::Debug(Context* context, const api::DebugRequest* request,
                                              api::DebugResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  const api::DebugTopic topic = request->topic();
  if (!api::DebugTopic_IsValid(topic)) return answer_now(context, invalid("topic", "is not known"));
  if (topic == api::DEBUG_TOPIC_LOOPS) {  // asks no loop: one that hangs is told of all the same
    add_loops(front_, *response);
    return answer_now(context, {});
  }
  auto answer = Answer<api::DebugResponse>::open(front_, context, response);
  front_.loop.look([&front = front_, answer, topic](const Loop& loop) {
    std::map<std::string, std::string> text;
    const auto wanted = [&](api::DebugTopic one) { return topic == api::DEBUG_TOPIC_UNSPECIFIED || topic == one; };
    if (wanted(api::DEBUG_TOPIC_CORE)) text["core"] = core_text(loop);
    if (wanted(api::DEBUG_TOPIC_POOLS)) text["pools"] = pools_text(loop);
    if (wanted(api::DEBUG_TOPIC_STORE)) text["store"] = store_text(loop);
    front.pump.post([&front, answer, topic, text = std::move(text)] {
      answer->give([&](api::DebugResponse& out) {
        if (topic == api::DEBUG_TOPIC_UNSPECIFIED) add_loops(front, out);
        out.mutable_text()->insert(text.begin(), text.end());
      });
    });
  });
  return answer->reactor();
}

// Answers first, then stops.
grpc::ServerUnaryReactor* AdminService::Shutdown(Context* context, const api::ShutdownRequest* request,
                                                 api::ShutdownResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  if (request->grace_ms() != 0) return answer_now(context, unbuilt("grace_ms"));
  const Principal who = front_.who(*context);
  if (!front_.is_admin(who)) {
    return answer_now(context, Error{ErrorCode::kPermissionDenied,
                                     "user " + std::to_string(who.uid) + " may not stop the daemon; root and user " +
                                         std::to_string(front_.setup.admin_uid) + " may"});
  }
  auto answer = Answer<api::ShutdownResponse>::open(front_, context, response);
  front_.loop.look([&front = front_, answer, spawner = request->spawner()](const Loop& loop) {
    const std::uint64_t running = loop.scheduler().running().size();
    front.pump.post([&front, answer, spawner, running, spawner_pid = loop.pools().spawner_pid()] {
      answer->give([&](api::ShutdownResponse& out) {
        out.set_pid(getpid());
        out.set_spawner_pid(spawner_pid);
        out.set_running(running);
      });
      front.loop.stop(spawner ? Loop::Spawner::kStop : Loop::Spawner::kLeave);
    });
  });
  return answer->reactor();
}

}  // namespace futured::rpc
