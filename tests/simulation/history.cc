#include "tests/simulation/history.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/limits.h"
#include "base/payload.h"
#include "tests/simulation/daemon.h"

namespace futured::simulation {

namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint32_t kBatchMax = 160;
constexpr std::uint64_t kPayloadMax = 300;
constexpr std::size_t kQueues = 4;
constexpr std::array kSemaphores{"gpu", "license"};
constexpr std::array kEvents{"go", "data"};
const char* const kQueueNames[kQueues] = {"default", "stack", "urgent", "side"};

// How this history goes: each kind of trouble is in some histories and not in others, so that none hides another.
struct Temper {
  std::uint64_t steps = 0;
  std::uint64_t deaf = 0;  // per mille of deliveries
  std::uint64_t submit = 0, callback = 0, cancel = 0, pause = 0, clock = 0, rollback = 0, kill = 0,
                crash = 0;  // per mille
  bool wall_jumps = false;
  std::uint64_t delay = 0;  // per mille of submits
  std::uint64_t schedule = 0;
  bool slow_disk = false;
  std::uint64_t trim = 0;  // per mille of commits
  std::uint32_t batch_max = kBatchMax;
};

class History {
 public:
  explicit History(const HistoryOptions& options);
  HistoryFigures run();

 private:
  void draw_pools();
  void draw_specs();
  void start_daemon();
  void act();
  void submit();
  void add_keys(event::Submit& submit);
  [[nodiscard]] std::string open_ends() const;
  void cancel();
  void register_callback();
  [[nodiscard]] CallbackSpec draw_callback();
  void put_queue();
  void put_schedule();
  void purge_queue();
  void move_jobs();
  void set_ageing();
  void clear_cache();
  [[nodiscard]] QueueOptions draw_limits();
  void put_semaphore(const std::string& name, std::uint32_t permits);
  void put_event(const std::string& name, bool is_set);
  event::AskedDependency draw_dependency();
  void add_dependencies(event::Submit& submit);
  static void name_results(event::Submit& submit);
  void pass_time();
  void end_daemon(bool whole_machine);
  void come_to_rest();
  void trim_all();
  void move_clock(Duration by);
  template <typename... Parts>
  void say(const char* format, Parts... parts) const {
    if (options_.verbose) std::printf(format, parts...);
  }

