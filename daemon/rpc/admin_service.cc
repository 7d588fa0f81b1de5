#include "daemon/rpc/admin_service.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "daemon/rpc/pools_service.h"
#include "segment/socket_protocol.h"

namespace futured::rpc {

namespace {

std::int64_t file_bytes(const std::string& path) {
  struct stat file {};
  return ::stat(path.c_str(), &file) == 0 ? file.st_size : 0;
}

std::int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::int64_t total = 0;
  std::int64_t resident = 0;
  statm >> total >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

std::int64_t quantile(std::vector<std::int64_t> values, double share) {
  if (values.empty()) return 0;
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

// What the loop knows. On its thread.
void tell_loop(const Loop& loop, api::StatsResponse& stats) {
  for (const LaneFigures& lane : loop.scheduler().lanes()) {
    stats.set_scheduled(stats.scheduled() + lane.delayed);
    stats.set_queued(stats.queued() + lane.queued);
    stats.set_running(stats.running() + lane.running);
  }
  for (const SlotFigures& slot : loop.scheduler().slots()) {
    stats.set_workers(stats.workers() + (slot.ready ? 1 : 0));
    stats.set_workers_busy(stats.workers_busy() + (slot.offers > 0 ? 1 : 0));
  }
  const LoopFigures& figures = loop.figures();
  stats.set_succeeded(figures.succeeded);
  stats.set_failed(figures.failed);
  stats.set_cancelled(figures.cancelled);
  stats.set_timed_out(figures.timed_out);
  stats.set_submitted(figures.submitted);
  stats.set_retries(figures.retries);
  stats.set_workers_died(figures.workers_died);
  stats.set_commits(figures.commits);
  stats.set_commit_jobs(figures.commit_jobs);
  stats.set_turns(figures.turns);
  stats.set_commit_p50_us(quantile(figures.commit_us, 0.5));
  stats.set_commit_p99_us(quantile(figures.commit_us, 0.99));
  stats.set_resident_jobs(loop.scheduler().resident_jobs());
  stats.set_resident_bytes(loop.scheduler().window_bytes());
  stats.set_backlog_jobs(loop.scheduler().backlog_jobs());
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::Info(Context* context, const api::InfoRequest*, api::InfoResponse* response) {
  const auto answer = Answer<api::InfoResponse>::open(front_, context, response);
  Front* const front = &front_;
  front_.loop.look([answer, front, who = front_.who(*context)](const Loop& loop) {
    auto pools = pools_of(*front, loop);
    const std::int32_t spawner_pid = loop.pools().spawner_pid();
    std::string instance = loop.pools().spawner_instance();
    front->pump.post([answer, front, who, pools = std::move(pools), spawner_pid, instance]() mutable {
      answer->give([&](api::InfoResponse& info) {
        const ServerSetup& setup = front->setup;
        info.set_version(setup.version);
        info.set_pid(::getpid());
        info.set_epoch(setup.epoch.value);
        info.set_state_dir(setup.state_directory);
        info.set_durable(setup.durable);
        info.set_started_us(front->started_at.us);
        for (api::Pool& pool : pools) *info.add_pools() = std::move(pool);
        info.set_spawner_pid(spawner_pid);
        info.set_spawner_instance(instance);
        info.set_store(setup.store);
        info.set_schema_version(setup.schema_version);
        info.set_socket(setup.socket);
        info.set_segment_socket(setup.socket + std::string(segment_socket::kPathSuffix));
        info.set_idle_exit_ms(setup.idle_exit_ms);
        info.set_your_uid(who.uid);
      });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* AdminService::Stats(Context* context, const api::StatsRequest*,
                                              api::StatsResponse* response) {
  const auto answer = Answer<api::StatsResponse>::open(front_, context, response);
  Front* const front = &front_;
  front_.loop.look([answer, front](const Loop& loop) {
    auto stats = std::make_shared<api::StatsResponse>();
    tell_loop(loop, *stats);
    front->pump.post([answer, front, stats] {
      const std::string database = front->setup.state_directory + "/futured.db";
      stats->set_uptime_ms((wall_now() - front->started_at).count() / 1'000'000);
      stats->set_rss_bytes(resident_bytes());
      stats->set_database_bytes(file_bytes(database));
      stats->set_wal_bytes(file_bytes(database + "-wal"));
      stats->set_streams_open(front->streams.load());
      stats->set_waits_open(front->waits.load());
      answer->give([&](api::StatsResponse& told) { told = std::move(*stats); });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* AdminService::Shutdown(Context* context, const api::ShutdownRequest* request,
                                                 api::ShutdownResponse* response) {
  if (!front_.is_admin(front_.who(*context))) {
    return answer_now(context, Error{ErrorCode::kPermissionDenied, "only root and the daemon's own user may stop it"});
  }
  if (request->grace_ms() != 0) return answer_now(context, unbuilt("grace_ms"));
  const auto answer = Answer<api::ShutdownResponse>::open(front_, context, response);
  Front* const front = &front_;
  front_.loop.look([answer, front, spawner = request->spawner()](const Loop& loop) {
    const std::uint64_t running = loop.scheduler().running().size();
    const std::int32_t spawner_pid = loop.pools().spawner_pid();
    front->pump.post([answer, front, spawner, running, spawner_pid] {
      answer->give([&](api::ShutdownResponse& told) {
        told.set_pid(::getpid());
        told.set_spawner_pid(spawner_pid);
        told.set_running(running);
      });
      front->loop.stop(spawner);
    });
  });
  return answer->reactor();
}

}  // namespace futured::rpc
