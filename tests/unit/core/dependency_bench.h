// A stage for jobs that wait for others, with the words of their tests.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/payload.h"
#include "tests/unit/core/stage.h"

namespace futured::dependency_bench {

inline constexpr auto kEnded = DependencyCondition::kEnded;
inline constexpr auto kSucceeded = DependencyCondition::kSucceeded;
inline constexpr auto kNotSucceeded = DependencyCondition::kNotSucceeded;

// A stage with many slots, whose questions about jobs that are not resident are answered from the rows of its history.
class Bench : public Stage {
 public:
  explicit Bench(StageSetup setup = {.pools = {{"default", false, 8}}}) : Stage(std::move(setup)) {}

  static event::AskedDependency on(std::uint64_t job, DependencyCondition condition = kEnded) {
    return {{JobId{job}, {}, condition}, std::nullopt};
  }
  static event::AskedDependency on_batch(std::uint64_t first, DependencyCondition condition = kEnded) {
    return {{JobId{first}, {}, condition}, std::nullopt, /*is_of_batch=*/true};
  }
  static event::AskedDependency any_of(event::AskedDependency asked, std::uint32_t group = 1) {
    asked.on.any_of = group;
    return asked;
  }
  // A job whose payload is the result of that one.
  Event taker_of(std::uint64_t job, const JobSpec& spec = work()) {
    Event event = submit(spec);
    auto& asked = std::get<event::Submit>(event);
    std::string payload;
    append_part(payload, {.kind = PartKind::kResult, .result_of = JobId{job}});
    asked.ends = {static_cast<std::uint32_t>(payload.size())};
    asked.bytes = std::make_shared<const std::string>(std::move(payload));
    event::AskedDependency taken = on(job, kSucceeded);
    taken.on.takes_result = true;
    asked.item_dependencies = {{0U, taken}};
    return event;
  }
  // What the store answers to "load": the job as it was submitted, with `payload` in the place of what it names.
  Event loaded(std::uint64_t job, std::string payload, std::string unfit = {}) const {
    event::Loaded answer{{JobId{job}}, {}, false};
    for (const Effects& turn : history) {
      for (const SpecRow& row : turn.rows.specs) answer.answer.specs.push_back(row);
      const auto row = std::ranges::find(turn.rows.jobs, JobId{job}, &JobRow::id);
      if (row == turn.rows.jobs.end()) continue;
      StoredJob stored{.id = row->id, .spec = row->spec, .owner = row->owner, .submitted_at = row->submitted_at};
      stored.own_bytes = row->payload.size;
      stored.payload = unfit.empty() ? SharedBytes::of(std::move(payload)) : row->payload;
      stored.unfit = std::move(unfit);
      answer.answer.jobs.push_back(std::move(stored));
    }
    return answer;
  }
  static event::AskedDependency on_event(const std::string& name) { return {{{}, name, kEnded}, std::nullopt}; }
  static event::AskedDependency on_item(std::uint32_t item, DependencyCondition condition = kEnded) {
    return {{{}, {}, condition}, item};
  }
  Event after(std::vector<event::AskedDependency> dependencies, std::uint32_t count = 1, const JobSpec& spec = work()) {
    Event event = submit(spec, count);
    std::get<event::Submit>(event).dependencies = std::move(dependencies);
    return event;
  }
  Event dag(std::uint32_t count, std::vector<std::pair<std::uint32_t, event::AskedDependency>> dependencies) {
    Event event = submit(work(), count);
    std::get<event::Submit>(event).item_dependencies = std::move(dependencies);
    return event;
  }
  Event put(const std::string& name, bool is_set = true) { return event::PutEvent{++token, name, is_set}; }
  Event answer(const BatchQuery& query) const {
    event::BatchRead read{{query, {}}};
    read.answer.batch = query.count != 0 ? BatchRow{query.first, query.count} : batch_of(query.first);
    const BatchRow& asked = read.answer.batch;
    for (std::uint64_t id = asked.first.value; id < asked.first.value + asked.count; ++id) {
      const bool is_known = std::ranges::any_of(history, [&](const Effects& turn) {
        return std::ranges::any_of(turn.rows.jobs, [&](const JobRow& row) { return row.id.value == id; });
      });
      if (!is_known) continue;
      const Ending* const end = ending(id);
      read.answer.jobs.push_back({JobId{id}, 1000, end != nullptr ? end->state : JobState::kQueued});
    }
    return read;
  }
  // As the rows of the history have it.
  BatchRow batch_of(JobId job) const {
    for (const Effects& turn : history) {
      for (const BatchRow& row : turn.rows.batches) {
        if (job >= row.first && job.value < row.first.value + row.count) return row;
      }
      if (std::ranges::find(turn.rows.jobs, job, &JobRow::id) != turn.rows.jobs.end()) return {job, 1};
    }
    return {job, 0};
  }
  // Answers what the last turn asked.
  Lines read() {
    std::vector<Event> events;
    for (const BatchQuery& query : history.back().batch_queries) events.push_back(answer(query));
    return turn(std::move(events));
  }
  JobState state(std::uint64_t job) const {
    if (const Ending* const end = ending(job)) return end->state;
    const auto live = scheduler->live(JobId{job});
    return live ? live->state : JobState::kQueued;
  }
  Lines turn_audited(std::vector<Event> events = {}) {
    Lines lines = turn(std::move(events));
    scheduler->audit();
    return lines;
  }
  std::string cause(std::uint64_t job) const { return ending(job)->cause->message; }
};

}  // namespace futured::dependency_bench
