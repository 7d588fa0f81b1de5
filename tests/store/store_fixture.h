// Every kind of store with a few words in it, for the tests of what all of them promise. The SQLite store is there
// twice, once with its bounds turned so low that the low-water mark, the stragglers and the checkpoints are at work
// too.
#pragma once

#include <gtest/gtest.h>

#include <functional>

#include "daemon/store/sqlite_store.h"
#include "tests/store/rows_for_tests.h"
#include "tests/store/scratch.h"

namespace futured {

using Ids = std::vector<std::uint64_t>;

struct Kind {
  const char* name;
  std::function<Result<std::unique_ptr<Store>>(const std::string& path)> open;
  bool lasts;  // what it holds is found again after it was closed
};

inline SqliteOptions small_bounds() {
  SqliteOptions options;
  options.checkpoint_pages = 4;
  options.mark_step_ids = 3;
  options.tail_ids_max = 8;
  options.reserve_bytes = 0;
  options.keys_per_bucket = 2;
  return options;
}

inline const Kind kKinds[] = {
    {"Memory", [](const std::string&) -> Result<std::unique_ptr<Store>> { return make_memory_store(); }, false},
    {"Sqlite", [](const std::string& path) { return open_sqlite_store(path); }, true},
    {"SqliteSmall", [](const std::string& path) { return open_sqlite_store(path, small_bounds()); }, true},
};

class StoreTest : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    open();
    Batch words;
    words.specs.push_back(spec_row(1));
    words.specs.push_back(spec_row(2, "other"));
    words.queues.push_back({QueueId{1}, "default", Discipline::kFifo, false});
    words.queues.push_back({QueueId{2}, "other", Discipline::kLifo, true});
    words.pools.push_back({PoolId{1}, "default"});
    words.pools.push_back({PoolId{2}, "command"});
    commit(words);
  }

  void open() {
    auto opened = GetParam().open(scratch_.database());
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    store_ = *std::move(opened);
  }

  // A store that does not last stays as it is: what it says after "reopening" is what it said before.
  void reopen() {
    if (!GetParam().lasts) return;
    store_.reset();
    open();
  }

  void commit(const Batch& batch) {
    const auto error = store_->commit(batch);
    ASSERT_FALSE(error.has_value()) << error->error.message;
  }

  Snapshot snapshot() {
    auto snapshot = store_->snapshot();
    EXPECT_TRUE(snapshot.ok()) << snapshot.error().message;
    return *std::move(snapshot);
  }

  ClaimAnswer claim(const Claim& claim) {
    auto answer = store_->claim(claim);
    EXPECT_TRUE(answer.ok()) << answer.error().message;
    return *std::move(answer);
  }
  Ids claimed(std::uint32_t queue, std::uint32_t pool, std::optional<OrderKey> after = {}, std::uint32_t jobs = 100) {
    return ids_of(claim({QueueId{queue}, PoolId{pool}, after, jobs, 1'000'000}));
  }

  StoredJob load(std::uint64_t id) {
    auto answer = store_->load({JobId{id}});
    EXPECT_TRUE(answer.ok() && answer->jobs.size() == 1u);
    return answer->jobs.at(0);
  }

  JobRecord get(std::uint64_t id) {
    auto record = store_->reader()->get(JobId{id}, true);
    EXPECT_TRUE(record.ok() && record->has_value());
    return **std::move(record);
  }

  Scratch scratch_;
  std::unique_ptr<Store> store_;
};

}  // namespace futured
