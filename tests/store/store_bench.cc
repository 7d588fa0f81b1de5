// What the store alone can do on this machine, the ceiling of everything above it: one JSON object a line on standard
// output. usage: store_bench [jobs [directory]]; the directory should lie on a real disk.
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "daemon/store/store.h"

namespace futured {
namespace {

constexpr std::uint64_t kJobsPerCommit = 4'096;
constexpr std::size_t kPayloadBytes = 100;

double now_s() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

[[noreturn]] void fail(const Error& error) {
  std::fprintf(stderr, "store_bench: %s\n", error.message.c_str());
  std::exit(1);
}

std::uint64_t bytes_on_disk(const std::string& path) {
  std::uint64_t bytes = 0;
  for (const char* suffix : {"", "-wal"}) {
    std::error_code missing;
    const auto size = std::filesystem::file_size(path + suffix, missing);
    if (!missing) bytes += size;
  }
  return bytes;
}

double cpu_s() {
  timespec spent{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) * 1e-9;
}

long resident_kib() {
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  long total = 0;
  long resident = 0;
  if (file != nullptr) {
    if (std::fscanf(file, "%ld %ld", &total, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

Ending no_op(WallTime submitted) {
  Ending ending;
  ending.state = JobState::kSucceeded;
  ending.attempt = 1;
  ending.epoch = Epoch{12};
  ending.started_at = WallTime{submitted.us + 3'000};
  ending.finished_at = WallTime{submitted.us + 3'090};
  ending.result = "\x01\x02\x03\x04\x05\x06\x07\x08";
  return ending;
}

class Bench {
 public:
  Bench(std::string path, std::uint64_t jobs) : path_(std::move(path)), jobs_(jobs) {
    payloads_ = std::make_shared<const std::string>(kJobsPerCommit * kPayloadBytes, 'p');
    open();
    Batch words;
    words.specs.push_back({SpecId{1}, {}});
    words.queues.push_back({QueueId{1}, "default", Discipline::kFifo, false});
    words.pools.push_back({PoolId{1}, "default"});
    commit(words);
  }

  void folded() {
    timed("folded", [&](Batch& batch, std::uint64_t id) {
      batch.jobs.push_back(job(id));
      batch.jobs.back().ending = no_op(batch.jobs.back().submitted_at);
    });
  }

  void unfolded() {
    const std::uint64_t first = next_;
    timed("accepted", [&](Batch& batch, std::uint64_t id) { batch.jobs.push_back(job(id)); });
    next_ = first;
    timed("ended", [&](Batch& batch, std::uint64_t id) { batch.outcomes.push_back({JobId{id}, no_op({start_us_})}); });
  }

  // A job's row and, as other batches' outcomes do, the ending of an earlier one.
  void unfolded_mixed() {
    const std::uint64_t first = next_;
    timed("unfolded", [&](Batch& batch, std::uint64_t id) {
      batch.jobs.push_back(job(id));
      if (id >= first + kJobsPerCommit) batch.outcomes.push_back({JobId{id - kJobsPerCommit}, no_op({start_us_})});
    });
    Batch rest;
    for (std::uint64_t id = next_ - std::min(kJobsPerCommit, jobs_); id < next_; ++id) {
      rest.outcomes.push_back({JobId{id}, no_op({start_us_})});
    }
    commit(rest);
  }

  void backlog() {
    const std::uint64_t first = next_;
    const std::uint64_t before = bytes_on_disk(path_);
    timed("queued", [&](Batch& batch, std::uint64_t id) {
      batch.jobs.push_back(job(id));
      batch.backlog_added.push_back(key(id));
    });
    print("queued_bytes_per_job", static_cast<double>(bytes_on_disk(path_) - before) / static_cast<double>(jobs_));
    restart("restart_queued_s");
    claims();
    next_ = first;
    timed("drained", [&](Batch& batch, std::uint64_t id) {
      batch.outcomes.push_back({JobId{id}, no_op({start_us_})});
      batch.backlog_removed.push_back(key(id));
    });
    print("drained_bytes_per_job", static_cast<double>(bytes_on_disk(path_) - before) / static_cast<double>(jobs_));
    restart("restart_drained_s");
  }

  // What retention costs: jobs that ended, a tenth of them in options of their own, each tenth with a key.
  void trimmed() {
    std::uint64_t spec = 1;
    for (std::uint64_t done = 0; done < jobs_;) {
      Batch batch;
      for (std::uint64_t i = 0; i < kJobsPerCommit && done < jobs_; ++i, ++done) {
        batch.jobs.push_back(job(next_++));
        JobRow& row = batch.jobs.back();
        row.ending.state = JobState::kSucceeded;
        row.ending.attempt = 1;
        row.ending.finished_at = row.submitted_at;
        if (done % 10 != 0) continue;
        batch.specs.push_back({SpecId{++spec}, JobSpec{}});
        row.spec = SpecId{spec};
        batch.keys_added.push_back({{1000, "key " + std::to_string(done)}, row.id, 1, 7});
      }
      commit(batch);
      Batch forgotten;
      for (const SpecRow& row : batch.specs) forgotten.specs_forgotten.push_back({row.id, JobId{next_ - 1}});
      commit(forgotten);
    }
    TrimQuestion question;
    question.policy = {std::chrono::seconds(1), std::chrono::seconds(1), 0, 0};
    question.now = WallTime{start_us_} + std::chrono::hours(24);
    std::uint64_t removed = 0;
    double worst = 0;
    const double start = now_s();
    for (bool goes_on = true; goes_on;) {
      const double step = now_s();
      const auto answer = store_->trim(question);
      if (!answer.ok()) fail(answer.error());
      worst = std::max(worst, now_s() - step);
      removed += answer->removed.size();
      goes_on = answer->more;
      store_->tend();
    }
    print("trimmed_jobs_per_s", static_cast<double>(removed) / (now_s() - start));
    print("worst_trim_step_ms", worst * 1e3);
    print("trimmed_bytes_left", static_cast<double>(bytes_on_disk(path_)));
  }

  void one_at_a_time() {
    const double start = now_s();
    constexpr int kCommits = 500;
    for (int i = 0; i < kCommits; ++i) {
      Batch batch;
      batch.jobs.push_back(job(next_++));
      commit(batch);
    }
    print("single_commit_us", (now_s() - start) * 1e6 / kCommits);
  }

 private:
  void open() {
    auto opened = open_sqlite_store(path_);
    if (!opened.ok()) fail(opened.error());
    store_ = *std::move(opened);
  }

  void commit(const Batch& batch) {
    if (const auto error = store_->commit(batch)) fail(error->error);
  }

  JobRow job(std::uint64_t id) const {
    JobRow row;
    row.id = JobId{id};
    row.spec = SpecId{1};
    row.owner = 1000;
    row.submitted_at = WallTime{start_us_ + static_cast<std::int64_t>(id)};
    row.payload = {payloads_, static_cast<std::uint32_t>(id % kJobsPerCommit * kPayloadBytes), kPayloadBytes};
    return row;
  }

  static BacklogKey key(std::uint64_t id) {
    return {QueueId{1}, PoolId{1}, order_key(Discipline::kFifo, 0, JobId{id})};
  }

  template <typename Fill>
  void timed(const char* name, const Fill& fill) {
    double in_store = 0;
    double worst = 0;
    double cpu = 0;
    for (std::uint64_t done = 0; done < jobs_;) {
      Batch batch;
      for (std::uint64_t i = 0; i < kJobsPerCommit && done < jobs_; ++i, ++done) fill(batch, next_++);
      const double cpu_before = cpu_s();
      const double start = now_s();
      commit(batch);
      cpu += cpu_s() - cpu_before;
      const double took = now_s() - start;
      in_store += took;
      worst = std::max(worst, took);
    }
    const auto count = static_cast<double>(jobs_);
    std::printf(
        "{\"bench\":\"store\",\"case\":\"%s\",\"jobs\":%.0f,\"jobs_per_s\":%.0f,\"cpu_us_per_job\":%.2f,"
        "\"worst_commit_ms\":%.1f}\n",
        name, count, count / in_store, cpu * 1e6 / count, worst * 1e3);
    std::fflush(stdout);
  }

  void claims() {
    const double start = now_s();
    std::uint64_t jobs = 0;
    std::optional<OrderKey> after;
    for (;;) {
      auto answer = store_->claim({QueueId{1}, PoolId{1}, after, kJobsPerCommit, 1 << 30});
      if (!answer.ok()) fail(answer.error());
      if (answer->jobs.empty()) break;
      jobs += answer->jobs.size();
      after = answer->jobs.back().key;
    }
    print("claimed_jobs_per_s", static_cast<double>(jobs) / (now_s() - start));
  }

  void restart(const char* name) {
    store_.reset();
    const double start = now_s();
    open();
    const auto snapshot = store_->snapshot();
    if (!snapshot.ok()) fail(snapshot.error());
    print(name, now_s() - start);
  }

  void print(const char* name, double value) const {
    std::printf("{\"bench\":\"store\",\"case\":\"%s\",\"value\":%.3f,\"rss_mib\":%.0f}\n", name, value,
                static_cast<double>(resident_kib()) / 1024);
    std::fflush(stdout);
  }

  std::string path_;
  std::uint64_t jobs_;
  std::unique_ptr<Store> store_;
  std::shared_ptr<const std::string> payloads_;
  std::uint64_t next_ = 1;
  std::int64_t start_us_ = 1'790'000'000'000'000;
};

}  // namespace
}  // namespace futured

int main(int argc, char** argv) {
  const std::uint64_t jobs = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 500'000;
  std::string folder = std::string(argc > 2 ? argv[2] : "/tmp") + "/store-bench-XXXXXX";
  if (jobs == 0 || ::mkdtemp(folder.data()) == nullptr) {
    std::fprintf(stderr, "usage: store_bench [jobs [directory]]\n");
    return 2;
  }
  using futured::Bench;
  const auto path = [&](const char* name) { return folder + "/" + name; };
  Bench(path("folded.db"), jobs).folded();
  Bench(path("unfolded.db"), jobs).unfolded_mixed();
  Bench(path("split.db"), jobs).unfolded();
  Bench(path("backlog.db"), jobs).backlog();
  Bench(path("trimmed.db"), jobs).trimmed();
  Bench(path("single.db"), jobs).one_at_a_time();
  std::filesystem::remove_all(folder);
}
