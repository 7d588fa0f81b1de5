#include "tests/simulation/machine.h"
#include "base/payload.h"

#include <algorithm>
#include <utility>

namespace futured::simulation {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

Machine::Machine(std::vector<std::size_t> runs_at_once, WorkerFaults faults, Random& random, Oracle& oracle)
    : slots_(runs_at_once.size()), faults_(faults), random_(random), oracle_(oracle) {
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    slots_[i].id = SlotId{i + 1};
    slots_[i].runs_at_once = runs_at_once[i];
  }
}

std::vector<Machine::Recovered> Machine::attach() {
  notices_.clear();
  calls_.clear();  // who waits is nudged, and asks again
  std::vector<Recovered> recovered;
  for (Slot& slot : slots_) {
    slot.read_until = slot.released;
    slot.start_wanted = false;
    std::erase_if(slot.ring, [](const Run& run) { return !run.published; });
    if (slot.worker == Worker::kNone || slot.worker == Worker::kStarting) continue;
    for (Run& run : slot.ring) {
      if (run.state == State::kOffered) run.state = State::kRevoked;
      const bool waits = run.waiting == Run::Waiting::kAsked || run.waiting == Run::Waiting::kSleeps;
      if (waits) run.waiting = Run::Waiting::kToAsk;
      if (run.waiting == Run::Waiting::kGivesUp) run.is_patient = false;
      if (run.state == State::kTaken) recovered.push_back({slot.id, run.fence, run.taken_at, false});
    }
    for (const Report& report : slot.reports) recovered.push_back({slot.id, report.fence, report.started, true});
    if (slot.worker == Worker::kDead) {
      notices_.push_back({Notice::Kind::kEnded, slot.id, slot.generation, 0, slot.over_memory});
    }
    slot.end_told = slot.worker != Worker::kDead;
  }
  return recovered;
}

std::vector<Notice> Machine::live() const {
  std::vector<Notice> live;
  for (const Slot& slot : slots_) {
    const bool there = slot.worker == Worker::kAlive || slot.worker == Worker::kKilled || slot.worker == Worker::kDead;
    if (there) live.push_back({Notice::Kind::kStarted, slot.id, slot.generation, slot.memory_bytes_max});
  }
  return live;
}

void Machine::start(SlotId id, std::uint64_t memory_bytes_max) {
  at(id).start_wanted = true;
  at(id).next_memory_bytes_max = memory_bytes_max;
  start_if_due(at(id));
}

// The spawner empties the channel for a new worker, so what the last one reported must be committed before.
void Machine::start_if_due(Slot& slot) {
  const bool vacant = slot.worker == Worker::kNone || (slot.worker == Worker::kDead && slot.end_told);
  if (!slot.start_wanted || !vacant || !slot.reports.empty()) return;
  slot.start_wanted = false;
  slot.memory_bytes_max = slot.next_memory_bytes_max;
  slot.worker = Worker::kStarting;
}

void Machine::kill(SlotId id) {
  if (at(id).worker == Worker::kAlive) at(id).worker = Worker::kKilled;
}

void Machine::stop(SlotId id, const Fence& fence) {
  for (Run& run : at(id).ring) {
    if (run.fence == fence) run.stop_asked = true;
  }
}

bool Machine::offer(SlotId id, const Fence& fence) {
  Slot& slot = at(id);
  const bool alive = slot.worker == Worker::kAlive || slot.worker == Worker::kKilled ||
                     (slot.worker == Worker::kDead && !slot.end_told);
  // A worker of many runs copies what it takes: only what it has not taken fills its ring.
  const auto in_ring = static_cast<std::size_t>(std::ranges::count_if(
      slot.ring, [&](const Run& run) { return slot.runs_at_once == 1 || run.state != State::kTaken; }));
  if (!alive || in_ring >= faults_.ring_records) return false;
  Run run;
  run.fence = fence;
  slot.ring.push_back(run);
  return true;
}

