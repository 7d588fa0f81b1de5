// Jobs that ask the same. One of them, the leader, runs; those that come meanwhile follow it and get its outcome; those
// that come later get the one that is kept. What is on disk are the keys of jobs that have not ended and the outcomes
// that are kept: who leads and who follows is decided anew by each daemon.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/limits.h"
#include "base/payload.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

std::string named(JobId job) { return "job " + std::to_string(job.value); }

std::string words_of(const CacheKey& key) {
  if (key.task.empty()) return "this command";
  return "task " + key.task + (key.version.empty() ? "" : " version " + key.version);
}

const std::string& version_of(const SpecState& spec) {
  static const std::string none;
  const std::vector<std::string>& versions = spec.lane->pool->versions;
  const bool has_one = !spec.spec.task.empty() && spec.task && *spec.task < versions.size();
  return has_one ? versions[*spec.task] : none;
}

// An error that the same job would come to again, as far as anybody can know.
bool is_of_the_task(const Cause* cause) {
  if (cause == nullptr) return false;
  return cause->kind == CauseKind::kTaskError || cause->kind == CauseKind::kExitCode ||
         cause->kind == CauseKind::kBadPayload || cause->kind == CauseKind::kResultTooLarge;
}

// Why this end tells nobody else anything.
std::string why_no_answer(JobState state, bool is_of_the_task, const Cause* cause) {
  if (is_of_the_task) return "it failed, and cache_failures is not set";
  if (state == JobState::kCancelled) return "it was cancelled";
  const std::string kind(cause != nullptr && cause->kind != CauseKind::kNone ? " (" : "");
  const std::string told = kind.empty() ? "" : kind + std::string(to_string(cause->kind)) + ")";
  if (state == JobState::kTimedOut) return "it ran out of time" + told;
  return "what ended it came from outside" + told;
}

// Null, or why nobody else can be given this result.
const char* why_not_shared(std::string_view result) {
  const auto parts = decode_parts(result);
  if (!parts.ok()) return nullptr;  // results are checked when they come: whatever it is, it is the same for others
  for (const Part& part : *parts) {
    if (part.kind == PartKind::kSegment) return "a segment of its result lives in memory only";
    if (part.kind != PartKind::kInline) return "a part of its result is lost";
    const bool is_output = part.content_type.starts_with("application/x-futured-");
    if (is_output && part.content_type.find("file=\"") != std::string_view::npos)
      return "its output is a file of the job";
  }
  return nullptr;
}

std::unique_ptr<Cause> cause_for(const Cause* of_the_other, JobId from, std::string note) {
  auto cause = of_the_other != nullptr ? std::make_unique<Cause>(*of_the_other) : std::make_unique<Cause>();
  cause->cached_from = from;
  cause->cache_note = std::move(note);
  return cause;
}

}  // namespace

std::shared_ptr<const CacheKey> Scheduler::cache_key_of(const event::Submit& submit, std::size_t item,
                                                        const SpecState& spec) {
  return std::make_shared<const CacheKey>(
      CacheKey{submit.who.uid, spec.spec.task, version_of(spec), submit.cache_digests[item]});
}

void Scheduler::know_key(const Job& job, std::shared_ptr<const CacheKey> key) {
  caching_.jobs[job.id].key = std::move(key);
}

// Kept in memory alone: a job that was spilled, or outlived its daemon, has lost it.
void Scheduler::know_remark(const Job& job, const event::Submit& submit, std::size_t item) {
  if (item < submit.cache_remarks.size()) caching_.jobs.at(job.id).remark = submit.cache_remarks[item];
}

std::string Scheduler::with_remark(const CachedJob& cached) {
  return cached.remark.empty() ? std::string() : "; " + cached.remark;
}

// A run of an earlier daemon that may go on computes what others are to wait for.
void Scheduler::lead_if_cached(const Job& job) {
  const auto known = caching_.jobs.find(job.id);
  if (known == caching_.jobs.end()) return;
  const auto [leader, leads] = caching_.leaders.try_emplace(*known->second.key, job.id);
  if (!leads) {  // that one was over, which was not on disk: should it come to nothing, this one is next
    caching_.jobs.at(leader->second).followers.push_back(job.id);
    return;
  }
  known->second.role = CacheRole::kLeads;
  known->second.miss = "it ran when the daemon was started";
}

