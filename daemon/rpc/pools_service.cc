#include "daemon/rpc/pools_service.h"

#include <algorithm>
#include <fstream>
#include <string>

namespace futured::rpc {

namespace {

// A field of /proc/PID/smaps_rollup in bytes; 0 when it cannot be read.
struct Memory {
  std::int64_t rss_bytes = 0;
  std::int64_t pss_bytes = 0;
};

Memory memory_of(std::int32_t pid) {
  Memory memory;
  std::ifstream rollup("/proc/" + std::to_string(pid) + "/smaps_rollup");
  std::string word;
  while (rollup >> word) {
    std::int64_t kib = 0;
    if (word == "Rss:" && rollup >> kib) memory.rss_bytes = kib * 1024;
    if (word == "Pss:" && rollup >> kib) memory.pss_bytes = kib * 1024;
  }
  return memory;
}

std::vector<api::Worker> workers_of(const Loop& loop, const std::string& pool) {
  std::vector<api::Worker> workers;
  const auto processes = loop.pools().workers();
  for (const SlotFigures& slot : loop.scheduler().slots()) {
    if (!pool.empty() && slot.pool != pool) continue;
    api::Worker& worker = workers.emplace_back();
    worker.set_pool(slot.pool);
    worker.set_slot(slot.slot.value);
    worker.set_offers(slot.offers);
    worker.set_state(api::WORKER_STATE_STARTING);
    const auto process = std::ranges::find(processes, slot.slot, &pool::WorkerFigures::slot);
    if (process == processes.end()) continue;
    worker.set_generation(process->generation);
    worker.set_jobs_run(process->jobs_done);
    if (!process->alive) continue;
    worker.set_pid(process->pid);
    worker.set_started_us(process->started_at.us);
    if (slot.ready) worker.set_state(slot.offers > 0 ? api::WORKER_STATE_BUSY : api::WORKER_STATE_IDLE);
    if (slot.job) worker.add_job_ids(slot.job->id.value);
  }
  return workers;
}

}  // namespace

std::vector<api::Pool> pools_of(const Front& front, const Loop& loop) {
  std::vector<api::Pool> pools;
  for (const pool::PoolConfig& config : front.setup.pools) {
    api::Pool& pool = pools.emplace_back();
    pool.set_name(config.name);
    pool.mutable_options()->set_mode(config.commands ? api::POOL_MODE_COMMAND : api::POOL_MODE_PROCESS);
    pool.mutable_options()->set_workers_min(config.slots);
    pool.mutable_options()->set_workers_max(config.slots);
    for (const std::string& plugin : config.plugins) pool.mutable_options()->add_plugins(plugin);
    if (const auto tasks = loop.pools().tasks().find(config.name); tasks != loop.pools().tasks().end()) {
      for (const pool::Task& known : tasks->second) {
        api::Task& task = *pool.add_tasks();
        task.set_name(known.name);
        task.set_version(known.version);
      }
    }
    if (const auto problem = loop.pool_problems().find(config.name); problem != loop.pool_problems().end()) {
      pool.set_problem(problem->second);
    }
    for (const api::Worker& worker : workers_of(loop, config.name)) {
      pool.set_workers(pool.workers() + (worker.pid() != 0 ? 1 : 0));
      pool.set_workers_busy(pool.workers_busy() + (worker.state() == api::WORKER_STATE_BUSY ? 1 : 0));
      pool.set_jobs_run(pool.jobs_run() + worker.jobs_run());
    }
  }
  return pools;
}

grpc::ServerUnaryReactor* PoolsService::List(Context* context, const api::ListPoolsRequest*,
                                             api::ListPoolsResponse* response) {
  const auto answer = Answer<api::ListPoolsResponse>::open(front_, context, response);
  Front* const front = &front_;
  front_.loop.look([answer, front](const Loop& loop) {
    auto pools = pools_of(*front, loop);
    front->pump.post([answer, pools = std::move(pools)]() mutable {
      answer->give([&](api::ListPoolsResponse& list) {
        for (api::Pool& pool : pools) *list.add_pools() = std::move(pool);
      });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* PoolsService::Get(Context* context, const api::GetPoolRequest* request, api::Pool* response) {
  const auto answer = Answer<api::Pool>::open(front_, context, response);
  Front* const front = &front_;
  front_.loop.look([answer, front, name = request->name()](const Loop& loop) {
    auto pools = pools_of(*front, loop);
    front->pump.post([answer, name, pools = std::move(pools)]() mutable {
      const auto found = std::ranges::find(pools, name, &api::Pool::name);
      if (found == pools.end()) return answer->refuse({ErrorCode::kNotFound, "no pool \"" + name + "\""});
      answer->give([&](api::Pool& pool) { pool = std::move(*found); });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* WorkersService::List(grpc::CallbackServerContext* context,
                                               const api::ListWorkersRequest* request,
                                               api::ListWorkersResponse* response) {
  const auto answer = Answer<api::ListWorkersResponse>::open(front_, context, response);
  Front* const front = &front_;
  const bool measure = request->measure_memory();
  front_.loop.look([answer, front, measure, pool = request->pool()](const Loop& loop) {
    if (!pool.empty() &&
        std::ranges::find(front->setup.pools, pool, &pool::PoolConfig::name) == front->setup.pools.end()) {
      return front->pump.post([answer, pool] { answer->refuse({ErrorCode::kNotFound, "no pool \"" + pool + "\""}); });
    }
    auto workers = workers_of(loop, pool);
    front->pump.post([answer, measure, workers = std::move(workers)]() mutable {
      answer->give([&](api::ListWorkersResponse& list) {
        for (api::Worker& worker : workers) {
          if (measure && worker.pid() != 0) {
            const Memory memory = memory_of(worker.pid());
            worker.set_rss_bytes(memory.rss_bytes);
            worker.set_pss_bytes(memory.pss_bytes);
          }
          *list.add_workers() = std::move(worker);
        }
      });
    });
  });
  return answer->reactor();
}

}  // namespace futured::rpc
