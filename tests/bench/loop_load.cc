// loop_load: durable no-op jobs through everything but gRPC: loop, store, channel, forked workers. The figure that the
// whole system is held against, in the same run. One JSON object a line.

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

#include "base/command.h"
#include "base/limits.h"
#include "base/payload.h"
#include "daemon/loop/loop.h"

namespace futured {
namespace {

struct Tally : OutcomeSink {
  void ended(const std::shared_ptr<const Batch>&, std::vector<EndedJob> jobs) override {
    for (const EndedJob& job : jobs) succeeded += job.ending->state == JobState::kSucceeded ? 1 : 0;
    const std::lock_guard lock(mutex);
    ended_jobs += jobs.size();
    changed.notify_all();
  }
  void resume() override {
    const std::lock_guard lock(mutex);
    paused = false;
    changed.notify_all();
  }
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t ended_jobs = 0;
  bool paused = false;
  std::atomic<std::size_t> succeeded{0};
};

event::Submit noops(std::size_t count) {
  event::Submit submit;
  submit.spec.task = "noop";
  std::string bytes;
  const std::string payload(100, 'x');
  for (std::size_t i = 0; i < count; ++i) {
    append_part(bytes, {.bytes = payload});
    submit.ends.push_back(static_cast<std::uint32_t>(bytes.size()));
  }
  submit.bytes = std::make_shared<const std::string>(std::move(bytes));
  return submit;
}

event::Submit commands(std::size_t count) {
  event::Submit submit;
  std::string bytes;
  const std::string encoded = encode_command({.argv = {"/bin/true"}});
  for (std::size_t i = 0; i < count; ++i) {
    append_part(bytes, {.content_type = kCommandType, .bytes = encoded});
    submit.ends.push_back(static_cast<std::uint32_t>(bytes.size()));
  }
  submit.bytes = std::make_shared<const std::string>(std::move(bytes));
  return submit;
}

double seconds_since(Instant start) { return static_cast<double>((monotonic_now() - start).count()) / 1e9; }

void throughput(Loop& loop, std::size_t jobs, std::size_t per_batch) {
  const auto tally = std::make_shared<Tally>();
  const event::Submit batch = noops(per_batch);
  const Instant start = monotonic_now();
  for (std::size_t sent = 0; sent < jobs; sent += per_batch) {
    std::unique_lock lock(tally->mutex);
    tally->changed.wait(lock, [&] { return !tally->paused; });
    tally->paused = true;
    lock.unlock();
    if (loop.submit(batch, tally, [](const Result<Accepted>&) {}) == Intake::kGoOn) tally->resume();
  }
  std::unique_lock lock(tally->mutex);
  tally->changed.wait(lock, [&] { return tally->ended_jobs >= jobs; });
  std::printf("{\"case\": \"loop_noop\", \"jobs\": %zu, \"succeeded\": %zu, \"jobs_per_second\": %.0f}\n", jobs,
              tally->succeeded.load(), static_cast<double>(jobs) / seconds_since(start));
}

void command_rate(Loop& loop, std::size_t count) {
  const auto tally = std::make_shared<Tally>();
  const Instant start = monotonic_now();
  loop.submit(commands(count), tally, [](const Result<Accepted>&) {});
  std::unique_lock lock(tally->mutex);
  tally->changed.wait(lock, [&] { return tally->ended_jobs == count; });
  std::printf("{\"case\": \"loop_commands\", \"jobs\": %zu, \"succeeded\": %zu, \"jobs_per_second\": %.0f}\n", count,
              tally->succeeded.load(), static_cast<double>(count) / seconds_since(start));
}

void latency(Loop& loop, int rounds) {
  std::vector<double> times;
  const event::Submit one = noops(1);
  for (int i = 0; i < rounds; ++i) {
    const auto tally = std::make_shared<Tally>();
    const Instant start = monotonic_now();
    loop.submit(one, tally, [](const Result<Accepted>&) {});
    std::unique_lock lock(tally->mutex);
    tally->changed.wait(lock, [&] { return tally->ended_jobs == 1; });
    times.push_back(seconds_since(start) * 1e6);
  }
  std::sort(times.begin(), times.end());
  std::printf("{\"case\": \"loop_one_at_a_time\", \"p50_us\": %.0f, \"p99_us\": %.0f}\n", times[times.size() / 2],
              times[times.size() * 99 / 100]);
}

int run(const std::string& programs, const std::string& state, std::size_t jobs, std::size_t per_batch) {
  auto store = open_sqlite_store(state + "/futured.db");
  if (!store.ok()) {
    std::fprintf(stderr, "loop_load: %s\n", store.error().message.c_str());
    return 1;
  }
  pool::LocalPoolsSetup pools{state, programs + "/futured-spawner", programs + "/futured-zygote", 0};
  Loop::Parts parts;
  parts.store = std::move(*store);
  parts.pools = std::make_unique<pool::LocalPools>(pools);
  parts.setup.pools = {{"default", false, 2, {}}, {"command", true, 2, {}}};
  PoolTerms commands;
  commands.mode = PoolMode::kCommand;
  parts.pool_configs = {{"default", 2, SlotId{1}, {}, {}}, {"command", 2, SlotId{3}, commands, {}}};
  parts.ready_within = std::chrono::seconds(10);
  parts.log = [](const std::string& line) { std::fprintf(stderr, "loop_load: %s\n", line.c_str()); };
  Loop loop(std::move(parts));
  if (const Status started = loop.start(); !started.ok()) {
    std::fprintf(stderr, "loop_load: %s\n", started.error().message.c_str());
    return 1;
  }
  std::thread turns([&] {
    const Status ended = loop.run();
    if (!ended.ok()) std::fprintf(stderr, "loop_load: %s\n", ended.error().message.c_str());
  });
  throughput(loop, jobs / 4, per_batch);
  throughput(loop, jobs, per_batch);
  latency(loop, 500);
  command_rate(loop, 1000);
  loop.stop(Loop::Spawner::kStop);
  turns.join();
  return 0;
}

}  // namespace
}  // namespace futured

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: loop_load PROGRAMS-DIR [JOBS [JOBS-PER-BATCH]]\n");
    return 2;
  }
  const std::size_t jobs = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 1'000'000;
  const std::size_t per_batch = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 500;
  char state[] = "/tmp/loop_load.XXXXXX";
  if (mkdtemp(state) == nullptr) return 1;
  const int code = futured::run(argv[1], state, jobs, per_batch);
  std::filesystem::remove_all(state);
  return code;
}