// The outcome that a job with this key and these terms may have. `why_not` is told when there is none.
const ResultCache::Entry* Scheduler::kept_for(const CacheKey& key, const JobSpec& spec, Moment now,
                                              std::string* why_not) const {
  const auto none = [&](const std::string& why) -> const ResultCache::Entry* {
    if (why_not != nullptr) *why_not = why;
    return nullptr;
  };
  const ResultCache::Entry* const entry = cache_.find(key);
  if (entry == nullptr) return none("no entry for " + words_of(key) + " with this key");
  const CacheEntryRow& row = entry->row;
  if (row.expires_at.us != 0 && row.expires_at <= now.wall)
    return none("the outcome of " + named(row.job) + " expired");
  if (spec.cache.ttl.count() > 0 && row.created_at + spec.cache.ttl <= now.wall) {
    return none("the outcome of " + named(row.job) + " is older than the ttl of this job");
  }
  if (row.state != JobState::kSucceeded && !spec.cache.failures) {
    return none(named(row.job) + " failed, and cache_failures is not set");
  }
  return entry;
}

// Not: it is nowhere, until it is put somewhere.
void Scheduler::set_following(Job& job, bool follows) {
  job.phase = follows ? Phase::kFollowing : Phase::kDelayed;
  follows ? ++job.lane->following_jobs : --job.lane->following_jobs;
}

// Where a job goes that may start: to its outcome, behind the job that computes it, or to its lane.
void Scheduler::admit(Job& job, Moment now) {
  if (job.spec->spec.cache.enabled && finds_outcome(job, now)) return;
  make_ready(job);
}

bool Scheduler::finds_outcome(Job& job, Moment now) {
  const auto known = caching_.jobs.find(job.id);
  if (known == caching_.jobs.end()) return false;  // a retry, or the job of a task: it is to run
  CachedJob& cached = known->second;
  if (cached.role == CacheRole::kLeads) return false;
  if (const ResultCache::Entry* const entry = kept_for(*cached.key, job.spec->spec, now, &cached.miss)) {
    const JobId from = entry->row.job;
    cached.role = CacheRole::kAwaitsKept;
    set_following(job, true);
    if (entry->hot) {
      caching_.answers.push_back({job.id, from, entry->hot, /*is_joined=*/false});
    } else {
      caching_.kept_wanted[from].push_back(job.id);
    }
    return true;
  }
  const auto [leader, leads] = caching_.leaders.try_emplace(*cached.key, job.id);
  if (leads) {
    cached.role = CacheRole::kLeads;
    cache_.count_miss();
    return false;
  }
  Job& first = *jobs_.find(leader->second);
  if (window_bytes_ >= window_bytes_max_) {
    cached.miss = "too many jobs wait in memory for it to wait there for " + named(first.id);
    return false;
  }
  if (!waits_.empty() && !wait_path({first.id}, job.id).empty()) {
    cached.miss = named(first.id) + " computes the same, and waits for this one";
    return false;
  }
  // Nobody waits behind a queue that is paused but those who are in it.
  if (first.phase == Phase::kReady && first.lane->queue->is_halted() && !job.lane->queue->is_halted()) {
    CachedJob& halted = caching_.jobs.at(first.id);
    cached.role = CacheRole::kLeads;
    cached.followers = std::exchange(halted.followers, {});
    cached.followers.push_back(first.id);
    halted.role = CacheRole::kFollows;
    unready(first);
    set_following(first, true);
    leader->second = job.id;
    cache_.count_miss();
    return false;
  }
  cached.role = CacheRole::kFollows;
  set_following(job, true);
  caching_.jobs.at(leader->second).followers.push_back(job.id);
  return true;
}

