// fut bench cheatsheet: waiting and computing, in the caller and on pools of each mode.
#include "client/cli/bench_cheatsheet_measure.h"

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>
#include <utility>

#include "base/time.h"
#include "client/cli/bench_cheatsheet_work.h"

namespace futured::cli::cheatsheet {

namespace {

using client::Executor;
using client::Future;

std::string sleep_seconds(const Sizes& sizes) {
  char text[32];
  std::snprintf(text, sizeof text, "%u.%03u", sizes.sleep_ms / 1000, sizes.sleep_ms % 1000);
  return text;
}

void sleeps_on(const Executor& executor, const Sizes& sizes, Row& row) {
  const std::string seconds = sleep_seconds(sizes);
  row.seconds = timed([&] {
    std::vector<Future> futures;
    for (std::uint32_t i = 0; i < sizes.sleeps; ++i) futures.push_back(executor.submit("sleep", seconds));
    for (const Future& future : futures) static_cast<void>(future.result());
  });
}

void cpu_on(const Executor& executor, const Sizes& sizes, std::uint64_t expected, Row& row) {
  const std::string rounds = std::to_string(sizes.cpu_rounds);
  row.seconds = timed([&] {
    std::vector<Future> futures;
    for (std::uint32_t i = 0; i < sizes.cpu_jobs; ++i) futures.push_back(executor.submit("sum_squares", rounds));
    for (const Future& future : futures) check_sum(future.result(), expected);
  });
}

// Two threads that hand one token back and forth, `switches` times in all.
double hand_over_seconds(std::uint32_t switches) {
  std::mutex mutex;
  std::condition_variable turned;
  std::uint32_t turn = 0;  // even: the first thread's
  const auto play = [&](std::uint32_t mine) {
    std::unique_lock lock(mutex);
    while (turn < switches) {
      turned.wait(lock, [&] { return turn >= switches || turn % 2 == mine; });
      if (turn < switches) ++turn;
      turned.notify_one();
    }
  };
  return timed([&] {
    std::thread second(play, 1);
    play(0);
    second.join();
  });
}

client::QueueOptions at_most(double starts_per_second) {
  client::QueueOptions options;
  options.rate = {.starts = starts_per_second, .per = client::Milliseconds(1'000), .burst = 1};
  return options;
}

std::string times(std::uint64_t count, const std::string& what) { return std::to_string(count) + " " + what; }

}  // namespace

Cheatsheet::Cheatsheet(client::Client client, Sizes sizes) : client_(std::move(client)), sizes_(std::move(sizes)) {
  pools_ = client_.pools();
}

void Cheatsheet::run(const std::function<void(const Row&)>& told) {
  told_ = told;
  memory();  // before the workers have touched more than they must
  io();
  cpu();
  map();
  switching();
  payloads();
  cache();
  rate();
}

Row& Cheatsheet::measure(Row row, const Measure& work) {
  Row& kept = rows_.emplace_back(std::move(row));
  try {
    work(kept);
  } catch (const client::Error& error) {
    if (error.kind() == client::ErrorKind::kUnavailable) throw;
    not_measured(kept, error);
  } catch (const WrongResult& error) {
    kept.standing = Standing::kFailed;
    kept.why = error.what();
  }
  return kept;
}

Row& Cheatsheet::measure_on(std::string_view mode, Row row,
                            const std::function<void(Row&, const client::Executor&)>& work) {
  const client::PoolInfo* const pool = pool_of_mode(pools_, mode);
  return measure(std::move(row), [&](Row& kept) {
    if (pool == nullptr) {
      kept.standing = Standing::kNoWay;
      kept.why = no_pool_text(mode);
      return;
    }
    kept.more["pool"] = pool->name;
    const Executor executor = client_.executor({.pool = pool->name});
    static_cast<void>(executor.submit("noop", "").result());  // its workers are there from here on
    work(kept, executor);
  });
}

void Cheatsheet::tell(Row& row) { told_(row); }

void Cheatsheet::io() {
  const std::string amount =
      times(sizes_.sleeps, "sleeps of " + exact_duration_text(client::Milliseconds(sizes_.sleep_ms)));
  const auto sleeps = [this](Row& row, const Executor& executor) { sleeps_on(executor, sizes_, row); };
  Row& serial = measure({.name = "io_serial", .title = "I/O, one after another", .amount = amount}, [&](Row& row) {
    row.seconds = timed([&] {
      for (std::uint32_t i = 0; i < sizes_.sleeps; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(sizes_.sleep_ms));
      }
    });
  });
  tell(serial);
  Row& thread = measure_on("THREAD", {.name = "io_thread", .title = "I/O, pool of threads", .amount = amount}, sleeps);
  compare(thread, serial);
  tell(thread);
  Row& async = measure_on("ASYNC", {.name = "io_async", .title = "I/O, pool of coroutines", .amount = amount}, sleeps);
  compare(async, serial);
  tell(async);
}

void Cheatsheet::cpu() {
  const std::string amount = times(sizes_.cpu_jobs, "sums of " + std::to_string(sizes_.cpu_rounds) + " squares");
  std::uint64_t expected = 0;
  const auto sums = [&](Row& row, const Executor& executor) { cpu_on(executor, sizes_, expected, row); };
  Row& serial = measure({.name = "cpu_serial", .title = "CPU, one after another", .amount = amount}, [&](Row& row) {
    row.seconds = timed([&] {
      for (std::uint32_t i = 0; i < sizes_.cpu_jobs; ++i) expected = sum_squares(sizes_.cpu_rounds);
    });
  });
  tell(serial);
  Row& thread = measure_on("THREAD", {.name = "cpu_thread", .title = "CPU, pool of threads", .amount = amount}, sums);
  compare(thread, serial);
  tell(thread);
  Row& process =
      measure_on("PROCESS", {.name = "cpu_process", .title = "CPU, pool of processes", .amount = amount}, sums);
  compare(process, serial);
  tell(process);
  Row& speeds =
      measure({.name = "cpu_speeds", .title = "CPU, serial : thread : process", .amount = "speeds"}, [&](Row& row) {
        const Row* const rows[] = {&serial, &thread, &process};
        row.said = speeds_text(rows);
        if (row.said.empty()) {
          row.standing = Standing::kNoWay;
          row.why = "one of its rows was not measured";
          return;
        }
        row.more = {{"serial", 1.0}, {"thread", thread.ratio}, {"process", process.ratio}};
      });
  tell(speeds);
}

void Cheatsheet::map() {
  const std::string amount = times(sizes_.map_calls, "sums of " + std::to_string(sizes_.map_rounds) + " squares");
  std::uint64_t expected = 0;
  Row& serial = measure({.name = "map_serial", .title = "map, one after another", .amount = amount}, [&](Row& row) {
    row.seconds = timed([&] {
      for (std::uint32_t i = 0; i < sizes_.map_calls; ++i) expected = sum_squares(sizes_.map_rounds);
    });
  });
  tell(serial);
  Row& process =
      measure_on("PROCESS", {.name = "map_process", .title = "map in chunks, pool of processes", .amount = amount},
                 [&](Row& row, const Executor& executor) {
                   row.seconds = timed([&] {
                     std::vector<std::string> inputs(sizes_.map_calls, std::to_string(sizes_.map_rounds));
                     client::Mapped results =
                         executor.map("sum_squares", std::move(inputs), {.chunk_size = client::kAutomaticChunks});
                     while (const auto result = results.next()) check_sum(*result, expected);
                   });
                 });
  compare(process, serial);
  tell(process);
}

void Cheatsheet::switching() {
  Row& threads = measure({.name = "switch_threads", .title = "hand over to another thread", .amount = "each"},
                         [&](Row& row) { row.seconds = hand_over_seconds(sizes_.switches) / sizes_.switches; });
  threads.more["times"] = sizes_.switches;
  tell(threads);
  Row& job =
      measure_on("PROCESS", {.name = "round_trip", .title = "job that does nothing, and back", .amount = "median"},
                 [&](Row& row, const Executor& executor) {
                   std::vector<double> all;
                   for (std::uint32_t i = 0; i < sizes_.round_trips; ++i) {
                     all.push_back(timed([&] { static_cast<void>(executor.submit("noop", "").result()); }));
                   }
                   row.seconds = median(std::move(all));
                 });
  job.more["times"] = sizes_.round_trips;
  compare(job, threads);
  tell(job);
}

void Cheatsheet::payloads() {
  for (const std::uint64_t bytes : sizes_.payload_bytes) payload(bytes);
}

void Cheatsheet::payload(std::uint64_t bytes) {
  const std::string size = bytes_text(static_cast<std::int64_t>(bytes));
  const auto suffix = "_" + std::to_string(bytes);
  const bool is_local = client_.address().starts_with("unix:");
  const auto ways = [&](SendAndSum send) {
    return [this, bytes, send](Row& row, const Executor& executor) {
      row.seconds =
          median_of(sizes_.payload_repeats, bytes, [&](const Numbers& numbers) { send(client_, executor, numbers); });
      row.more["payload_bytes"] = bytes;
    };
  };
  Row& inline_bytes =
      measure_on("PROCESS", {.name = "payload_grpc" + suffix, .title = "payload, bytes through gRPC", .amount = size},
                 ways(sum_through_grpc));
  inline_bytes.more["jobs"] = jobs_through_grpc(bytes);
  tell(inline_bytes);
  Row segment = {.name = "payload_segment" + suffix, .title = "payload, shared memory", .amount = size};
  if (!is_local) {
    segment.standing = Standing::kNoWay;
    segment.why = "segments need the daemon's unix socket: give --address unix:/path";
    tell(rows_.emplace_back(std::move(segment)));
    return;
  }
  Row& shared = measure_on("PROCESS", std::move(segment), ways(sum_through_segment));
  compare(shared, inline_bytes);
  tell(shared);
}

void Cheatsheet::memory() {
  Row& row =
      measure_on("PROCESS", {.name = "worker_memory", .title = "memory of an idle worker", .amount = "PSS, median"},
                 [&](Row& kept, const Executor&) {
                   std::vector<double> sizes;
                   for (const client::WorkerInfo& worker : client_.workers(kept.more["pool"], true)) {
                     if (worker.state != "IDLE" || worker.pss_bytes <= 0) continue;
                     sizes.push_back(static_cast<double>(worker.pss_bytes));
                   }
                   kept.more["workers"] = sizes.size();
                   if (sizes.empty()) {
                     kept.standing = Standing::kNoWay;
                     kept.why = "the daemon told the PSS of no idle worker: fut worker ls shows what it may see";
                     return;
                   }
                   kept.bytes = static_cast<std::int64_t>(median(std::move(sizes)));
                 });
  tell(row);
}

void Cheatsheet::cache() {
  const std::string rounds = std::to_string(sizes_.cpu_rounds);
  const client::PoolInfo* const pool = pool_of_mode(pools_, "PROCESS");
  double computed = 0;
  Row& row = measure_on("PROCESS", {.name = "cache", .title = "cached against computed", .amount = rounds + " squares"},
                        [&](Row& kept, const Executor&) {
                          const Executor executor = client_.executor({.pool = pool->name, .cache = true});
                          computed = timed([&] { static_cast<void>(executor.submit("sum_squares", rounds).result()); });
                          client::Outcome again;
                          kept.seconds = timed([&] { again = executor.submit("sum_squares", rounds).outcome(); });
                          if (!again.from_cache) throw WrongResult("the second call was not answered from the cache");
                        });
  if (row.standing == Standing::kMeasured) {
    row.ratio = computed / row.seconds;
    row.ratio_to = "computed";
    row.more["computed_seconds"] = computed;
  }
  tell(row);
}

void Cheatsheet::rate() {
  constexpr const char* kQueue = "fut-bench-rate";
  Row& row = measure_on("PROCESS",
                        {.name = "rate", .title = "rate limit, kept to", .amount = times(sizes_.rate_jobs, "starts")},
                        [&](Row& kept, const Executor&) {
                          static_cast<void>(client_.create_queue(kQueue, at_most(sizes_.rate_per_second)));
                          const Executor executor = client_.executor({.queue = kQueue, .pool = kept.more["pool"]});
                          std::vector<Future> futures;
                          for (std::uint32_t i = 0; i < sizes_.rate_jobs; ++i)
                            futures.push_back(executor.submit("noop", ""));
                          for (const Future& future : futures) static_cast<void>(future.result());
                          const double started = starts_per_second(client_, futures);
                          kept.said = rate_text(started, sizes_.rate_per_second);
                          kept.more["asked_per_second"] = sizes_.rate_per_second;
                          kept.more["started_per_second"] = started;
                        });
  tell(row);
}

}  // namespace futured::cli::cheatsheet
