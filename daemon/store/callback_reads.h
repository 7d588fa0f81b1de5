// What people and the courier ask about callbacks, put together from single rows: the same for every store.
#pragma once

#include <optional>
#include <vector>

#include "daemon/store/store.h"

namespace futured {

// Rows as a store has them. All that is asked for one answer sees one state.
class CallbackTables {
 public:
  virtual ~CallbackTables() = default;
  // Without payload and attempts.
  [[nodiscard]] virtual Result<std::optional<JobRecord>> job_row(JobId id, bool with_result) = 0;
  [[nodiscard]] virtual Result<std::optional<DeliveryRow>> delivery_row(CallbackId id) = 0;
  [[nodiscard]] virtual Result<std::optional<CallbackRow>> callback_row(CallbackId id) = 0;
  // The callbacks of this job that were registered later, ascending.
  [[nodiscard]] virtual Result<std::vector<CallbackId>> later_callbacks(JobId job, std::uint64_t after,
                                                                        std::uint32_t rows_max) = 0;
  [[nodiscard]] virtual Result<std::vector<DeliveryRow>> delivery_rows(std::uint64_t after, std::uint32_t rows_max,
                                                                       bool failed_only) = 0;
  // Of these jobs, how many did not succeed.
  [[nodiscard]] virtual Result<std::uint32_t> not_succeeded(JobId first, std::uint32_t count) = 0;
  // The watched batch that the job is in.
  [[nodiscard]] virtual Result<std::optional<WholeBatchRow>> batch_of(JobId job) = 0;
};

[[nodiscard]] Result<std::optional<CallbackRecord>> read_callback_record(CallbackTables& tables, CallbackId id);
[[nodiscard]] Result<std::optional<DeliveryRecord>> read_delivery_record(CallbackTables& tables, CallbackId id);
[[nodiscard]] Result<CallbackPage> read_callback_page(CallbackTables& tables, const CallbackQuery& query);

}  // namespace futured