// Before anything is said of its end: `end` may still get a note. Nobody is started or ended here, for the caller may
// be going through a lane; the turn does that when it ends.
void Scheduler::cached_job_ended(const Job& job, End& end, Moment now, Effects& effects) {
  if (caching_.unsaved.erase(job.id) == 0) effects.rows.cache_keys_removed.push_back(job.id);
  auto node = caching_.jobs.extract(job.id);
  if (node.empty()) return;
  CachedJob& cached = node.mapped();
  if (cached.role == CacheRole::kFollows || cached.role == CacheRole::kAwaitsKept) return;
  const CacheKey& key = *cached.key;
  const CacheTerms& terms = job.spec->spec.cache;
  const auto hand_on = [&]() -> std::string {
    if (!cached.is_cleared) caching_.leaders.erase(key);
    const bool is_failure = end.state == JobState::kFailed && is_of_the_task(end.cause.get());
    const bool is_answer = end.state == JobState::kSucceeded || (is_failure && terms.failures);
    const char* const not_shared = is_answer ? why_not_shared(end.result) : nullptr;
    if (!is_answer || not_shared != nullptr) {
      if (!cached.followers.empty()) caching_.orphans.push_back(std::move(cached.followers));
      return "not kept: " +
             (is_answer ? std::string(not_shared) : why_no_answer(end.state, is_failure, end.cause.get()));
    }
    const auto outcome = std::make_shared<const CachedOutcome>(CachedOutcome{
        end.state, end.cause ? std::make_shared<const Cause>(*end.cause) : nullptr, std::string(end.result)});
    if (cached.is_cleared) return "not kept: it was cleared meanwhile";
    for (const JobId follower : cached.followers) {
      caching_.answers.push_back({follower, job.id, outcome, /*is_joined=*/true});
    }
    return keep_outcome(job, key, outcome, now, effects);
  };
  const std::string note = cached.role == CacheRole::kLeads ? hand_on() : std::string();
  if (!terms.explain || cached.miss.empty()) return;
  if (!end.cause) end.cause = std::make_unique<Cause>();
  end.cause->cache_note = "miss: " + cached.miss + (note.empty() ? "" : "; " + note) + with_remark(cached);
}

// Empty, or why it is not kept.
std::string Scheduler::keep_outcome(const Job& job, const CacheKey& key,
                                    const std::shared_ptr<const CachedOutcome>& outcome, Moment now, Effects&) {
  // What ran is what the pool has now, or had before a reload: the key names what it had when the job came.
  if (key.version != version_of(*job.spec)) return "not kept: the task was reloaded meanwhile";
  const std::uint64_t bytes = limits::kCacheEntryBytes + key.task.size() + key.version.size() + outcome->result.size() +
                              (outcome->cause ? outcome->cause->message.size() : 0);
  if (const char* const why = cache_.refuses(bytes)) return std::string("not kept: ") + why;
  const Duration ttl = job.spec->spec.cache.ttl;
  CacheEntryRow row{job.id, key, outcome->state, bytes, 0, now.wall, {}, now.wall};
  if (ttl.count() > 0) row.expires_at = now.wall + ttl;
  row.name = job.spec->spec.cache.key;
  cache_.add(std::move(row), outcome);
  return {};
}

// It leaves memory, ended or not. In the backlog it computes nothing for anybody.
void Scheduler::forget_cached_job(const Job& job) {
  auto node = caching_.jobs.extract(job.id);
  if (node.empty() || node.mapped().role != CacheRole::kLeads) return;
  if (!node.mapped().is_cleared) caching_.leaders.erase(*node.mapped().key);
  if (!node.mapped().followers.empty()) caching_.orphans.push_back(std::move(node.mapped().followers));
}

void Scheduler::tend_cache(Moment now, Effects& effects) {
  for (std::deque<JobId>& orphans : std::exchange(caching_.orphans, {})) lead_orphans(std::move(orphans), now);
  if (!caching_.answers.empty()) answer_followers(now, effects);
  if (!caching_.kept_wanted.empty()) ask_for_outcomes(effects);
  for (auto& [job, key] : std::exchange(caching_.unsaved, {})) {
    effects.rows.cache_keys_added.push_back({job, std::move(key)});
  }
  const bool goes_on = cache_.step(now.wall, effects);
  // What an end has just made of its followers is for the next turn, too.
  if (goes_on || !caching_.answers.empty() || !caching_.orphans.empty()) {
    timers_.add({now.at, TimerKind::kCache, 0, 0});
  }
}

