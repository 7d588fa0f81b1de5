// Watchers: who wants to know how which jobs end.
//
// A subscription is a set, not an object per job: a batch of 10,000 jobs is one range, however long it waits.
#pragma once

#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "daemon/loop/sinks.h"

namespace futured {

// The loop's thread only.
class Watchers {
 public:
  // `range` is a batch that `sink` has just submitted: its ids are nobody else's, and each ends once.
  void watch_batch(JobRange range, std::shared_ptr<OutcomeSink> sink);
  // Any ids, whether they exist or not. Lasts until they have ended, or forget() with the same ranges.
  void watch(const std::vector<JobRange>& ranges, const std::shared_ptr<OutcomeSink>& sink);
  void forget(const std::vector<JobRange>& ranges, const OutcomeSink* sink);
  void forget_batches(const OutcomeSink* sink);

  // Tells every sink what ended, one call for each sink.
  void publish(const std::shared_ptr<const Batch>& batch);

  [[nodiscard]] std::size_t size() const { return batches_.size() + single_.size() + long_ranges_.size(); }

 private:
  struct BatchWatch {
    std::uint64_t end = 0;
    std::uint64_t left = 0;
    std::shared_ptr<OutcomeSink> sink;
  };
  struct LongRange {
    JobRange range;
    std::shared_ptr<OutcomeSink> sink;
  };
  using Tellings = std::unordered_map<OutcomeSink*, std::pair<std::shared_ptr<OutcomeSink>, std::vector<EndedJob>>>;

  void note(JobId id, const Ending& ending, Tellings& tellings);
  void note_batch(JobId id, const Ending& ending, Tellings& tellings);

  std::map<std::uint64_t, BatchWatch> batches_;  // by first id; never overlap
  std::map<std::uint64_t, BatchWatch>::iterator last_batch_ = batches_.end();
  std::unordered_map<JobId, std::vector<std::shared_ptr<OutcomeSink>>> single_;
  std::vector<LongRange> long_ranges_;
};

}  // namespace futured
