#include "daemon/rpc/pools_service.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

namespace futured::rpc {

namespace {

api::Pool to_api(const Loop& loop, const pool::PoolConfig& config) {
  api::Pool out;
  out.set_name(config.name);
  api::PoolOptions& options = *out.mutable_options();
  options.set_mode(config.commands ? api::POOL_MODE_COMMAND : api::POOL_MODE_PROCESS);
  options.set_workers_min(config.slots);
  options.set_workers_max(config.slots);
  for (const std::string& plugin : config.plugins) options.add_plugins(plugin);
  const auto tasks = loop.pools().tasks().find(config.name);
  if (tasks != loop.pools().tasks().end() && !config.commands) {
    for (const pool::Task& task : tasks->second) {
      api::Task& known = *out.add_tasks();
      known.set_name(task.name);
      known.set_version(task.version);
    }
  }
  const auto problem = loop.pool_problems().find(config.name);
  if (problem != loop.pool_problems().end()) out.set_problem(problem->second);
  return out;
}

struct Memory {
  std::int64_t rss_bytes = 0;
  std::int64_t pss_bytes = 0;
};

// Costs up to a millisecond: the kernel walks the process's pages.
Memory memory_of(std::int32_t pid) {
  Memory memory;
  std::ifstream file("/proc/" + std::to_string(pid) + "/smaps_rollup");
  std::string line;
  while (std::getline(file, line)) {
    const auto number = [&](std::string_view label) {
      return line.starts_with(label) ? std::atoll(line.c_str() + label.size()) * 1024 : 0;
    };
    memory.rss_bytes += number("Rss:");
    memory.pss_bytes += number("Pss:");
  }
  return memory;
}

api::Worker to_api(const pool::WorkerFigures& worker, const SlotFigures& slot) {
  api::Worker out;
  out.set_pool(slot.pool);
  out.set_slot(slot.slot.value);
  out.set_generation(worker.generation);
  out.set_pid(worker.pid);
  out.set_jobs_run(worker.jobs_done);
  out.set_started_us(worker.started_at.us);
  const bool busy = slot.job && slot.job->state == JobState::kRunning;
  out.set_state(!worker.alive || !slot.ready ? api::WORKER_STATE_STARTING
                : busy                       ? api::WORKER_STATE_BUSY
                                             : api::WORKER_STATE_IDLE);
  if (busy) out.add_job_ids(slot.job->id.value);
  out.set_offers(slot.offers - (busy ? 1 : 0));
  return out;
}

}  // namespace

std::vector<api::Pool> pools_of(const Front& front, const Loop& loop) {
  std::vector<api::Pool> pools;
  for (const pool::PoolConfig& config : front.setup.pools) pools.push_back(to_api(loop, config));
  const auto find = [&](const std::string& name) { return std::ranges::find(pools, name, &api::Pool::name); };
  for (const SlotFigures& slot : loop.scheduler().slots()) {
    const auto pool = find(slot.pool);
    if (pool == pools.end()) continue;
    pool->set_workers(pool->workers() + (slot.ready ? 1 : 0));
    pool->set_workers_busy(pool->workers_busy() + (slot.offers > 0 ? 1 : 0));
  }
  for (const pool::WorkerFigures& worker : loop.pools().workers()) {
    const auto pool = find(loop.scheduler().pool_name(loop.scheduler().pool_of(worker.slot)));
    if (pool != pools.end()) pool->set_jobs_run(pool->jobs_run() + worker.jobs_done);
  }
  return pools;
}

grpc::ServerUnaryReactor* PoolsService::List(Context* context, const api::ListPoolsRequest* request,
                                             api::ListPoolsResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::ListPoolsResponse>::open(front_, context, response);
  front_.loop.look([&front = front_, answer](const Loop& loop) {
    front.pump.post([answer, pools = pools_of(front, loop)] {
      answer->give([&](api::ListPoolsResponse& out) {
        for (const api::Pool& pool : pools) *out.add_pools() = pool;
      });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* PoolsService::Get(Context* context, const api::GetPoolRequest* request, api::Pool* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::Pool>::open(front_, context, response);
  front_.loop.look([&front = front_, answer, name = request->name()](const Loop& loop) {
    front.pump.post([answer, name, pools = pools_of(front, loop)] {
      const auto found = std::ranges::find(pools, name, &api::Pool::name);
      if (found == pools.end()) return answer->refuse({ErrorCode::kNotFound, "no pool \"" + name + "\""});
      answer->give([&](api::Pool& out) { out = *found; });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* WorkersService::List(grpc::CallbackServerContext* context,
                                               const api::ListWorkersRequest* request,
                                               api::ListWorkersResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::ListWorkersResponse>::open(front_, context, response);
  const auto wanted = [pool = request->pool()](const std::string& name) { return pool.empty() || pool == name; };
  front_.loop.look([&front = front_, answer, wanted, measure = request->measure_memory()](const Loop& loop) {
    std::vector<api::Worker> workers;
    const std::vector<SlotFigures> slots = loop.scheduler().slots();
    for (const pool::WorkerFigures& worker : loop.pools().workers()) {
      const auto slot = std::ranges::find(slots, worker.slot, &SlotFigures::slot);
      if (slot != slots.end() && wanted(slot->pool)) workers.push_back(to_api(worker, *slot));
    }
    front.pump.post([answer, measure, workers = std::move(workers)] {
      answer->give([&](api::ListWorkersResponse& out) {
        for (const api::Worker& worker : workers) {
          api::Worker& told = *out.add_workers();
          told = worker;
          if (!measure || worker.pid() <= 0) continue;
          const Memory memory = memory_of(worker.pid());
          told.set_rss_bytes(memory.rss_bytes);
          told.set_pss_bytes(memory.pss_bytes);
        }
      });
    });
  });
  return answer->reactor();
}

}  // namespace futured::rpc
