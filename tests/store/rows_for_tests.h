// Rows with something in every field, and comparisons that say which field differs.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "daemon/core/rows.h"
#include "daemon/store/store.h"

namespace futured {

[[nodiscard]] SpecRow spec_row(std::uint64_t id, const std::string& queue = "default");
[[nodiscard]] JobRow job_row(std::uint64_t id, std::uint64_t spec = 1, const std::string& payload = "payload");
[[nodiscard]] Ending ending_of(JobState state, std::uint32_t attempt = 1);  // every field set
[[nodiscard]] OutcomeRow outcome_row(std::uint64_t id, JobState state = JobState::kSucceeded);
[[nodiscard]] AttemptRow attempt_row(std::uint64_t id, std::uint32_t attempt, CauseKind kind);
[[nodiscard]] BacklogKey fifo_key(std::uint64_t id, std::uint32_t queue = 1, std::uint32_t pool = 1);

[[nodiscard]] Ending copy_of(const Ending& ending);
[[nodiscard]] std::vector<std::uint64_t> ids_of(const std::vector<StoredJob>& jobs);
[[nodiscard]] std::vector<std::uint64_t> ids_of(const ClaimAnswer& answer);
[[nodiscard]] std::vector<std::uint64_t> ids_of(const JobPage& page);

// Everything of a value as text: equal texts mean equal values, and a failed EXPECT_EQ shows where they part.
[[nodiscard]] std::string text(const Ending& ending);
[[nodiscard]] std::string text(const JobSpec& spec);
[[nodiscard]] std::string text(const SpecRow& row);
[[nodiscard]] std::string text(const QueueRow& row);
[[nodiscard]] std::string text(const PoolRow& row);
[[nodiscard]] std::string text(const CancelRow& row);
[[nodiscard]] std::string text(const LaneBacklog& lane);
[[nodiscard]] std::string text(const ClaimedJob& job);
[[nodiscard]] std::string text(const OutcomeRow& row);
[[nodiscard]] std::string text(const AttemptRow& row);
[[nodiscard]] std::string text(const StoredJob& job);
[[nodiscard]] std::string text(const JobRecord& record);
[[nodiscard]] std::string text(const JobPage& page);
[[nodiscard]] std::string text(const DeliveryRow& row);
[[nodiscard]] std::string text(const DeliveryLane& lane);
[[nodiscard]] std::string text(const CallbackRow& row);
[[nodiscard]] std::string text(const WholeBatchRow& row);
[[nodiscard]] std::string text(const StoredSchedule& schedule);
[[nodiscard]] std::string text(const CallbackRecord& record);
[[nodiscard]] std::string text(const CallbackPage& page);
[[nodiscard]] std::string text(const DeliveryClaimAnswer& answer);
[[nodiscard]] std::string text(const Snapshot& snapshot);
[[nodiscard]] std::string text(const ClaimAnswer& answer);
[[nodiscard]] std::string text(const DelayedAnswer& answer);
[[nodiscard]] std::string text(const LoadAnswer& answer);
[[nodiscard]] std::string text(const std::vector<OutcomeRow>& endings);

}  // namespace futured