void Machine::publish() {
  for (Slot& slot : slots_) {
    for (Run& run : slot.ring) run.published = true;
  }
}

bool Machine::revoke(SlotId id, const Fence& fence) {
  for (Run& run : at(id).ring) {
    if (run.fence != fence || run.state != State::kOffered) continue;
    run.state = State::kRevoked;
    return true;
  }
  return false;
}

std::optional<Instant> Machine::alive_at(SlotId id, const Fence& fence, Instant now) const {
  for (const Run& run : at(id).ring) {
    if (run.fence == fence && run.state == State::kTaken) return run.beats ? now : run.taken_at;
  }
  return std::nullopt;
}

std::optional<Machine::Head> Machine::head(SlotId id) const {
  for (const Run& run : at(id).ring) {
    if (run.state != State::kRevoked) return Head{run.fence, run.state == State::kTaken, run.taken_at};
  }
  return std::nullopt;
}

std::vector<Machine::Head> Machine::taken(SlotId id) const {
  std::vector<Head> taken;
  for (const Run& run : at(id).ring) {
    if (run.state == State::kTaken) taken.push_back({run.fence, true, run.taken_at});
  }
  return taken;
}

// The end of a worker is told when all that it published was read.
std::optional<Notice> Machine::next_notice() {
  if (notices_.empty()) return std::nullopt;
  const Notice notice = notices_.front();
  Slot& slot = at(notice.slot);
  if (notice.kind == Notice::Kind::kEnded) {
    if (slot.read_until < slot.released + slot.reports.size()) return std::nullopt;
    slot.end_told = true;
  }
  notices_.pop_front();
  return notice;
}

const Report* Machine::read(SlotId id) {
  Slot& slot = at(id);
  if (slot.read_until == slot.released + slot.reports.size()) return nullptr;
  return &slot.reports[slot.read_until++ - slot.released];
}

void Machine::release(SlotId id, std::uint64_t cursor) {
  Slot& slot = at(id);
  for (; slot.released < cursor; ++slot.released) slot.reports.pop_front();
  start_if_due(slot);
}

std::optional<Call> Machine::next_call() {
  if (calls_.empty()) return std::nullopt;
  Call call = std::move(calls_.front());
  calls_.pop_front();
  return call;
}

Machine::Run* Machine::find(SlotId id, const Fence& fence) {
  for (Run& run : at(id).ring) {
    if (run.fence == fence && run.state == State::kTaken) return &run;
  }
  return nullptr;
}

void Machine::answer(SlotId id, const Fence& fence, std::uint64_t call, bool is_open, Instant now) {
  Run* const run = find(id, fence);
  if (run == nullptr || run->calls != call) return;
  if (run->waiting == Run::Waiting::kAsked && is_open) {
    run->waiting = std::exchange(run->is_nudged, false) ? Run::Waiting::kToAsk
                   : run->is_patient                    ? Run::Waiting::kSleeps
                                                        : Run::Waiting::kGivesUp;
  } else if (run->waiting == Run::Waiting::kAsked || run->waiting == Run::Waiting::kGivesUp) {
    run->waiting = Run::Waiting::kNo;
    run->ends_at = run->length == Duration::max() ? Instant::never() : now + run->length;
    if (recovering_) run->ends_at = std::min(run->ends_at, now + milliseconds(1));
  }
}

void Machine::nudge(SlotId id, const Fence& fence) {
  Run* const run = find(id, fence);
  if (run == nullptr) return;
  run->is_nudged = run->waiting == Run::Waiting::kAsked;
  if (run->waiting == Run::Waiting::kSleeps) run->waiting = Run::Waiting::kToAsk;
}

// True: it has something to ask.
bool Machine::asks(Slot& slot, Run& run) {
  const bool gives_up = run.waiting == Run::Waiting::kGivesUp && run.is_patient == false;
  if (run.waiting != Run::Waiting::kToAsk && !gives_up) return false;
  if (run.waiting == Run::Waiting::kToAsk) run.waiting = Run::Waiting::kAsked;
  if (gives_up) run.is_patient = true;  // once
  run.is_nudged = false;
  calls_.push_back({slot.id, run.fence, ++run.calls, 1, gives_up, run.waits_for});
  return true;
}

