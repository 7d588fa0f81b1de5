#include "daemon/rpc/pools_service.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <utility>

#include "base/limits.h"

namespace futured::rpc {

namespace {

constexpr std::size_t kTreeProcessesMax = 1'024;  // of one worker; of a larger tree only so many are added up

api::PoolMode to_api(PoolMode mode) {
  switch (mode) {
    case PoolMode::kProcess:
      return api::POOL_MODE_PROCESS;
    case PoolMode::kFresh:
      return api::POOL_MODE_FRESH;
    case PoolMode::kThread:
      return api::POOL_MODE_THREAD;
    case PoolMode::kAsync:
      return api::POOL_MODE_ASYNC;
    case PoolMode::kCommand:
      return api::POOL_MODE_COMMAND;
  }
  return api::POOL_MODE_UNSPECIFIED;
}

api::LeakPolicy to_api(Leaks leaks) {
  switch (leaks) {
    case Leaks::kReplace:
      return api::LEAK_POLICY_REPLACE;
    case Leaks::kWarn:
      return api::LEAK_POLICY_WARN;
    case Leaks::kIgnore:
      return api::LEAK_POLICY_OFF;
  }
  return api::LEAK_POLICY_UNSPECIFIED;
}

void fill(const pool::PoolConfig& config, api::PoolOptions& out) {
  const PoolTerms& terms = config.terms;
  out.set_mode(to_api(terms.mode));
  out.set_workers_min(config.workers_min);
  out.set_workers_max(config.slots / terms.slots_per_worker());
  out.set_worker_idle_ms(config.idle.count() / 1'000'000);
  out.set_jobs_at_once(terms.jobs_at_once);
  out.set_jobs_per_worker_max(terms.jobs_per_worker_max);
  out.set_worker_rss_bytes_max(terms.rss_bytes_max);
  out.set_worker_memory_bytes_max(static_cast<std::int64_t>(terms.memory_bytes_max));
  out.set_processes_max(terms.processes_max);
  out.set_leaks(to_api(terms.leaks));
  out.set_user(terms.user);
  for (const std::string& name : terms.env_allow) out.add_env_allow(name);
  for (const auto& [name, value] : terms.limits) (*out.mutable_limits())[name] = value;
  out.set_nice(terms.nice);
  out.set_no_new_privileges(terms.no_new_privileges);
  out.set_no_network(terms.no_network);
  out.set_private_directory(terms.private_directory);
  for (const std::string& plugin : terms.plugins) out.add_plugins(plugin);
}

api::Pool to_api(const Loop& loop, const pool::PoolConfig& config) {
  api::Pool out;
  out.set_name(config.name);
  api::PoolOptions& options = *out.mutable_options();
  fill(config, options);
  const auto tasks = loop.pools().tasks().find(config.name);
  if (tasks != loop.pools().tasks().end() && !config.runs_commands()) {
    for (const pool::Task& task : tasks->second) {
      api::Task& known = *out.add_tasks();
      known.set_name(task.name);
      known.set_version(task.version);
    }
  }
  const auto problem = loop.pool_problems().find(config.name);
  if (problem != loop.pool_problems().end()) out.set_problem(problem->second);
  const pool::PoolFigures figures = loop.pools().figures(config.name);
  out.set_jobs_run(figures.jobs_done);
  out.set_zygote_start_us(figures.zygote_start.count() / 1000);
  out.set_fork_us(figures.fork.count() / 1000);
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

// As /proc/PID/stat has it, which everybody may read.
struct ProcessStat {
  std::int64_t cpu_ticks = 0;    // of itself and of the children that it has waited for
  std::int64_t start_ticks = 0;  // since the boot
  std::int64_t rss_bytes = 0;
};

std::optional<ProcessStat> stat_of(std::int32_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const std::size_t name_end = text.rfind(')');  // the name may hold anything, spaces and parentheses included
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream words(text.substr(name_end + 1));
  constexpr std::size_t kFirst = 4;       // proc(5) counts the fields from 1
  std::array<std::int64_t, 21> fields{};  // the 4th to the 24th
  std::string state;
  words >> state;
  for (std::int64_t& field : fields) words >> field;
  if (!words) return std::nullopt;
  const auto field = [&](std::size_t number) { return fields[number - kFirst]; };
  return ProcessStat{field(14) + field(15) + field(16) + field(17), field(22), field(24) * sysconf(_SC_PAGESIZE)};
}

void add_children(std::int32_t pid, std::vector<std::int32_t>& pids) {
  std::error_code gone;
  const std::filesystem::directory_iterator threads("/proc/" + std::to_string(pid) + "/task", gone);
  for (auto thread = begin(threads); !gone && thread != end(threads); thread.increment(gone)) {
    std::ifstream children(thread->path() / "children");
    for (std::int32_t child = 0; children >> child && pids.size() < kTreeProcessesMax;) pids.push_back(child);
  }
}

// A worker is subreaper of what descends from it, so that none of it is missed. Costs some ten microseconds a process.
void measure_tree(api::Worker& worker) {
  std::int64_t cpu_ticks = 0;
  std::int64_t rss_bytes = 0;
  std::uint32_t processes = 0;
  std::vector<std::int32_t> pids = {worker.pid()};
  for (std::size_t i = 0; i < pids.size(); ++i) {
    const auto stat = stat_of(pids[i]);
    if (!stat) continue;
    ++processes;
    cpu_ticks += stat->cpu_ticks;
    rss_bytes += stat->rss_bytes;
    add_children(pids[i], pids);
  }
  worker.set_cpu_us(cpu_ticks * 1'000'000 / sysconf(_SC_CLK_TCK));
  worker.set_tree_rss_bytes(rss_bytes);
  worker.set_processes(processes);
}

// A worker that this daemon took over is older than the spawner could tell. Left alone within a second, which is more
// than the clocks of /proc are coarse, so that a worker's start is the same in every answer.
void correct_start(const ProcessStat& stat, api::Worker& worker) {
  std::ifstream file("/proc/uptime");
  double uptime_s = 0;
  if (!(file >> uptime_s)) return;
  const std::int64_t start_us = stat.start_ticks * 1'000'000 / sysconf(_SC_CLK_TCK);
  const std::int64_t began_us = wall_now().us - (static_cast<std::int64_t>(uptime_s * 1e6) - start_us);
  if (began_us < worker.started_us() - 1'000'000) worker.set_started_us(began_us);
}

void measure(api::Worker& worker) {
  const auto stat = stat_of(worker.pid());
  if (!stat) return;
  const Memory memory = memory_of(worker.pid());
  worker.set_rss_bytes(memory.rss_bytes != 0 ? memory.rss_bytes : stat->rss_bytes);  // another user's pages are hidden
  worker.set_pss_bytes(memory.pss_bytes);
  measure_tree(worker);
  correct_start(*stat, worker);
}

// One slot of a worker; of one with several, each is added to the first.
void add_slot(const pool::WorkerFigures& worker, const SlotFigures& slot, api::Worker& out) {
  const bool is_first = out.slot() == 0;
  if (is_first) {
    out.set_pool(slot.pool);
    out.set_slot(slot.slot.value);
    out.set_generation(worker.generation);
    out.set_state(api::WORKER_STATE_STARTING);
  }
  if (out.pid() == 0 && worker.alive) out.set_pid(worker.pid);  // that of a dead one may be another process by now
  out.set_jobs_run(out.jobs_run() + worker.jobs_done);
  const bool is_older = worker.started_at.us != 0 && worker.started_at.us < out.started_us();
  if (out.started_us() == 0 || is_older) out.set_started_us(worker.started_at.us);
  if (worker.alive && slot.ready && out.state() == api::WORKER_STATE_STARTING) out.set_state(api::WORKER_STATE_IDLE);
  if (worker.alive && slot.ready && !slot.running.empty()) out.set_state(api::WORKER_STATE_BUSY);
  for (const JobId job : slot.running) out.add_job_ids(job.value);
  out.set_jobs_running(out.jobs_running() + static_cast<std::uint32_t>(slot.running.size()));
  out.set_jobs_max(out.jobs_max() + slot.runs_max);
  out.set_offers(out.offers() + slot.offers - static_cast<std::uint32_t>(slot.running.size()));
}

void keep_first_ids(api::Worker& worker) {
  auto& ids = *worker.mutable_job_ids();
  std::sort(ids.begin(), ids.end());
  if (static_cast<std::size_t>(ids.size()) > limits::kWorkerJobIdsMax) ids.Truncate(limits::kWorkerJobIdsMax);
}

// Of the pools that are wanted, in the order of their slots.
std::vector<api::Worker> workers_of(const Loop& loop, const std::string& pool) {
  std::vector<api::Worker> workers;
  const std::vector<SlotFigures> slots = loop.scheduler().slots();  // slots[i] is SlotId i + 1
  SlotId last;
  for (const pool::WorkerFigures& worker : loop.pools().workers()) {
    if (worker.slot.value == 0 || worker.slot.value > slots.size()) continue;
    const SlotFigures& slot = slots[worker.slot.value - 1];
    if (!slot.is_listed || (!pool.empty() && slot.pool != pool)) continue;
    if (workers.empty() || slot.first_of_worker != last) workers.emplace_back();
    last = slot.first_of_worker;
    add_slot(worker, slot, workers.back());
  }
  for (api::Worker& worker : workers) keep_first_ids(worker);
  return workers;
}

Error no_pool(const std::string& name) { return {ErrorCode::kNotFound, "no pool \"" + name + "\""}; }

}  // namespace

std::vector<api::Pool> pools_of(const Front& front, const Loop& loop) {
  std::vector<api::Pool> pools;
  for (const pool::PoolConfig& config : front.setup.pools) pools.push_back(to_api(loop, config));
  const auto find = [&](const std::string& name) { return std::ranges::find(pools, name, &api::Pool::name); };
  std::set<std::int32_t> counted;
  std::set<std::int32_t> busy;
  for (const SlotFigures& slot : loop.scheduler().slots()) {
    const auto pool = find(slot.pool);
    if (pool == pools.end() || !slot.ready) continue;
    pool->set_jobs_running(pool->jobs_running() + static_cast<std::uint32_t>(slot.running.size()));
    pool->set_jobs_max(pool->jobs_max() + slot.runs_max);
    if (counted.insert(slot.worker_pid).second) pool->set_workers(pool->workers() + 1);
    if (slot.offers > 0 && busy.insert(slot.worker_pid).second) pool->set_workers_busy(pool->workers_busy() + 1);
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

void PoolsService::give(const std::shared_ptr<Answer<api::Pool>>& answer, const std::string& name) {
  front_.loop.look([&front = front_, answer, name](const Loop& loop) {
    front.pump.post([answer, name, pools = pools_of(front, loop)] {
      const auto found = std::ranges::find(pools, name, &api::Pool::name);
      if (found == pools.end()) return answer->refuse({ErrorCode::kNotFound, "no pool \"" + name + "\""});
      answer->give([&](api::Pool& out) { out = *found; });
    });
  });
}

grpc::ServerUnaryReactor* PoolsService::Get(Context* context, const api::GetPoolRequest* request, api::Pool* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  auto answer = Answer<api::Pool>::open(front_, context, response);
  give(answer, request->name());
  return answer->reactor();
}

grpc::ServerUnaryReactor* PoolsService::Reload(Context* context, const api::ReloadPoolRequest* request,
                                               api::Pool* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  const Principal who = front_.who(*context);
  if (!front_.is_admin(who)) {
    return answer_now(context, Error{ErrorCode::kPermissionDenied,
                                     "user " + std::to_string(who.uid) + " may not reload a pool; root and user " +
                                         std::to_string(front_.setup.admin_uid) + " may"});
  }
  auto answer = Answer<api::Pool>::open(front_, context, response);
  front_.loop.reload_pool(request->name(), [this, answer, name = request->name()](const Status& how) {
    if (how.ok()) return give(answer, name);
    front_.pump.post([answer, error = how.error()] { answer->refuse(error); });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* WorkersService::List(grpc::CallbackServerContext* context,
                                               const api::ListWorkersRequest* request,
                                               api::ListWorkersResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  const auto& pools = front_.setup.pools;
  const bool is_known = std::ranges::find(pools, request->pool(), &pool::PoolConfig::name) != pools.end();
  if (!request->pool().empty() && !is_known) return answer_now(context, no_pool(request->pool()));
  auto answer = Answer<api::ListWorkersResponse>::open(front_, context, response);
  front_.loop.look(
      [&front = front_, answer, pool = request->pool(), measured = request->measure_memory()](const Loop& loop) {
        std::vector<api::Worker> workers = workers_of(loop, pool);
        front.pump.post([answer, measured, workers = std::move(workers)] {
          answer->give([&](api::ListWorkersResponse& out) {
            for (const api::Worker& worker : workers) {
              api::Worker& told = *out.add_workers();
              told = worker;
              if (measured && worker.pid() > 0) measure(told);
            }
          });
        });
      });
  return answer->reactor();
}

}  // namespace futured::rpc
