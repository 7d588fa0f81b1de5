// Job: what the scheduler keeps of one resident job, and the lists and table that hold it.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "base/check.h"
#include "daemon/core/types.h"

namespace futured {

struct Lane;
struct SpecState;

// Where a resident job is. Exactly one of the scheduler's structures holds it, named here.
enum class Phase : std::uint8_t {
  kFree,       // not a job
  kReady,      // in its lane's order
  kDelayed,    // in the timers, until its next attempt
  kBlocked,    // waits for its dependencies (dependencies.h)
  kOffered,    // among its slot's offers; the worker may have taken it
  kTaken,      // the same, and known to be taken
  kFollowing,  // waits for the outcome of another job, or for one that is kept (caching.cc)
};

// A decision to end the job that waits until its attempt is out of the way.
enum class Doom : std::uint8_t {
  kNone,
  kCancel,
  kQueueTimeout,
  kSoftTimeout,
  kRunTimeout,
  kHeartbeatTimeout,
  kTotalTimeout,
};

// Ends the attempt and not the job, which goes on if it has attempts left.
[[nodiscard]] constexpr bool is_of_attempt(Doom doom) {
  return doom == Doom::kSoftTimeout || doom == Doom::kRunTimeout || doom == Doom::kHeartbeatTimeout;
}

struct Job {
  JobId id;
  SpecState* spec = nullptr;
  Lane* lane = nullptr;
  SharedBytes payload;
  Job* previous = nullptr;  // neighbours in the lane's list or the slot's offers
  Job* next = nullptr;
  Job* group_previous = nullptr;  // neighbours in its group (groups.h), while it is ready
  Job* group_next = nullptr;
  WallTime submitted_at;
  WallTime start_at;  // not before; 0: none was asked for
  Instant taken_at;   // kTaken
  std::uint32_t owner = 0;
  std::uint32_t attempt = 0;  // number of the current attempt, or of the last one
  Epoch epoch;                // of the current attempt's offer
  SlotId slot;                // kOffered, kTaken
  Phase phase = Phase::kFree;
  Doom doom = Doom::kNone;
  std::uint8_t crashes = 0;  // attempts charged to crashes_max
  std::uint8_t spared = 0;   // attempts charged to nothing
  std::uint8_t depth = 0;    // Lineage::depth
  Instant doomed_at;
  Instant kill_at;                     // of a doomed attempt that is to stop
  std::uint32_t timers = 0;            // entries in the timer heap that may still mean this job
  std::uint64_t memory_bytes_max = 0;  // of the current attempt, or of the next one; 0: its pool's
  bool in_backlog = false;             // has a row in the store's backlog
  bool counted = false;                // that row is still counted in Lane::backlog_jobs
  bool in_delayed = false;             // has a row among the store's delayed jobs: it is resident only to end
  bool waits = false;                  // kTaken: its task waits for other jobs
  bool lends = false;            // meanwhile its slot, and its place under the limits of its queue, are not counted
  bool lends_permits = false;    // nor are its permits of semaphores
  std::int32_t taken_bytes = 0;  // of its payload, so many came from results of other jobs, less what named them

  // Attempts charged to max_attempts, the current one included.
  [[nodiscard]] std::uint32_t failures() const {
    const std::uint32_t others = std::uint32_t{crashes} + spared;
    return attempt - (others < attempt ? others : attempt);
  }
  // Of its payload as it was submitted.
  [[nodiscard]] std::uint64_t own_bytes() const {
    return static_cast<std::uint64_t>(std::int64_t{payload.size} - taken_bytes);
  }
  // What its queue_timeout counts from.
  [[nodiscard]] WallTime waits_since() const { return submitted_at < start_at ? start_at : submitted_at; }
  [[nodiscard]] Fence fence() const { return {id, epoch, attempt}; }
  [[nodiscard]] std::size_t cost() const { return sizeof(Job) + payload.size; }
};

// A doubly linked list through the jobs themselves.
class JobList {
 public:
  [[nodiscard]] bool empty() const { return first_ == nullptr; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] Job* front() const { return first_; }
  [[nodiscard]] Job* back() const { return last_; }

  void push_back(Job& job) { insert_after(job, last_); }
  // Puts `job` behind `place`; at the front when `place` is null.
  void insert_after(Job& job, Job* place) {
    job.previous = place;
    job.next = place != nullptr ? place->next : first_;
    (place != nullptr ? place->next : first_) = &job;
    (job.next != nullptr ? job.next->previous : last_) = &job;
    ++size_;
  }
  void remove(Job& job) {
    (job.previous != nullptr ? job.previous->next : first_) = job.next;
    (job.next != nullptr ? job.next->previous : last_) = job.previous;
    job.previous = job.next = nullptr;
    --size_;
  }

 private:
  Job* first_ = nullptr;
  Job* last_ = nullptr;
  std::size_t size_ = 0;
};

// Resident jobs by id. Ids are handed out in order, so neighbours share a page and a lookup is mostly one compare.
class JobTable {
 public:
  [[nodiscard]] std::size_t size() const { return size_; }

  [[nodiscard]] Job* find(JobId id) {
    Page* const page = page_of(id);
    if (page == nullptr) return nullptr;
    Job& job = page->jobs[id.value % kPageJobs];
    return job.phase == Phase::kFree ? nullptr : &job;
  }
  [[nodiscard]] const Job* find(JobId id) const {
    const auto found = pages_.find(id.value / kPageJobs);
    if (found == pages_.end()) return nullptr;
    const Job& job = found->second->jobs[id.value % kPageJobs];
    return job.phase == Phase::kFree ? nullptr : &job;
  }
  // The caller sets phase to something else than kFree before the next call.
  Job& add(JobId id) {
    Page* page = page_of(id);
    if (page == nullptr) {
      page = (pages_[id.value / kPageJobs] = std::make_unique<Page>()).get();
      last_number_ = id.value / kPageJobs;
      last_ = page;
    }
    Job& job = page->jobs[id.value % kPageJobs];
    FUTURED_CHECK(job.phase == Phase::kFree, "a job is added once");
    job.id = id;
    ++page->used;
    ++size_;
    return job;
  }
  void remove(Job& job) {
    const std::uint64_t number = job.id.value / kPageJobs;
    Page* const page = page_of(job.id);
    job = Job{};
    --size_;
    if (--page->used > 0) return;
    if (last_ == page) last_ = nullptr;
    pages_.erase(number);
  }
  template <typename Visit>
  void for_each(Visit visit) const {
    for (const auto& [number, page] : pages_) {
      for (const Job& job : page->jobs) {
        if (job.phase != Phase::kFree) visit(job);
      }
    }
  }

 private:
  static constexpr std::size_t kPageJobs = 64;
  struct Page {
    std::array<Job, kPageJobs> jobs;
    std::size_t used = 0;
  };

  Page* page_of(JobId id) {
    const std::uint64_t number = id.value / kPageJobs;
    if (last_ != nullptr && last_number_ == number) return last_;
    const auto found = pages_.find(number);
    if (found == pages_.end()) return nullptr;
    last_number_ = number;
    return last_ = found->second.get();
  }

  std::unordered_map<std::uint64_t, std::unique_ptr<Page>> pages_;
  Page* last_ = nullptr;
  std::uint64_t last_number_ = 0;
  std::size_t size_ = 0;
};

}  // namespace futured