void Machine::take(Slot& slot, Run& run, Instant now) {
  run.state = State::kTaken;
  run.taken_at = now;
  oracle_.took(run.fence, slot.memory_bytes_max);
  Duration length = random_.duration(microseconds(1), microseconds(300));
  if (random_.chance(100)) length = random_.duration(milliseconds(1), milliseconds(30));
  if (random_.chance(faults_.long_per_mille)) length = random_.duration(seconds(1), seconds(5));
  run.end = Run::End::kSucceed;
  if (random_.chance(faults_.fail_per_mille)) run.end = random_.chance(200) ? Run::End::kFailForGood : Run::End::kFail;
  if (random_.chance(faults_.crash_per_mille)) run.end = Run::End::kCrash;
  if (random_.chance(faults_.hungry_per_mille)) {
    run.end = random_.chance(500) ? Run::End::kDieOfMemory : Run::End::kWantMemory;
  }
  run.deaf = random_.chance(faults_.deaf_per_mille);
  run.beats = !random_.chance(faults_.silent_per_mille);
  if (!run.beats) oracle_.is_silent(run.fence);
  run.ends_well = random_.chance(200);
  run.ends_at = now + length;
  if (random_.chance(faults_.hang_per_mille)) run.ends_at = Instant::never();
  if (recovering_) run.ends_at = std::min(run.ends_at, now + milliseconds(1));
  if (!random_.chance(faults_.wait_per_mille)) return;
  // Any recent jobs, itself among them, and some that were never given out.
  for (std::uint64_t left = 1 + random_.below(3); left > 0; --left) {
    const std::uint64_t newest = oracle_.newest_id() + 1;
    run.waits_for.push_back(JobId{newest - std::min(newest - 1, random_.below(random_.chance(800) ? 8 : 40))});
  }
  run.waiting = Run::Waiting::kToAsk;
  run.is_patient = !random_.chance(100);
  run.length = run.ends_at == Instant::never() ? Duration::max() : length;
  run.ends_at = Instant::never();
}

void Machine::finish(Slot& slot, Run& run, Instant now) {
  const bool stopped = run.stop_asked && run.ends_at > now;
  if (run.end == Run::End::kCrash && !stopped) {
    slot.culprit = run.fence;
    return die(slot);
  }
  if (run.end == Run::End::kDieOfMemory && !stopped) return die(slot, true);
  Report report{run.fence,
                stopped ? run.ends_well : run.end == Run::End::kSucceed,
                !stopped && run.end == Run::End::kFailForGood,
                run.taken_at,
                now,
                {}};
  if (report.succeeded) {
    const std::string bytes = "result " + std::to_string(random_.next());
    append_part(report.result, {.bytes = bytes});
  }
  if (!report.succeeded) report.error_class = random_.chance(500) ? "Flaky" : "Other";
  report.out_of_memory = !stopped && run.end == Run::End::kWantMemory;
  if (!report.succeeded && random_.chance(100)) report.retry_after = random_.duration(microseconds(1), seconds(2));
  if (report.out_of_memory) oracle_.ran_out_of_memory(run.fence);
  oracle_.finished(run.fence, report.succeeded, report.final, report.succeeded ? report.result : report.error_class);
  std::erase_if(slot.ring,
                [&](const Run& other) { return other.fence == report.fence && other.state == State::kTaken; });
  slot.reports.push_back(std::move(report));
}

void Machine::die(Slot& slot, bool over_memory) {
  slot.worker = Worker::kDead;
  slot.over_memory = over_memory;
  slot.end_told = false;
  ++crashes_;
  for (const Run& run : slot.ring) {
    if (run.state != State::kTaken) continue;
    oracle_.died(run.fence);
    if (over_memory) oracle_.ran_out_of_memory(run.fence);
  }
  notices_.push_back({Notice::Kind::kEnded, slot.id, slot.generation, 0, over_memory});
}