// The first of them that is still there runs, and the others follow it.
void Scheduler::lead_orphans(std::deque<JobId> orphans, Moment now) {
  while (!orphans.empty()) {
    Job* const job = jobs_.find(orphans.front());
    orphans.pop_front();
    const auto known = job != nullptr ? caching_.jobs.find(job->id) : caching_.jobs.end();
    if (known == caching_.jobs.end()) continue;
    CachedJob& cached = known->second;
    // It runs already, as an earlier daemon had it; or its worker died, and it is to run again.
    const bool runs = job->slot.is_set() || (job->phase == Phase::kReady && cached.role == CacheRole::kNone);
    if (job->phase != Phase::kFollowing && !runs) continue;
    if (runs) {
      if (cached.role == CacheRole::kNone) lead_if_cached(*job);
    } else if (cached.role == CacheRole::kFollows) {
      cached.role = CacheRole::kNone;
      set_following(*job, false);
      admit(*job, now);
    } else {
      continue;
    }
    if (cached.role == CacheRole::kLeads && cached.followers.empty()) {
      cached.followers = std::move(orphans);
      return;
    }
  }
}

void Scheduler::answer_followers(Moment now, Effects& effects) {
  std::size_t bytes = 0;
  for (std::size_t count = 0; count < limits::kCacheAnswersMax && bytes < limits::kCacheAnswerBytesMax; ++count) {
    if (caching_.answers.empty()) return;
    const CachedAnswer answer = std::move(caching_.answers.front());
    caching_.answers.pop_front();
    Job* const job = jobs_.find(answer.job);
    if (job == nullptr || job->phase != Phase::kFollowing) continue;  // it has ended, or left, since
    const CacheTerms& terms = job->spec->spec.cache;
    if (answer.outcome->state != JobState::kSucceeded && !terms.failures) {
      // It takes no failure of others: it is to come to its own.
      caching_.jobs.at(job->id).role = CacheRole::kNone;
      set_following(*job, false);
      admit(*job, now);
      continue;
    }
    if (answer.is_joined) {
      cache_.count_joined();
    } else {
      cache_.use(answer.from, now.wall);
    }
    bytes += answer.outcome->result.size();
    // Told to whoever looks, asked for or not: that it did not run is half of what there is to know.
    const std::string note =
        (answer.is_joined ? "joined: " : "hit: ") + named(answer.from) + with_remark(caching_.jobs.at(job->id));
    end(*job,
        {answer.outcome->state,
         cause_for(answer.outcome->cause.get(), answer.from, note),
         answer.outcome->result,
         {{}, {}, now.at}},
        now, effects);
  }
}

// Those that are not in memory, a bounded number of bytes at a time.
void Scheduler::ask_for_outcomes(Effects& effects) {
  if (!caching_.kept_asked.empty()) return;
  std::uint64_t bytes = 0;
  for (const auto& [entry, jobs] : caching_.kept_wanted) {
    const ResultCache::Entry* const kept = cache_.find(entry);
    bytes += kept != nullptr ? kept->row.bytes : 0;
    if (!caching_.kept_asked.empty() && bytes > limits::kCacheAnswerBytesMax) break;
    caching_.kept_asked.push_back(entry);
  }
  effects.cache_reads = caching_.kept_asked;
}

void Scheduler::on(const event::CacheRead& read, Moment now, Effects&) {
  caching_.kept_asked.clear();
  for (std::size_t i = 0; i < read.asked.size(); ++i) {
    const JobId entry = read.asked[i];
    const auto wanted = caching_.kept_wanted.extract(entry);
    if (wanted.empty()) continue;
    const std::shared_ptr<const CachedOutcome>& outcome = read.answer[i];
    if (outcome != nullptr) {
      cache_.keep_hot(entry, outcome);
    } else {
      cache_.remove(entry);
    }
    for (const JobId id : wanted.mapped()) {
      if (outcome != nullptr) {
        caching_.answers.push_back({id, entry, outcome, /*is_joined=*/false});
        continue;
      }
      Job* const job = jobs_.find(id);
      if (job == nullptr || job->phase != Phase::kFollowing) continue;
      caching_.jobs.at(id).role = CacheRole::kNone;
      set_following(*job, false);
      admit(*job, now);
    }
  }
}

