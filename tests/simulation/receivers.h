// Receivers: a model of what those who registered callbacks were promised. It watches what is committed and what they
// are told, and throws Violation when these do not fit together.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "daemon/core/effects.h"
#include "daemon/store/store.h"
#include "tests/simulation/random.h"

namespace futured::simulation {

class Receivers {
 public:
  void committed(const Batch& batch);
  void told(const effect::Deliver& deliver);
  void answered(CallbackId id, bool ok) {
    if (ok) accepted_.insert(id);
  }
  void heard_registered(const effect::Registered& registered);

  // Every callback whose condition was met was delivered, or listed as failed once its attempts were used up.
  void at_rest(StoreReader& reader, const DeliveryRetries& retries) const;
  // Retention has removed this job: nobody has still to be told of it.
  void trimmed(JobId job);
  [[nodiscard]] std::size_t deliveries() const { return accepted_.size(); }

 private:
  struct Ended {
    JobState state = JobState::kQueued;
    SpecId spec;
  };
  [[nodiscard]] const std::vector<CallbackSpec>& callbacks_of(JobId job) const;
  [[nodiscard]] bool is_due(CallbackId id) const;
  [[nodiscard]] bool is_due(const CallbackRow& row) const;
  [[nodiscard]] bool is_settled(CallbackId id) const;
  [[nodiscard]] bool is_unsure(CallbackId id) const;
  // Those that the end of this job makes due, in the order in which one receiver is told.
  [[nodiscard]] std::vector<CallbackId> in_order(JobId job) const;
  [[nodiscard]] std::uint32_t lane_of(CallbackId id) const;

  std::map<SpecId, std::vector<CallbackSpec>> specs_;
  std::map<JobId, Ended> jobs_;
  std::map<CallbackId, CallbackRow> later_;
  std::map<JobId, std::vector<CallbackId>> before_end_;  // of later_, those that were on disk before the job's end
  std::map<JobId, WholeBatchRow> batches_;
  std::map<CallbackId, DeliveryRow> rows_;
  std::set<JobId> trimmed_;
  std::set<CallbackId> accepted_;  // a receiver has said yes
};

}  // namespace futured::simulation
