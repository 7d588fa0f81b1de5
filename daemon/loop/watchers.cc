#include "daemon/loop/watchers.h"

#include <algorithm>

namespace futured {

namespace {

// Shorter ranges are spread over the table of single ids; longer ones are few and are looked through.
constexpr std::uint64_t kSpreadMax = 1024;

}  // namespace

void Watchers::watch_batch(JobRange range, std::shared_ptr<OutcomeSink> sink) {
  batches_.emplace(range.first, BatchWatch{range.end, range.size(), std::move(sink)});
}

void Watchers::watch(const std::vector<JobRange>& ranges, const std::shared_ptr<OutcomeSink>& sink) {
  for (const JobRange& range : ranges) {
    if (range.size() > kSpreadMax) {
      long_ranges_.push_back({range, sink});
      continue;
    }
    for (std::uint64_t id = range.first; id < range.end; ++id) single_[JobId{id}].push_back(sink);
  }
}

void Watchers::forget(const std::vector<JobRange>& ranges, const OutcomeSink* sink) {
  for (const JobRange& range : ranges) {
    if (range.size() > kSpreadMax) continue;
    for (std::uint64_t id = range.first; id < range.end; ++id) {
      const auto found = single_.find(JobId{id});
      if (found == single_.end()) continue;
      std::erase_if(found->second, [&](const auto& one) { return one.get() == sink; });
      if (found->second.empty()) single_.erase(found);
    }
  }
  std::erase_if(long_ranges_, [&](const LongRange& entry) { return entry.sink.get() == sink; });
}

void Watchers::forget_batches(const OutcomeSink* sink) {
  std::erase_if(batches_, [&](const auto& entry) { return entry.second.sink.get() == sink; });
  last_batch_ = batches_.end();
}

void Watchers::publish(const std::shared_ptr<const Batch>& batch) {
  if (batches_.empty() && single_.empty() && long_ranges_.empty()) return;
  Tellings tellings;
  for (const JobRow& row : batch->jobs) {
    if (is_terminal(row.ending.state)) note(row.id, row.ending, tellings);
  }
  for (const OutcomeRow& row : batch->outcomes) note(row.id, row.ending, tellings);
  for (auto& [sink, telling] : tellings) sink->ended(batch, std::move(telling.second));
}

void Watchers::note(JobId id, const Ending& ending, Tellings& tellings) {
  const auto tell = [&](const std::shared_ptr<OutcomeSink>& sink) {
    auto& [keep, jobs] = tellings[sink.get()];
    if (!keep) keep = sink;
    jobs.push_back({id, &ending});
  };
  note_batch(id, ending, tellings);
  if (!single_.empty()) {
    if (const auto found = single_.find(id); found != single_.end()) {
      for (const auto& sink : found->second) tell(sink);
      single_.erase(found);
    }
  }
  for (const LongRange& entry : long_ranges_) {
    if (entry.range.contains(id)) tell(entry.sink);
  }
}

void Watchers::note_batch(JobId id, const Ending& ending, Tellings& tellings) {
  // Jobs of one batch mostly end together, so the last batch is mostly the right one.
  auto found = last_batch_;
  if (found == batches_.end() || id.value < found->first || id.value >= found->second.end) {
    found = batches_.upper_bound(id.value);
    if (found == batches_.begin()) return;
    --found;
    if (id.value >= found->second.end) return;
  }
  BatchWatch& watch = found->second;
  auto& [keep, jobs] = tellings[watch.sink.get()];
  if (!keep) keep = watch.sink;
  jobs.push_back({id, &ending});
  last_batch_ = found;
  if (--watch.left == 0) {
    batches_.erase(found);
    last_batch_ = batches_.end();
  }
}

}  // namespace futured
