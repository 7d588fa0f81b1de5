// Pools, workers, and the daemon itself.
#include <utility>

#include "client/cpp/client_state.h"
#include "futured/client.h"

namespace futured::client {

namespace {

// Every numeric field by its name: a figure that a newer daemon adds is shown without a change here.
std::map<std::string, std::int64_t> figures_of(const api::StatsResponse& stats) {
  std::map<std::string, std::int64_t> figures;
  const auto* descriptor = stats.GetDescriptor();
  const auto* reflection = stats.GetReflection();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    if (field->is_repeated()) continue;
    if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_UINT64) {
      figures[field->name()] = static_cast<std::int64_t>(reflection->GetUInt64(stats, field));
    } else if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_INT64) {
      figures[field->name()] = reflection->GetInt64(stats, field);
    }
  }
  for (const auto& [name, value] : stats.counters()) figures[name] = static_cast<std::int64_t>(value);
  return figures;
}

std::optional<std::int64_t> known(std::int64_t us) { return us < 0 ? std::nullopt : std::optional(us); }

LoopInfo from_loop(const api::LoopDebug& loop) {
  LoopInfo info;
  info.name = loop.name();
  info.turns = loop.turns();
  info.descriptors = loop.descriptors();
  info.descriptor_names.assign(loop.descriptor_names().begin(), loop.descriptor_names().end());
  info.timers = loop.timers();
  info.lag_us = known(loop.lag_us());
  info.lag_max_us = known(loop.lag_max_us());
  for (const api::SlowCallback& slow : loop.slow_callbacks()) {
    info.slow_callbacks.push_back({slow.what(), slow.started_us(), slow.took_us(), slow.under_way()});
  }
  return info;
}

}  // namespace

std::vector<PoolInfo> Client::pools() const {
  api::ListPoolsResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->pools->List(&context, {}, &response); }, true);
  std::vector<PoolInfo> pools;
  for (const api::Pool& pool : response.pools()) pools.push_back(from_pool(pool));
  return pools;
}

PoolInfo Client::pool(const std::string& name) const {
  api::GetPoolRequest request;
  request.set_name(name);
  api::Pool pool;
  state_->call([&](grpc::ClientContext& context) { return state_->pools->Get(&context, request, &pool); }, true);
  return from_pool(pool);
}

PoolInfo Client::reload_pool(const std::string& name) const {
  api::ReloadPoolRequest request;
  request.set_name(name);
  api::Pool pool;
  state_->call([&](grpc::ClientContext& context) { return state_->pools->Reload(&context, request, &pool); }, true);
  return from_pool(pool);
}

std::vector<WorkerInfo> Client::workers(const std::string& pool, bool measure_memory) const {
  api::ListWorkersRequest request;
  request.set_pool(pool);
  request.set_measure_memory(measure_memory);
  api::ListWorkersResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->workers->List(&context, request, &response); }, true);
  std::vector<WorkerInfo> workers;
  for (const api::Worker& worker : response.workers()) workers.push_back(from_worker(worker));
  return workers;
}

DaemonInfo Client::info() const {
  api::InfoResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->admin->Info(&context, {}, &response); }, true);
  DaemonInfo info;
  info.version = response.version();
  info.pid = response.pid();
  info.epoch = response.epoch();
  info.state_dir = response.state_dir();
  info.durable = response.durable();
  info.started_us = response.started_us();
  for (const api::Pool& pool : response.pools()) info.pools.push_back(from_pool(pool));
  info.spawner_pid = response.spawner_pid();
  info.store = response.store();
  info.schema_version = response.schema_version();
  info.socket = response.socket();
  info.segment_socket = response.segment_socket();
  info.idle_exit_ms = response.idle_exit_ms();
  info.your_uid = response.your_uid();
  return info;
}

Statistics Client::stats() const {
  api::StatsResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->admin->Stats(&context, {}, &response); }, true);
  return {response.uptime_ms(), figures_of(response)};
}

std::vector<LoopInfo> Client::debug_loops() const {
  api::DebugRequest request;
  request.set_topic(api::DEBUG_TOPIC_LOOPS);
  api::DebugResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->admin->Debug(&context, request, &response); }, true);
  std::vector<LoopInfo> loops;
  for (const api::LoopDebug& loop : response.loops()) loops.push_back(from_loop(loop));
  return loops;
}

ShutdownInfo Client::shutdown(bool spawner, Milliseconds grace) const {
  api::ShutdownRequest request;
  request.set_spawner(spawner);
  request.set_grace_ms(grace.count());
  api::ShutdownResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->admin->Shutdown(&context, request, &response); },
               false);
  return {response.pid(), response.spawner_pid(), response.running()};
}

}  // namespace futured::client
