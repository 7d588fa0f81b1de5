#include "daemon/store/callback_reads.h"

#include <algorithm>

namespace futured {

namespace {

constexpr std::uint32_t kRowsAtOnce = 256;

Error damaged(CallbackId id) {
  return {ErrorCode::kDataLoss,
          "callback " + std::to_string(id.value) + ": what it asks for is damaged; restore the database from a backup"};
}

// Nothing: there is no such callback.
Result<std::optional<CallbackRecord>> callback_with(CallbackTables& tables, CallbackId id, DeliveryRow delivery) {
  CallbackRecord record;
  record.id = id;
  std::size_t index = 0;
  std::string encoded;
  if (is_later(id)) {
    auto row = tables.callback_row(id);
    if (!row) return row.error();
    if (!*row) return std::optional<CallbackRecord>();
    record.job = (*row)->job;
    record.owner = (*row)->owner;
    record.batch_jobs = (*row)->batch_jobs;
    encoded = std::move((*row)->spec);
  } else {
    record.job = job_of(id);
    index = index_of(id);
    auto job = tables.job_row(record.job, /*with_result=*/false);
    if (!job) return job.error();
    if (!*job) return std::optional<CallbackRecord>();
    record.owner = (*job)->job.owner;
    encoded = std::move((*job)->spec.callbacks);
  }
  auto specs = decode_callbacks(encoded);
  if (!specs || index >= specs->size()) return damaged(id);
  record.spec = std::move((*specs)[index]);
  record.delivery = std::move(delivery);
  return std::optional(std::move(record));
}

struct CallbacksOfJob {
  std::vector<CallbackId> ids;  // ascending
  bool is_all = true;           // else some that were registered later follow behind the last
};

// Of one job: those that came with its submit are known from its options, whether they are due or not.
Result<CallbacksOfJob> callbacks_of(CallbackTables& tables, const CallbackQuery& query) {
  CallbacksOfJob found;
  std::vector<CallbackId>& ids = found.ids;
  auto job = tables.job_row(query.job, /*with_result=*/false);
  if (!job) return job.error();
  if (!*job) return found;
  const auto specs = decode_callbacks((*job)->spec.callbacks);
  if (!specs) return specs.error().in("job " + std::to_string(query.job.value));
  const auto batch = tables.batch_of(query.job);
  if (!batch) return batch.error();
  for (std::uint32_t i = 0; i < specs->size(); ++i) {
    const JobId named = (*specs)[i].whole_batch && *batch ? (*batch)->first : query.job;
    ids.push_back(callback_of(named, i));
  }
  const auto later = tables.later_callbacks(query.job, query.after, query.callbacks_max + 1);
  if (!later) return later.error();
  ids.insert(ids.end(), later->begin(), later->end());
  found.is_all = later->size() <= query.callbacks_max;
  std::ranges::sort(ids);
  std::erase_if(
      ids, [&](CallbackId id) { return id.value <= query.after || (!found.is_all && id.value > later->back().value); });
  return found;
}

// How a callback without a row stands: its job, or batch, has not ended; or it ended otherwise than was asked for.
Result<DeliveryRow> row_of(CallbackTables& tables, CallbackId id) {
  auto row = tables.delivery_row(id);
  if (!row) return row.error();
  if (*row) return **std::move(row);
  const JobId job = job_of(id);
  auto record = tables.job_row(job, /*with_result=*/false);
  if (!record) return record.error();
  const auto batch = tables.batch_of(job);
  if (!batch) return batch.error();
  const bool ended = *record && is_terminal((*record)->ending.state);
  const bool batch_is_open = *batch && (*batch)->ended < (*batch)->count;
  const auto specs = *record ? decode_callbacks((*record)->spec.callbacks) : std::vector<CallbackSpec>();
  const bool of_batch = specs.ok() && index_of(id) < specs->size() && (*specs)[index_of(id)].whole_batch;
  const bool waits = of_batch ? batch_is_open : !ended;
  return DeliveryRow{id, job, 0, waits ? DeliveryState::kWaiting : DeliveryState::kNotDue};
}

bool wants(const CallbackQuery& query, DeliveryState state) {
  if (query.states.empty()) return state != DeliveryState::kNotDue;
  return std::ranges::find(query.states, state) != query.states.end();
}

}  // namespace

Result<std::optional<CallbackRecord>> read_callback_record(CallbackTables& tables, CallbackId id) {
  auto row = tables.delivery_row(id);
  if (!row) return row.error();
  if (!*row) return std::optional<CallbackRecord>();
  return callback_with(tables, id, **std::move(row));
}

Result<std::optional<DeliveryRecord>> read_delivery_record(CallbackTables& tables, CallbackId id) {
  auto callback = read_callback_record(tables, id);
  if (!callback) return callback.error();
  if (!*callback) return std::optional<DeliveryRecord>();
  DeliveryRecord record{**std::move(callback), {}, {}};
  auto job = tables.job_row(record.callback.delivery.job, /*with_result=*/true);
  if (!job) return job.error();
  if (!*job) return std::optional<DeliveryRecord>();
  record.job = **std::move(job);
  if (!record.callback.spec.whole_batch) return std::optional(std::move(record));
  if (const std::uint32_t count = record.callback.batch_jobs; count > 0) {
    const auto failed = tables.not_succeeded(record.callback.job, count);
    if (!failed) return failed.error();
    record.batch = WholeBatchRow{record.callback.job, count, count, *failed};
    return std::optional(std::move(record));
  }
  auto batch = tables.batch_of(record.callback.job);
  if (!batch) return batch.error();
  record.batch = *batch;
  return std::optional(std::move(record));
}

Result<CallbackPage> read_callback_page(CallbackTables& tables, const CallbackQuery& query) {
  CallbackPage page;
  const auto add = [&](DeliveryRow row) -> Status {
    auto record = callback_with(tables, row.id, row);
    if (!record) return record.error();
    if (*record) page.callbacks.push_back(**std::move(record));
    return {};
  };
  if (query.job.is_set()) {
    const auto found = callbacks_of(tables, query);
    if (!found) return found.error();
    for (const CallbackId id : found->ids) {
      if (page.callbacks.size() == query.callbacks_max) {
        page.next_after = page.callbacks.back().id.value;
        return page;
      }
      auto row = row_of(tables, id);
      if (!row) return row.error();
      if (!wants(query, row->state)) continue;
      if (const Status added = add(*std::move(row)); !added) return added.error();
    }
    if (!found->is_all) page.next_after = found->ids.back().value;
    return page;
  }
  const bool failed_only = query.states == std::vector{DeliveryState::kFailed};
  std::uint64_t after = query.after;
  for (std::uint64_t scanned = 0;;) {
    const auto rows = tables.delivery_rows(after, kRowsAtOnce, failed_only);
    if (!rows) return rows.error();
    for (const DeliveryRow& row : *rows) {
      if (page.callbacks.size() == query.callbacks_max || scanned == query.scan_max) {
        page.next_after = after;
        return page;
      }
      ++scanned;
      after = row.id.value;
      if (!wants(query, row.state)) continue;
      if (const Status added = add(row); !added) return added.error();
    }
    if (rows->size() < kRowsAtOnce) return page;
  }
}

}  // namespace futured