bool Machine::step(SlotId id, Instant now) {
  Slot& slot = at(id);
  switch (slot.worker) {
    case Worker::kNone:
    case Worker::kDead:
      return false;
    case Worker::kStarting:
      slot.worker = Worker::kAlive;
      slot.ring.clear();
      slot.culprit.reset();
      ++slot.generation;
      notices_.push_back({Notice::Kind::kStarted, slot.id, slot.generation, slot.memory_bytes_max});
      return true;
    case Worker::kKilled:
      die(slot);
      return true;
    case Worker::kAlive:
      break;
  }
  if (random_.chance(recovering_ ? 0 : faults_.idle_crash_per_mille)) {
    die(slot);
    return true;
  }
  const auto is_over = [](const Run& run) { return run.state == State::kRevoked && run.published; };
  if (slot.runs_at_once > 1) std::erase_if(slot.ring, is_over);
  while (!slot.ring.empty() && is_over(slot.ring.front())) slot.ring.pop_front();
  Run* const run = next_of(slot, now);
  if (run == nullptr) return false;
  if (run->state == State::kOffered) {
    take(slot, *run, now);
  } else if (now < run->ends_at && !run->stop_asked && asks(slot, *run)) {
  } else {
    finish(slot, *run, now);
  }
  return true;
}

// What the worker can do something about now: one that ends, or one to be taken.
Machine::Run* Machine::next_of(Slot& slot, Instant now) {
  std::size_t looked_at = 0;
  for (Run& run : slot.ring) {
    if (!run.published || looked_at++ == slot.runs_at_once) return nullptr;
    if (run.state == State::kRevoked) return nullptr;
    const bool asks = run.waiting == Run::Waiting::kToAsk || (run.waiting == Run::Waiting::kGivesUp && !run.is_patient);
    if (run.state == State::kOffered || now >= run.ends_at || (run.stop_asked && !run.deaf)) return &run;
    if (run.state == State::kTaken && asks && !run.stop_asked) return &run;
  }
  return nullptr;
}

Instant Machine::next_step(Instant now) const {
  Instant next = Instant::never();
  for (const Slot& slot : slots_) {
    if (slot.worker == Worker::kStarting || slot.worker == Worker::kKilled) return now;
    if (slot.worker != Worker::kAlive || slot.ring.empty()) continue;
    std::size_t looked_at = 0;
    for (const Run& run : slot.ring) {
      if (!run.published || looked_at++ == slot.runs_at_once) break;
      const bool asks =
          run.waiting == Run::Waiting::kToAsk || (run.waiting == Run::Waiting::kGivesUp && !run.is_patient);
      if (run.state != State::kTaken || (run.stop_asked && !run.deaf) || (asks && !run.stop_asked)) return now;
      next = std::min(next, run.ends_at);
    }
  }
  return next;
}

void Machine::crash() {
  ++instance_;
  for (Slot& slot : slots_) {
    for (const Run& run : slot.ring) {
      if (run.state == State::kTaken && slot.worker != Worker::kDead) oracle_.died(run.fence);
    }
    slot = Slot{.id = slot.id, .runs_at_once = slot.runs_at_once};
  }
  calls_.clear();
  notices_.clear();
}

void Machine::recover() {
  recovering_ = true;
  faults_.idle_crash_per_mille = faults_.crash_per_mille = faults_.hang_per_mille = 0;
  faults_.hungry_per_mille = 0;
  for (Slot& slot : slots_) {
    for (Run& run : slot.ring) {
      if (run.waiting != Run::Waiting::kNo) {
        run.length = Duration(0);
        if (run.deaf && run.stop_asked) run.ends_at = Instant{};
        continue;
      }
      if (run.state == State::kTaken && run.ends_at == Instant::never()) run.ends_at = Instant{};
    }
  }
}

}  // namespace futured::simulation
