#include "daemon/rpc/cache_service.h"

#include <charconv>

#include "base/limits.h"
#include "daemon/rpc/cache_key.h"
#include "daemon/store/digest.h"

namespace futured::rpc {

namespace {

constexpr std::uint32_t kPageDefault = 100;

void fill(const CacheEntryRow& row, api::CacheEntry& out) {
  out.set_task(row.key.task);
  out.set_task_version(row.key.version);
  if (const auto digest = Digest::from_raw(row.key.digest)) out.set_key(digest->hex());
  out.set_job_id(row.job.value);
  out.set_bytes(row.bytes);
  out.set_hits(row.hits);
  out.set_created_us(row.created_at.us);
  out.set_expires_us(row.expires_at.us);
  out.set_given_key(row.name);
}

}  // namespace

// Root and the daemon's own user see those of every user.
grpc::ServerUnaryReactor* CacheService::List(Context* context, const api::ListCacheRequest* request,
                                             api::ListCacheResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  ResultCache::Listing wanted;
  const Principal who = front_.who(*context);
  if (!front_.is_admin(who)) wanted.owner = who.uid;
  if (!request->task().empty()) {
    if (const Status sound = check_name(request->task(), "task"); !sound.ok()) return answer_now(context, sound);
    wanted.task = request->task();
  }
  const std::uint32_t page_size = request->page_size() == 0 ? kPageDefault : request->page_size();
  if (page_size > limits::kCachePageMax) {
    return answer_now(context, too_much("page_size", std::to_string(page_size) + " is over " +
                                                         std::to_string(limits::kCachePageMax)));
  }
  wanted.entries_max = page_size;
  const std::string& token = request->page_token();
  if (!token.empty()) {
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), wanted.before);
    if (error != std::errc() || end != token.data() + token.size() || wanted.before == 0) {
      return answer_now(context, invalid("page_token", "is none that this server gave"));
    }
  }
  auto answer = Answer<api::ListCacheResponse>::open(front_, context, response);
  front_.loop.look([&front = front_, answer, wanted](const Loop& loop) {
    front.pump.post([answer, wanted, rows = loop.scheduler().cache().list(wanted)] {
      answer->give([&](api::ListCacheResponse& out) {
        for (const CacheEntryRow& row : rows) fill(row, *out.add_entries());
        if (rows.size() == wanted.entries_max) out.set_next_page_token(std::to_string(rows.back().job.value));
      });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* CacheService::Stats(Context* context, const api::CacheStatsRequest* request,
                                              api::CacheStats* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  std::optional<std::uint32_t> owner;
  const Principal who = front_.who(*context);
  if (!front_.is_admin(who)) owner = who.uid;
  auto answer = Answer<api::CacheStats>::open(front_, context, response);
  front_.loop.look([&front = front_, answer, owner](const Loop& loop) {
    const ResultCache& cache = loop.scheduler().cache();
    front.pump.post([answer, figures = cache.figures(owner), bytes_max = cache.bounds().bytes_max] {
      answer->give([&](api::CacheStats& out) {
        out.set_entries(figures.entries);
        out.set_bytes(figures.bytes);
        out.set_bytes_max(bytes_max);
        out.set_hits(figures.hits);
        out.set_misses(figures.misses);
        out.set_joined(figures.joined);
        out.set_evicted(figures.evicted);
      });
    });
  });
  return answer->reactor();
}

grpc::ServerUnaryReactor* CacheService::Clear(Context* context, const api::ClearCacheRequest* request,
                                              api::ClearCacheResponse* response) {
  if (auto* const refusal = refuse_unknown(context, *request)) return refusal;
  event::ClearCache clear{.who = front_.who(*context),
                          .every_task = request->task().empty() && !request->commands(),
                          .task = request->task(),
                          .entry = JobId{request->job_id()}};
  if (!clear.task.empty()) {
    if (request->commands()) return answer_now(context, invalid("commands", "refused beside a task; leave one out"));
    if (const Status sound = check_name(clear.task, "task"); !sound.ok()) return answer_now(context, sound);
  }
  if (request->key().size() > limits::kCacheKeyBytesMax) {
    return answer_now(context, too_much("key", std::to_string(request->key().size()) + " bytes are over " +
                                                   std::to_string(limits::kCacheKeyBytesMax)));
  }
  if (!request->key().empty()) clear.digest = cache_digest_of_key(request->key());
  if (front_.loop.store_is_failing()) return answer_now(context, store_failing_error());
  auto answer = Answer<api::ClearCacheResponse>::open(front_, context, response);
  front_.loop.clear_cache(std::move(clear), [&front = front_, answer](std::uint64_t removed) {
    front.pump.post(
        [answer, removed] { answer->give([&](api::ClearCacheResponse& out) { out.set_removed(removed); }); });
  });
  return answer->reactor();
}

}  // namespace futured::rpc
