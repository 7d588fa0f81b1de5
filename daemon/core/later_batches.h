// LaterBatches: callbacks for a whole batch that were registered after its submit.
//
// How far such a batch is lies nowhere on disk: a registration, like a new daemon, asks the store which of its jobs
// have ended, and what ends meanwhile is marked here.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "daemon/core/callbacks.h"
#include "daemon/core/effects.h"
#include "daemon/core/event.h"
#include "daemon/core/rows.h"

namespace futured {

struct LaterBatch {
  BatchQuery query;
  CallbackTerms terms;
  std::optional<event::Register> asked;  // until the store has answered
  CallbackId id;                         // from then on
  bool counted = false;                  // the store has answered
  std::vector<bool> ended;               // by place
  std::uint32_t open = 0;                // jobs that are not marked
  std::uint32_t failed = 0;

  // Whoever says so first.
  void mark(JobId job, bool succeeded);
  void take(const BatchAnswer& answer);
  [[nodiscard]] bool is_over() const { return counted && open == 0; }
  // Why what was asked for cannot be; `answer` is the store's.
  [[nodiscard]] Status check(const BatchAnswer& answer, std::uint32_t admin_uid) const;
};

class LaterBatches {
 public:
  [[nodiscard]] std::size_t size() const { return by_number_.size(); }

  void ask(const event::Register& asked, Effects& effects);
  // One that is on disk; asked about with ask_anew().
  void take_up(const CallbackRow& row, const CallbackTerms& terms);
  void ask_anew(Effects& effects) const;

  [[nodiscard]] LaterBatch* find(std::uint64_t number);
  void drop(std::uint64_t number);
  // Marks the job's end. Numbers of the batches that are over with it, oldest first.
  [[nodiscard]] std::vector<std::uint64_t> ended(JobId job, bool succeeded);

 private:
  LaterBatch& add(JobId first, std::uint32_t count, const CallbackTerms& terms);

  std::map<std::uint64_t, LaterBatch> by_number_;
  std::multimap<JobId, std::uint64_t> by_first_;
  std::uint64_t next_number_ = 1;
};

}  // namespace futured
