// The result cache: what is kept, and forgetting it.
#include "client/cpp/client_state.h"
#include "futured/client.h"

namespace futured::client {

namespace {

CacheEntryInfo from_entry(const api::CacheEntry& entry) {
  return {.task = entry.task(),
          .task_version = entry.task_version(),
          .key = entry.key(),
          .job_id = entry.job_id(),
          .bytes = entry.bytes(),
          .hits = entry.hits(),
          .created_us = entry.created_us(),
          .expires_us = entry.expires_us(),
          .given_key = entry.given_key()};
}

}  // namespace

std::vector<CacheEntryInfo> Client::cache_entries(const std::string& task) const {
  std::vector<CacheEntryInfo> entries;
  api::ListCacheRequest request;
  request.set_task(task);
  api::ListCacheResponse response;
  do {
    response.Clear();
    state_->call([&](grpc::ClientContext& context) { return state_->cache->List(&context, request, &response); }, true);
    for (const api::CacheEntry& entry : response.entries()) entries.push_back(from_entry(entry));
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return entries;
}

CacheStatsInfo Client::cache_stats() const {
  const api::CacheStatsRequest request;
  api::CacheStats stats;
  state_->call([&](grpc::ClientContext& context) { return state_->cache->Stats(&context, request, &stats); }, true);
  return {.entries = stats.entries(),
          .bytes = stats.bytes(),
          .bytes_max = stats.bytes_max(),
          .hits = stats.hits(),
          .misses = stats.misses(),
          .joined = stats.joined(),
          .evicted = stats.evicted()};
}

std::uint64_t Client::clear_cache(const std::string& task) const { return clear_cache(CacheSelection{.task = task}); }

std::uint64_t Client::clear_cache(const CacheSelection& selection) const {
  api::ClearCacheRequest request;
  request.set_task(selection.task);
  request.set_commands(selection.commands);
  request.set_key(selection.key);
  request.set_job_id(selection.job_id);
  api::ClearCacheResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->cache->Clear(&context, request, &response); }, true);
  return response.removed();
}

}  // namespace futured::client
