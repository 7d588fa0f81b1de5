#include "daemon/core/later_batches.h"

#include <algorithm>
#include <string>

#include "base/limits.h"

namespace futured {

void LaterBatch::mark(JobId job, bool succeeded) {
  const std::uint64_t place = job.value - query.first.value;
  if (ended[place]) return;
  ended[place] = true;
  --open;
  if (!succeeded) ++failed;
}

void LaterBatch::take(const BatchAnswer& answer) {
  counted = true;
  std::vector<bool> is_there(ended.size());
  for (const BatchAnswer::Standing& job : answer.jobs) {
    is_there[job.id.value - query.first.value] = true;
    if (is_terminal(job.state)) mark(job.id, job.state == JobState::kSucceeded);
  }
  if (asked) return;  // it is refused when one is missing
  // Retention keeps them from the commit of the registration on: one that it removed just before has ended, and how is
  // not known any more.
  for (std::size_t i = 0; i < is_there.size(); ++i) {
    if (!is_there[i]) mark(JobId{query.first.value + i}, true);
  }
}

Status LaterBatch::check(const BatchAnswer& answer, std::uint32_t admin_uid) const {
  JobId next = query.first;
  for (const BatchAnswer::Standing& job : answer.jobs) {
    if (job.id != next) break;
    ++next.value;
    if (asked->who.uid == 0 || asked->who.uid == admin_uid || asked->who.uid == job.owner) continue;
    return Error{ErrorCode::kPermissionDenied,
                 "job " + std::to_string(job.id.value) + " belongs to user " + std::to_string(job.owner)};
  }
  if (next.value == query.first.value + query.count) return {};
  return Error{ErrorCode::kNotFound, "no job " + std::to_string(next.value)};
}

LaterBatch& LaterBatches::add(JobId first, std::uint32_t count, const CallbackTerms& terms) {
  const std::uint64_t number = next_number_++;
  by_first_.emplace(first, number);
  LaterBatch& batch = by_number_[number];
  batch.query = {number, first, count};
  batch.terms = terms;
  batch.ended.resize(count);
  batch.open = count;
  return batch;
}

void LaterBatches::ask(const event::Register& asked, Effects& effects) {
  LaterBatch& batch = add(asked.job, asked.batch_jobs, asked.terms);
  batch.asked = asked;
  effects.batch_queries.push_back(batch.query);
}

void LaterBatches::take_up(const CallbackRow& row, const CallbackTerms& terms) {
  add(row.job, row.batch_jobs, terms).id = row.id;
}

void LaterBatches::ask_anew(Effects& effects) const {
  for (const auto& [number, batch] : by_number_) effects.batch_queries.push_back(batch.query);
}

LaterBatch* LaterBatches::find(std::uint64_t number) {
  const auto found = by_number_.find(number);
  return found != by_number_.end() ? &found->second : nullptr;
}

void LaterBatches::drop(std::uint64_t number) {
  const auto batch = by_number_.find(number);
  const auto [begin, end] = by_first_.equal_range(batch->second.query.first);
  by_first_.erase(std::find_if(begin, end, [&](const auto& entry) { return entry.second == number; }));
  by_number_.erase(batch);
}

// Only a batch that begins within the largest number of jobs before this one can hold it.
std::vector<std::uint64_t> LaterBatches::ended(JobId job, bool succeeded) {
  std::vector<std::uint64_t> over;
  const std::uint64_t reach = limits::kBatchItemsMax - 1;
  const JobId from{job.value > reach ? job.value - reach : 0};
  for (auto at = by_first_.lower_bound(from); at != by_first_.end() && at->first.value <= job.value; ++at) {
    LaterBatch& batch = by_number_.at(at->second);
    if (job.value >= at->first.value + batch.query.count) continue;
    batch.mark(job, succeeded);
    if (batch.is_over()) over.push_back(at->second);
  }
  std::ranges::sort(over);
  return over;
}

}  // namespace futured