// What is computed just now from what was before is not kept either, and who waits for it is to run.
void Scheduler::on(const event::ClearCache& clear, Moment, Effects& effects) {
  const bool every_user = clear.who.uid == 0 || clear.who.uid == setup_.admin_uid;
  cache_.clear(clear, every_user);
  for (auto& [id, cached] : caching_.jobs) {
    const CacheKey& key = *cached.key;
    const bool is_meant = !clear.entry.is_set() && clear.means(key, every_user);
    const Job* const job = jobs_.find(id);
    const bool has_begun = cached.role == CacheRole::kLeads && job->phase != Phase::kReady && !moving_.contains(id);
    if (!is_meant || !has_begun || cached.is_cleared) continue;
    cached.is_cleared = true;
    caching_.leaders.erase(key);
    if (!cached.followers.empty()) caching_.orphans.push_back(std::exchange(cached.followers, {}));
    if (caching_.unsaved.erase(id) == 0) effects.rows.cache_keys_removed.push_back(id);
  }
  std::ranges::sort(effects.rows.cache_keys_removed);
}

// Whose outcome it waits for; unset: it follows nobody.
JobId Scheduler::leader_of(JobId id) const {
  const auto known = caching_.jobs.find(id);
  if (known == caching_.jobs.end() || known->second.role != CacheRole::kFollows) return {};
  const auto leader = caching_.leaders.find(*known->second.key);
  return leader != caching_.leaders.end() ? leader->second : JobId{};
}

bool Scheduler::is_followed(JobId id) const {
  const auto known = caching_.jobs.find(id);
  return known != caching_.jobs.end() && !known->second.followers.empty();
}

// It is to wait for others before it may run.
void Scheduler::lead_no_more(const Job& job) {
  const auto known = caching_.jobs.find(job.id);
  if (known == caching_.jobs.end() || known->second.role != CacheRole::kLeads) return;
  CachedJob& cached = known->second;
  if (!cached.is_cleared) caching_.leaders.erase(*cached.key);
  cached.role = CacheRole::kNone;
  if (!cached.followers.empty()) caching_.orphans.push_back(std::exchange(cached.followers, {}));
}

std::string Scheduler::awaits(JobId id) const {
  const auto known = caching_.jobs.find(id);
  if (known == caching_.jobs.end()) return {};
  const Job* const job = jobs_.find(id);
  if (job == nullptr || job->phase != Phase::kFollowing) return {};
  if (known->second.role == CacheRole::kAwaitsKept) return "gets the outcome that is kept of another job";
  const JobId leader = leader_of(id);
  if (!leader.is_set()) return "waits for another job, which computes the same";
  return "waits for " + named(leader) + ", which computes the same; fut show " + std::to_string(leader.value) +
         " tells how far it is";
}

void Scheduler::audit_cache() const {
  cache_.audit();
  jobs_.for_each([&](const Job& job) {
    const auto known = caching_.jobs.find(job.id);
    if (job.phase != Phase::kFollowing) return;
    FUTURED_CHECK(known != caching_.jobs.end(), "who follows has a key");
    FUTURED_CHECK(known->second.role == CacheRole::kFollows || known->second.role == CacheRole::kAwaitsKept,
                  "who follows waits for somebody");
  });
  std::size_t leaders = 0;
  for (const auto& [id, cached] : caching_.jobs) {
    FUTURED_CHECK(jobs_.find(id) != nullptr, "a job that is cached is resident");
    if (cached.role != CacheRole::kLeads) {
      FUTURED_CHECK(cached.followers.empty(), "only who leads is followed");
      continue;
    }
    if (cached.is_cleared) {
      FUTURED_CHECK(cached.followers.empty(), "nobody follows what was cleared");
      continue;
    }
    ++leaders;
    const auto leader = caching_.leaders.find(*cached.key);
    FUTURED_CHECK(leader != caching_.leaders.end() && leader->second == id, "a leader is known by its key");
  }
  FUTURED_CHECK(leaders == caching_.leaders.size(), "every key that is computed has one leader");
}

}  // namespace futured