  HistoryOptions options_;
  Random random_;
  Temper temper_;
  WorkerFaults faults_;
  SchedulerSetup setup_;
  std::vector<std::vector<std::string>> tasks_;
  std::vector<JobSpec> specs_;
  std::map<std::string, event::Submit> keyed_;  // what each key of a whole batch was first used for
  std::unique_ptr<Store> store_ = make_memory_store();
  Oracle oracle_;
  Receivers receivers_;
  static constexpr DeliveryRetries kRetries{3, std::chrono::milliseconds(10), 2, std::chrono::seconds(1), 0.2};
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<Daemon> daemon_;
  Moment now_{{1'000'000'000}, {1'700'000'000'000'000}};
  Token token_ = 0;
  HistoryFigures figures_;
  std::optional<RetentionPolicy> retention_;
};

History::History(const HistoryOptions& options) : options_(options), random_(options.seed) {
  const auto maybe = [&](std::uint64_t per_mille, std::int64_t least, std::int64_t most) {
    return random_.chance(per_mille) ? static_cast<std::uint64_t>(random_.between(least, most)) : 0;
  };
  temper_.steps = static_cast<std::uint64_t>(random_.between(100, 1200));
  temper_.submit = maybe(1000, 5, 60);
  temper_.cancel = maybe(600, 5, 80);
  temper_.callback = maybe(400, 5, 40);
  temper_.deaf = maybe(600, 50, 900);
  temper_.pause = maybe(400, 2, 20);
  temper_.clock = maybe(1000, 50, 300);
  temper_.rollback = maybe(300, 20, 300);
  temper_.kill = maybe(600, 1, 15);
  temper_.crash = maybe(300, 1, 6);
  temper_.wall_jumps = random_.chance(200);
  temper_.slow_disk = random_.chance(300);
  temper_.delay = maybe(500, 20, 700);
  temper_.schedule = maybe(400, 5, 40);
  temper_.trim = maybe(500, 20, 1000);
  if (temper_.trim != 0) {
    retention_ = {random_.duration(milliseconds(1), seconds(3)), random_.duration(milliseconds(1), seconds(10)), 0, 0};
    if (random_.chance(300)) retention_->jobs_max = static_cast<std::uint64_t>(random_.between(1, 500));
  }
  setup_.zones = {{"", std::make_shared<const Zone>()}};
  oracle_.clock_is_steady(!temper_.wall_jumps);
  temper_.batch_max = random_.chance(500) ? kBatchMax : 5;
  faults_.fail_per_mille = maybe(700, 10, 400);
  faults_.crash_per_mille = maybe(500, 5, 200);
  faults_.hang_per_mille = maybe(400, 5, 60);
  faults_.deaf_per_mille = maybe(500, 50, 1000);
  faults_.silent_per_mille = maybe(500, 5, 300);
  faults_.long_per_mille = maybe(400, 5, 50);
  faults_.hungry_per_mille = maybe(500, 10, 400);
  faults_.idle_crash_per_mille = maybe(300, 1, 10);
  faults_.ring_records = static_cast<std::size_t>(random_.chance(300) ? random_.between(1, 8) : 64);
  faults_.wait_per_mille = maybe(500, 20, 700);
  draw_pools();
  draw_specs();
  std::vector<std::size_t> runs_at_once;  // of each slot
  for (PoolSetup& pool : setup_.pools) {
    if (!pool.commands && random_.chance(300)) pool.runs_per_slot = static_cast<std::uint32_t>(random_.between(2, 8));
    if (pool.runs_per_slot > 1) pool.memory_bytes_max = 0;  // a limit is of one job at a time
    runs_at_once.insert(runs_at_once.end(), pool.slots, pool.runs_per_slot);
    oracle_.pool_memory(pool.name, pool.memory_bytes_max);
    if (!pool.commands) pool.spare_slots = static_cast<std::uint32_t>(random_.between(0, 6));
    if (random_.chance(500)) continue;
    pool.workers_min = static_cast<std::uint32_t>(random_.below(pool.slots + 1));
    pool.idle = random_.duration(milliseconds(1), milliseconds(2'000));
  }
  for (PoolSetup& pool : setup_.pools) {
    runs_at_once.insert(runs_at_once.end(), pool.spare_slots, pool.runs_per_slot);
    if (pool.spare_slots != 0 && pool.idle.count() == 0) pool.idle = random_.duration(milliseconds(1), seconds(2));
  }
  machine_ = std::make_unique<Machine>(std::move(runs_at_once), faults_, random_, oracle_);
}

void History::draw_pools() {
  const auto slots = [&] { return static_cast<std::uint32_t>(random_.between(1, 4)); };
  setup_.pools = {{"default", false, slots(), {}}, {"command", true, slots(), {}}};
  tasks_ = {{"work", "other"}, {}};
  if (random_.chance(300)) {
    setup_.pools.push_back({"extra", false, slots(), {}});
    tasks_.push_back({"only here", "work"});
  }
  const std::uint64_t memory_bytes_max = random_.chance(600) ? 64 : 0;
  for (PoolSetup& pool : setup_.pools) pool.memory_bytes_max = memory_bytes_max;
  setup_.queues = {{"stack", Discipline::kLifo}, {"urgent", Discipline::kPriority}, {"side", Discipline::kFifo}};
  setup_.seed = random_.next();
  if (random_.chance(300)) setup_.cache = {.bytes_max = 4'000, .entries_max = 3};
  setup_.window_bytes = random_.chance(700) ? static_cast<std::size_t>(random_.between(1, 40'000)) : 0;
  if (setup_.window_bytes != 0) oracle_.window_is_small();
}

void History::draw_specs() {
  const auto count = random_.between(1, 8);
  for (std::int64_t i = 0; i < count; ++i) {
    JobSpec spec;
    spec.queue = kQueueNames[random_.below(random_.chance(500) ? 1 : kQueues)];
    if (!random_.chance(150)) spec.task = tasks_.size() > 2 && random_.chance(300) ? "only here" : "work";
    if (spec.queue == "urgent") spec.priority = static_cast<std::int32_t>(random_.between(-2, 2));
    spec.front = random_.chance(150);
    spec.max_attempts = random_.chance(500) ? static_cast<std::uint32_t>(random_.below(2))
                                            : static_cast<std::uint32_t>(random_.between(2, 5));
    if (random_.chance(400)) spec.backoff = random_.duration(microseconds(1), milliseconds(500));
    spec.jitter = random_.chance(300) ? 0.5 : 0;
    if (random_.chance(250)) spec.queue_timeout = random_.duration(milliseconds(1), seconds(3));
    if (random_.chance(350)) spec.run_timeout = random_.duration(microseconds(200), seconds(2));
    if (random_.chance(250)) spec.soft_timeout = random_.duration(microseconds(200), seconds(1));
    if (random_.chance(250)) spec.heartbeat_timeout = random_.duration(microseconds(200), milliseconds(100));
    if (random_.chance(250)) spec.total_timeout = random_.duration(milliseconds(1), seconds(10));
    if (random_.chance(500)) spec.grace = random_.duration(milliseconds(1), milliseconds(300));
    spec.at_most_once = random_.chance(200);
    if (random_.chance(200)) spec.retention = random_.duration(milliseconds(1), seconds(5));
    if (random_.chance(200)) spec.retry_only = {random_.chance(500) ? "Flaky" : "TASK_ERROR"};
    if (random_.chance(200)) spec.retry_except = {random_.chance(500) ? "Other" : "TIMEOUT"};
    if (random_.chance(setup_.pools[0].memory_bytes_max != 0 ? 600 : 50)) {
      spec.retry_memory_factor = random_.chance(500) ? 2 : 1.5;
      spec.retry_memory_bytes_max = static_cast<std::uint64_t>(random_.between(65, 300));
    }
    if (random_.chance(500)) spec.crashes_max = static_cast<std::uint32_t>(random_.between(1, 4));
    if (random_.chance(200)) spec.max_failures = static_cast<std::uint32_t>(random_.below(4));
    if (random_.chance(300)) spec.limit_key = random_.chance(500) ? "left" : "right";
    if (random_.chance(300)) spec.fairness_key = random_.chance(500) ? "one" : "two";
    for (const char* const semaphore : kSemaphores) {
      if (random_.chance(200)) spec.needs.push_back({semaphore, static_cast<std::uint32_t>(random_.between(1, 3))});
    }
    if (random_.chance(250)) {
      spec.cache = {.enabled = true, .failures = random_.chance(300), .explain = random_.chance(300)};
      if (random_.chance(300)) spec.cache.ttl = random_.duration(milliseconds(1), seconds(3));
    }
    std::vector<CallbackSpec> callbacks;
    for (std::uint64_t left = random_.chance(400) ? 1 + random_.below(4) : 0; left > 0; --left) {
      callbacks.push_back(draw_callback());
      callbacks.back().whole_batch = random_.chance(300);
    }
    spec.callbacks = encode_callbacks(callbacks);
    specs_.push_back(std::move(spec));
  }
}

void History::start_daemon() {
  Daemon::World world{setup_, *store_, *machine_, oracle_, receivers_, random_, tasks_};
  world.retries = kRetries;
  world.deaf_per_mille = temper_.deaf;
  world.verbose = options_.verbose;
  world.retention = retention_;
  world.trim_per_mille = temper_.trim;
  world.tasks_known_at_start = random_.chance(700);
  const std::size_t job_bytes = sizeof(Job) + kPayloadMax;
  const std::size_t lanes = kQueues * setup_.pools.size();
  const std::size_t window = setup_.window_bytes != 0 ? setup_.window_bytes : limits::kWindowBytesMax;
  world.window_bytes_max = 2 * window + lanes * (2 * limits::kWindowJobsPerQueueMin * job_bytes) + 512 * job_bytes;
  daemon_ = std::make_unique<Daemon>(std::move(world), now_);
  ++figures_.daemons;
}

void History::submit() {
  event::Submit submit;
  submit.token = ++token_;
  submit.who = {1000};
  submit.spec = specs_[random_.below(specs_.size())];
  if (random_.chance(20)) submit.spec.task = "no such task";
  if (random_.chance(20)) submit.spec.queue = "no such queue";
  const auto count = static_cast<std::uint32_t>(random_.between(1, random_.chance(500) ? 3 : temper_.batch_max));
  std::uint32_t end = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    end += static_cast<std::uint32_t>(random_.below(kPayloadMax));
    submit.ends.push_back(end);
  }
  submit.bytes = std::make_shared<const std::string>(end, 'p');
  if (random_.chance(temper_.delay)) {
    const Duration after = random_.chance(500) ? random_.duration(microseconds(-500), milliseconds(20))
                                               : random_.duration(milliseconds(1), seconds(5));
    if (random_.chance(500)) {
      submit.start_at = now_.wall + after;
    } else {
      submit.start_after = std::max(after, Duration(0));
    }
  }
  submit.waits = random_.chance(400);
  if (random_.chance(200)) add_keys(submit);
  if (submit.spec.cache.enabled && !random_.chance(50)) {
    for (std::size_t i = 0; i < submit.ends.size(); ++i) {
      submit.cache_digests.emplace_back(32, static_cast<char>('a' + random_.below(5)));
    }
  }
  if (random_.chance(250)) add_dependencies(submit);
  oracle_.asked_submit(submit.token, static_cast<std::uint32_t>(submit.ends.size()), submit.keys);
  say("submit %lu: %u to %s, task \"%s\"\n", submit.token, count, submit.spec.queue.c_str(), submit.spec.task.c_str());
  daemon_->request(std::move(submit));
}

std::string History::open_ends() const {
  const Scheduler& scheduler = daemon_->scheduler();
  return std::to_string(oracle_.unfinished()) + " jobs have not ended: " + oracle_.unfinished_sample() +
         (scheduler.idle() ? "" : "; the scheduler is not idle") +
         (scheduler.owes_callbacks() ? "; it owes callbacks" : "") +
         (scheduler.keyed_jobs() != 0 ? "; jobs with keys wait" : "") +
         (daemon_->is_quiet() ? "" : "; it is not quiet");
}

// Few keys, so that they meet again: mostly for the same work, which is what it was called for first.
void History::add_keys(event::Submit& submit) {
  constexpr std::uint64_t kKeys = 40;
  if (random_.chance(500)) {
    const std::string key = "batch " + std::to_string(random_.below(kKeys));
    submit.keys.push_back({key, 7});
    submit.key_is_of_batch = true;
    const auto first = keyed_.emplace(key, submit).first->second;
    submit.spec = first.spec;
    submit.bytes = first.bytes;
    submit.ends = first.ends;
    if (random_.chance(100)) submit.keys[0].fingerprint = 8;
  } else {
    for (std::size_t i = 0; i < submit.ends.size(); ++i) {
      const bool keyless = random_.chance(300);
      submit.keys.push_back(
          {keyless ? "" : "item " + std::to_string(random_.below(kKeys)), random_.chance(50) ? 9u : 7u});
    }
  }
}

void History::cancel() {
  const std::uint64_t newest = oracle_.newest_id();
  // Mostly what is recent; ids leap at each start of a daemon, so many of them were never given out.
  const std::uint64_t back = random_.below(random_.chance(700) ? 200 : newest + 2);
  JobId job{newest + 1 > back ? newest + 1 - back : 1};
  const std::vector<LiveJob> running = daemon_->scheduler().running();
  if (!running.empty() && random_.chance(500)) job = running[random_.below(running.size())].id;
  event::Cancel cancel{++token_, {random_.chance(950) ? 1000u : 1001u}, job};
  if (random_.chance(200)) cancel.grace = random_.duration(microseconds(1), milliseconds(100));
  cancel.waits = random_.chance(400);
  oracle_.asked_cancel(token_, job, cancel.waits);
  say("cancel %lu: job %lu\n", token_, job.value);
  daemon_->request(std::move(cancel));
}

CallbackSpec History::draw_callback() {
  CallbackSpec spec;
  spec.condition = static_cast<CompletionCondition>(random_.below(3));
  spec.lane = static_cast<std::uint32_t>(random_.below(3));
  return spec;
}

void History::register_callback() {
  const std::uint64_t newest = oracle_.newest_id();
  const std::uint64_t back = random_.below(random_.chance(700) ? 100 : newest + 2);
  const JobId job{newest + 1 > back ? newest + 1 - back : 1};
  CallbackSpec spec = draw_callback();
  spec.whole_batch = random_.chance(300);
  const auto jobs = static_cast<std::uint32_t>(spec.whole_batch ? 1 + random_.below(12) : 0);
  oracle_.asked_register(++token_);
  say("register %lu: job %lu x%u\n", token_, job.value, jobs);
  daemon_->request(event::Register{
      token_, {random_.chance(950) ? 1000u : 1001u}, job, jobs, encode_callbacks({spec}), terms_of(spec)});
}

void History::purge_queue() {
  event::PurgeQueue purge{++token_, {random_.chance(900) ? 0u : 1001u}, kQueueNames[random_.below(kQueues)]};
  oracle_.asked_purge(token_, purge.name);
  say("purge queue %s\n", purge.name.c_str());
  daemon_->request(std::move(purge));
}

void History::move_jobs() {
  event::MoveJobs move;
  move.token = ++token_;
  move.who = {random_.chance(300) ? 1000u : random_.chance(950) ? 0u : 1001u};
  move.to = kQueueNames[random_.below(kQueues)];
  if (random_.chance(400)) move.from = kQueueNames[random_.below(kQueues)];
  const std::uint64_t newest = oracle_.newest_id();
  const std::uint64_t back = random_.below(random_.chance(800) ? 60 : newest + 2);
  const std::uint64_t first = newest + 1 > back ? newest + 1 - back : 1;
  for (std::uint64_t i = 0, count = random_.below(40); i < count; ++i) {
    if (!random_.chance(200)) move.jobs.push_back(JobId{first + i});
  }
  oracle_.asked_move(token_, move.jobs);
  say("move %lu: %zu jobs from %lu of \"%s\" to %s\n", token_, move.jobs.size(), first, move.from.c_str(),
      move.to.c_str());
  daemon_->request(std::move(move));
}

void History::set_ageing() {
  event::PutQueue put{++token_, "urgent"};
  put.options =
      QueueOptions{.ageing = random_.chance(300) ? Duration(0) : random_.duration(milliseconds(1), seconds(3))};
  put.options->ageing -= put.options->ageing % Duration(milliseconds(1));
  put.changed_options = {QueueField::kAgeing};
  oracle_.asked_queue(token_);
  say("ageing\n");
  daemon_->request(std::move(put));
}

void History::clear_cache() {
  event::ClearCache clear{++token_, {random_.chance(500) ? 0u : 1000u}, random_.chance(500), "work"};
  oracle_.asked_clear(token_);
  say("clear cache\n");
  daemon_->request(std::move(clear));
}

QueueOptions History::draw_limits() {
  QueueOptions options;
  if (random_.chance(400)) options.concurrency_max = static_cast<std::uint32_t>(random_.between(1, 3));
  if (random_.chance(400)) options.concurrency_per_key_max = static_cast<std::uint32_t>(random_.between(1, 2));
  const auto rate = [&] {
    return RateLimit{static_cast<double>(random_.between(5, 200)), Duration(seconds(1)),
                     static_cast<std::uint32_t>(random_.between(1, 5))};
  };
  if (random_.chance(300)) options.rate = rate();
  if (random_.chance(300)) options.rate_per_key = rate();
  options.fair = random_.chance(400);
  return options;
}

void History::put_semaphore(const std::string& name, std::uint32_t permits) {
  oracle_.asked_queue(++token_);
  say("semaphore %s: %u\n", name.c_str(), permits);
  daemon_->request(event::PutSemaphore{token_, name, permits});
}

void History::put_event(const std::string& name, bool is_set) {
  oracle_.asked_queue(++token_);
  say("event %s: %d\n", name.c_str(), is_set ? 1 : 0);
  daemon_->request(event::PutEvent{token_, name, is_set});
}

event::AskedDependency History::draw_dependency() {
  event::AskedDependency asked;
  if (random_.chance(150)) {
    asked.on.event = kEvents[random_.below(kEvents.size())];
    return asked;
  }
  if (const auto& batches = oracle_.batches(); !batches.empty() && random_.chance(150)) {
    asked.on.job = batches[batches.size() - 1 - random_.below(std::min<std::size_t>(batches.size(), 10))].first;
    if (random_.chance(50)) ++asked.on.job.value;
    asked.is_of_batch = true;
    asked.on.condition = static_cast<DependencyCondition>(random_.below(3));
    return asked;
  }
  const std::uint64_t newest = oracle_.newest_id();
  const std::uint64_t back = random_.below(random_.chance(900) ? 60 : newest + 2);
  asked.on.job = JobId{newest + 1 > back ? newest + 1 - back : 1};
  asked.on.condition = static_cast<DependencyCondition>(random_.below(3));
  return asked;
}

// Items wait for those before them or for those behind, so that there is no circle.
void History::add_dependencies(event::Submit& submit) {
  for (std::uint64_t i = random_.below(3); i > 0; --i) submit.dependencies.push_back(draw_dependency());
  const bool has_keys_of_items = !submit.keys.empty() && !submit.key_is_of_batch;
  const bool ahead = random_.chance(500);
  const auto count = static_cast<std::uint32_t>(submit.ends.size());
  for (std::uint32_t item = 0; item < count; ++item) {
    for (std::uint64_t i = random_.below(3); i > 0; --i) {
      event::AskedDependency asked;
      const std::uint32_t others = ahead ? count - 1 - item : item;
      if (others == 0 || has_keys_of_items || random_.chance(300)) {
        asked = draw_dependency();
      } else {
        const auto away = static_cast<std::uint32_t>(1 + random_.below(std::min<std::uint32_t>(others, 5)));
        asked.item = ahead ? item + away : item - away;
        asked.on.condition = static_cast<DependencyCondition>(random_.below(3));
      }
      if (random_.chance(300)) asked.on.any_of = static_cast<std::uint32_t>(1 + random_.below(2));
      const bool is_job = asked.item || (asked.on.job.is_set() && !asked.is_of_batch);
      if (is_job && random_.chance(250)) {
        asked.on.condition = DependencyCondition::kSucceeded;
        asked.on.takes_result = true;
        asked.on.any_of = 0;
      }
      submit.item_dependencies.emplace_back(item, asked);
    }
  }
  name_results(submit);
}

// Payloads of jobs that take results say so.
void History::name_results(event::Submit& submit) {
  std::string bytes;
  std::vector<std::uint32_t> ends;
  for (std::uint32_t item = 0; item < submit.ends.size(); ++item) {
    const std::uint32_t begin = item == 0 ? 0 : submit.ends[item - 1];
    const std::string own = submit.bytes->substr(begin, submit.ends[item] - begin);
    std::string named;
    for (const auto& [of, asked] : submit.item_dependencies) {
      if (of != item || !asked.on.takes_result) continue;
      Part part{.kind = PartKind::kResult};
      if (asked.item) {
        part.item = *asked.item + 1;
      } else {
        part.result_of = asked.on.job;
      }
      append_part(named, part);
    }
    if (named.empty()) {
      bytes += own;
    } else {
      append_part(named, {.bytes = own});
      bytes += named;
    }
    ends.push_back(static_cast<std::uint32_t>(bytes.size()));
  }
  submit.bytes = std::make_shared<const std::string>(std::move(bytes));
  submit.ends = std::move(ends);
}

void History::put_queue() {
  if (random_.chance(100)) return purge_queue();
  if (random_.chance(250)) return move_jobs();
  if (random_.chance(30)) return set_ageing();
  if (random_.chance(50)) return clear_cache();
  if (random_.chance(200)) return put_event(kEvents[random_.below(kEvents.size())], random_.chance(500));
  if (random_.chance(300)) {
    return put_semaphore(kSemaphores[random_.below(kSemaphores.size())],
                         static_cast<std::uint32_t>(random_.between(1, 4)));
  }
  oracle_.asked_queue(++token_);
  event::PutQueue put{token_, kQueueNames[random_.below(kQueues)], std::nullopt, random_.chance(500)};
  if (random_.chance(50)) put.discipline = Discipline::kFifo;
  if (random_.chance(300)) put.draining = random_.chance(300);
  if (random_.chance(400)) {
    put.options = draw_limits();
    put.options->queued_jobs_max = random_.chance(300) ? 0 : random_.below(200);
    put.options->queued_bytes_max = random_.chance(700) ? 0 : random_.below(10'000);
    put.options->defaults.max_attempts = static_cast<std::uint32_t>(random_.below(4));
    put.options->defaults.run_timeout = random_.duration(milliseconds(10), seconds(3));
    put.changed_options = {QueueField::kQueuedJobsMax, QueueField::kQueuedBytesMax};
    if (random_.chance(500)) {
      put.changed_options.insert(put.changed_options.end(),
                                 {QueueField::kConcurrencyMax, QueueField::kConcurrencyPerKeyMax, QueueField::kRate,
                                  QueueField::kRatePerKey, QueueField::kFair});
    }
    if (random_.chance(500)) put.changed_options.push_back(QueueField::kDefaultRetries);
    if (random_.chance(500)) put.changed_options.push_back(QueueField::kDefaultTimeouts);
  }
  say("queue %s %s\n", put.name.c_str(), *put.paused ? "paused" : "resumed");
  daemon_->request(std::move(put));
}

constexpr std::uint64_t kSchedules = 4;

void History::put_schedule() {
  oracle_.asked_schedule(++token_);
  const std::string name = "schedule " + std::to_string(random_.below(kSchedules));
  if (random_.chance(400)) {
    const auto what = static_cast<event::ChangeSchedule::What>(random_.below(3));
    say("schedule %s: change %d\n", name.c_str(), static_cast<int>(what));
    daemon_->request(event::ChangeSchedule{token_, {1000}, name, what});
    return;
  }
  event::PutSchedule put;
  put.token = token_;
  put.who = {1000};
  put.row.name = name;
  put.row.every = random_.duration(milliseconds(200), seconds(5));
  put.row.catch_up = static_cast<CatchUp>(random_.below(3));
  put.row.catch_up_max = static_cast<std::uint32_t>(random_.between(1, 5));
  put.row.overlap = static_cast<Overlap>(random_.below(4));
  if (random_.chance(300)) put.row.jitter = random_.duration(milliseconds(1), seconds(2));
  put.row.paused = random_.chance(50);
  put.row.payload = "p";
  put.spec = specs_[random_.below(specs_.size())];
  put.zone = setup_.zones.at("");
  say("schedule %s: put\n", name.c_str());
  daemon_->request(std::move(put));
}

void History::move_clock(Duration by) {
  // Whole microseconds of the sum: many steps below one must not stop the wall clock.
  const std::int64_t before = now_.at.ns / 1000;
  now_.at = now_.at + by;
  now_.wall.us += now_.at.ns / 1000 - before;
}

void History::pass_time() {
  Duration by = random_.duration(microseconds(1), microseconds(300));
  if (random_.chance(300)) by = random_.duration(milliseconds(1), milliseconds(20));
  if (random_.chance(60)) by = random_.duration(milliseconds(20), seconds(2));
  if (random_.chance(5)) by = random_.duration(seconds(2), seconds(60));
  move_clock(by);
  if (temper_.wall_jumps && random_.chance(30)) now_.wall = now_.wall + random_.duration(-seconds(30), seconds(30));
}

void History::end_daemon(bool whole_machine) {
  say("%s\n", whole_machine ? "the machine crashes" : "the daemon is killed");
  daemon_->die(random_.chance(500));
  daemon_.reset();
  if (whole_machine) {
    machine_->crash();
    move_clock(seconds(1));
    now_.at = Instant{random_.between(1'000'000, 1'000'000'000'000)};  // a new boot
  } else {
    // Workers go on alone for a while.
    for (std::uint64_t i = random_.below(50); i > 0; --i) {
      machine_->step(SlotId{static_cast<std::uint32_t>(1 + random_.below(machine_->slots()))}, now_.at);
      if (random_.chance(200)) pass_time();
    }
  }
  start_daemon();
}

void History::act() {
  const std::uint64_t draw = random_.below(1000);
  std::uint64_t up_to = 0;
  const auto is = [&](std::uint64_t per_mille) { return draw < (up_to += per_mille); };
  if (is(temper_.submit)) return submit();
  if (is(temper_.cancel)) return cancel();
  if (is(temper_.callback)) return register_callback();
  if (is(temper_.pause)) return put_queue();
  if (is(temper_.schedule)) return put_schedule();
  if (is(temper_.kill)) return end_daemon(false);
  if (is(temper_.crash)) return end_daemon(true);
  if (is(temper_.clock)) return pass_time();
  if (is(temper_.slow_disk ? 20 : 150)) {
    daemon_->commit(now_, random_.chance(temper_.rollback) ? Daemon::Disk::kRollsBack : Daemon::Disk::kWorks);
    return;
  }
  if (random_.chance(400)) return daemon_->turn(now_, false);
  machine_->step(SlotId{static_cast<std::uint32_t>(1 + random_.below(machine_->slots()))}, now_.at);
}

// No more trouble: everything that was accepted must come to its end, and everybody must be answered.
void History::come_to_rest() {
  say("at rest from here\n");
  machine_->recover();
  for (const char* const name : kQueueNames) {
    oracle_.asked_queue(++token_);
    event::PutQueue open{token_, name, std::nullopt, false};
    open.draining = false;
    open.options.emplace();
    open.changed_options = {QueueField::kQueuedJobsMax, QueueField::kQueuedBytesMax};
    daemon_->request(std::move(open));
  }
  for (std::uint64_t i = 0; i < kSchedules; ++i) {
    oracle_.asked_schedule(++token_);
    const std::string name = "schedule " + std::to_string(i);
    daemon_->request(event::ChangeSchedule{token_, {1000}, name, event::ChangeSchedule::What::kDelete});
  }
  for (const char* const name : kSemaphores) put_semaphore(name, 4);
  for (const char* const name : kEvents) put_event(name, true);
  for (std::uint64_t round = 0; round < 1'000'000; ++round) {
    daemon_->turn(now_, true);
    bool moved = daemon_->commit(now_, Daemon::Disk::kWorks);
    for (std::uint32_t slot = 1; slot <= machine_->slots(); ++slot) moved |= machine_->step(SlotId{slot}, now_.at);
    if (moved) continue;
    const Instant next = std::min(daemon_->next_timer(), machine_->next_step(now_.at));
    const bool quiet = daemon_->is_quiet();
    const bool idle = daemon_->scheduler().idle() && !daemon_->scheduler().owes_callbacks();
    if (quiet && idle && oracle_.unfinished() == 0 && !oracle_.owes_answers()) return;
    if (next == Instant::never() && quiet) {
      throw Violation("everything is quiet, but " + open_ends());
    }
    if (next != Instant::never() && next > now_.at) move_clock(next - now_.at);
  }
  throw Violation("still busy after a million turns: " + open_ends());
}

// Everything has ended and everybody was told, so in the end nothing is left.
void History::trim_all() {
  TrimQuestion question;
  question.policy = {hours(1), hours(1), 0, 0};
  question.now = now_.wall + hours(24 * 365);
  for (bool goes_on = true; goes_on;) {
    const auto trimmed = store_->trim(question);
    if (!trimmed.ok()) throw Violation("no step of retention: " + trimmed.error().message);
    for (const JobId job : trimmed->removed) {
      oracle_.trimmed(job, question);
      receivers_.trimmed(job);
    }
    goes_on = trimmed->more;
  }
  oracle_.all_trimmed(*store_->reader());
}

HistoryFigures History::run() {
  start_daemon();
  for (const char* const name : kSemaphores) put_semaphore(name, static_cast<std::uint32_t>(random_.between(3, 4)));
  if (random_.chance(400)) set_ageing();
  for (std::uint64_t i = 0; i < temper_.steps; ++i) {
    act();
    for (const LaneFigures& lane : daemon_->scheduler().lanes())
      figures_.spilled = std::max(figures_.spilled, lane.queued);
  }
  come_to_rest();
  oracle_.at_rest(*store_->reader());
  receivers_.at_rest(*store_->reader(), kRetries);
  trim_all();
  figures_.jobs = oracle_.jobs_committed();
  figures_.attempts = oracle_.attempts_run();
  figures_.crashes = machine_->crashes();
  return figures_;
}

}  // namespace

HistoryFigures run_history(const HistoryOptions& options) { return History(options).run(); }

}  // namespace futured::simulation
