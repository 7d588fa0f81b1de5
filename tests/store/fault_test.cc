// The SQLite store on a disk that fills up, fails to sync, or loses its power.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/store/sqlite_store.h"
#include "tests/store/fault_vfs.h"
#include "tests/store/rows_for_tests.h"
#include "tests/store/scratch.h"

namespace futured {
namespace {

namespace fs = std::filesystem;

SqliteOptions on(const FaultDisk&, std::int64_t reserve_bytes = 0) {
  SqliteOptions options;
  options.vfs = FaultDisk::name();
  options.checkpoint_pages = 20;
  options.reserve_bytes = reserve_bytes;
  return options;
}

Batch batch_of(std::uint64_t first, std::uint64_t jobs, std::size_t payload_bytes = 1'000) {
  Batch batch;
  if (first == 1) batch.specs.push_back(spec_row(1));
  for (std::uint64_t id = first; id < first + jobs; ++id) {
    batch.jobs.push_back(job_row(id, 1, std::string(payload_bytes, 'p')));
  }
  return batch;
}

TEST(FullDisk, RollsTheBatchBackAndTakesItLater) {
  Scratch scratch;
  FaultDisk disk;
  const auto store = *open_sqlite_store(scratch.database(), on(disk));
  ASSERT_FALSE(store->commit(batch_of(1, 10)).has_value());
  disk.room = 100'000;
  std::uint64_t next = 11;
  std::optional<CommitError> error;
  Batch failed;
  for (; next < 2'000; next += 10) {
    failed = batch_of(next, 10);
    error = store->commit(failed);
    if (error) break;
  }
  ASSERT_TRUE(error.has_value()) << "the disk never filled";
  EXPECT_EQ(error->fault, CommitFault::kRolledBack);
  EXPECT_EQ(error->error.code, ErrorCode::kResourceExhausted);
  EXPECT_NE(error->error.message.find("free space"), std::string::npos) << error->error.message;
  EXPECT_EQ(store->snapshot()->resident.size(), next - 1) << "nothing of it is there";
  EXPECT_TRUE(store->commit(failed).has_value()) << "still full";
  disk.room = INT64_MAX;
  const auto retried = store->commit(failed);
  EXPECT_FALSE(retried.has_value()) << retried->error.message;
  EXPECT_EQ(store->snapshot()->resident.size(), next + 9);
}

TEST(FullDisk, ReserveKeepsRoomForOutcomes) {
  constexpr std::int64_t kReserve = 200'000;
  Scratch scratch;
  FaultDisk disk;
  const std::string reserve = scratch.database() + ".reserve";
  const auto store = *open_sqlite_store(scratch.database(), on(disk, kReserve));
  EXPECT_EQ(fs::file_size(reserve), static_cast<std::uintmax_t>(kReserve));
  ASSERT_FALSE(store->commit(batch_of(1, 100)).has_value());
  EXPECT_FALSE(store->short_of_space());

  bool given = false;
  disk.room = 60'000;
  disk.more_room = [&] {
    if (given || fs::exists(reserve)) return std::int64_t{0};
    given = true;
    return kReserve;
  };
  std::uint64_t next = 101;
  for (; next < 2'000 && !store->short_of_space(); next += 10) {
    const auto error = store->commit(batch_of(next, 10));
    ASSERT_FALSE(error.has_value()) << error->error.message;
  }
  ASSERT_TRUE(given) << "the disk never filled";
  // New jobs are refused from here on; what runs still ends.
  Batch outcomes;
  for (std::uint64_t id = 1; id < 101; ++id) outcomes.outcomes.push_back(outcome_row(id));
  const auto error = store->commit(outcomes);
  EXPECT_FALSE(error.has_value()) << error->error.message;
  // The real disk has room all along, so the next look finds it and fills the reserve again.
  store->tend();
  EXPECT_FALSE(store->short_of_space());
  EXPECT_TRUE(fs::exists(reserve));
}

TEST(FullDisk, AtEveryByteNothingIsLost) {
  for (std::int64_t room = 0; room < 120'000; room += 3'001) {
    SCOPED_TRACE(room);
    Scratch scratch;
    std::uint64_t stored = 10;
    {
      FaultDisk disk;
      const auto store = *open_sqlite_store(scratch.database(), on(disk));
      ASSERT_FALSE(store->commit(batch_of(1, 10)).has_value());
      disk.room = room;
      for (int i = 0; i < 30; ++i) {
        const auto error = store->commit(batch_of(stored + 1, 3));
        if (error) {
          ASSERT_EQ(error->fault, CommitFault::kRolledBack);
        } else {
          stored += 3;
        }
        store->tend();
      }
    }
    const auto store = *open_sqlite_store(scratch.database());
    EXPECT_EQ(store->snapshot()->resident.size(), stored);
  }
}

// In a child, on a file system of its own: nullptr when all is well, else what went wrong.
const char* fill_a_real_disk(const std::string& folder) {
  auto opened = open_sqlite_store(folder + "/futured.db");
  if (!opened.ok()) return "open";
  const std::unique_ptr<Store> store = *std::move(opened);
  if (store->short_of_space()) return "short of space from the beginning";
  std::uint64_t stored = 0;
  while (!store->short_of_space()) {
    if (stored > 100'000) return "the disk never filled";
    if (store->commit(batch_of(stored + 1, 100)).has_value()) return "a commit failed while there was a reserve";
    stored += 100;
  }
  Batch outcomes;
  for (std::uint64_t id = 1; id <= 5'000; ++id) outcomes.outcomes.push_back(outcome_row(id));
  if (store->commit(outcomes).has_value()) return "no room for outcomes";
  for (;;) {
    const auto error = store->commit(batch_of(stored + 1, 100));
    if (!error) {
      stored += 100;
      continue;
    }
    if (error->fault != CommitFault::kRolledBack) return "a full disk was taken for something else";
    break;
  }
  return store->snapshot()->resident.size() == stored - 5'000 ? nullptr : "jobs are missing";
}

TEST(FullDisk, OfTheKernelIsUnderstoodToo) {
  Scratch scratch;
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", scratch.folder().c_str(), "tmpfs", 0, "size=48m") != 0) {
      ::_exit(77);
    }
    const char* wrong = fill_a_real_disk(scratch.folder().string());
    if (wrong != nullptr) (void)!::write(ends[1], wrong, std::string_view(wrong).size());
    ::_exit(wrong == nullptr ? 0 : 1);
  }
  ::close(ends[1]);
  char said[200] = {};
  (void)!::read(ends[0], said, sizeof said - 1);
  ::close(ends[0]);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "may not mount a file system";
  EXPECT_EQ(status, 0) << said;
}

TEST(FailedSync, OfTheLogStopsTheStore) {
  Scratch scratch;
  FaultDisk disk;
  {
    const auto store = *open_sqlite_store(scratch.database(), on(disk));
    ASSERT_FALSE(store->commit(batch_of(1, 1)).has_value());
    disk.failing_sync = "-wal";
    const auto error = store->commit(batch_of(2, 1));
    ASSERT_TRUE(error.has_value());
    EXPECT_EQ(error->fault, CommitFault::kUnknown);
    disk.failing_sync.clear();
    const auto later = store->commit(batch_of(3, 1));
    ASSERT_TRUE(later.has_value()) << "a sync that works again says nothing about what the last one lost";
    EXPECT_EQ(later->fault, CommitFault::kUnknown);
  }
  const auto store = *open_sqlite_store(scratch.database());
  const auto resident = ids_of(store->snapshot()->resident);
  ASSERT_FALSE(resident.empty());
  EXPECT_EQ(resident[0], 1u);
  EXPECT_LE(resident.size(), 2u) << "job 2 may be there or not; job 3 is not";
}

TEST(FailedSync, OfTheDatabaseStopsTheStoreAtItsNextCommit) {
  Scratch scratch;
  FaultDisk disk;
  std::uint64_t stored = 1;
  {
    const auto store = *open_sqlite_store(scratch.database(), on(disk));
    ASSERT_FALSE(store->commit(batch_of(1, 1)).has_value());
    disk.failing_sync = ".db";
    std::optional<CommitError> error;
    while (stored < 200) {
      error = store->commit(batch_of(stored + 1, 1, 3'000));
      if (error) break;
      ++stored;
    }
    ASSERT_TRUE(error.has_value());
    EXPECT_EQ(error->fault, CommitFault::kUnknown);
    EXPECT_NE(error->error.message.find("checkpoint"), std::string::npos) << error->error.message;
  }
  const auto store = *open_sqlite_store(scratch.database());
  EXPECT_EQ(store->snapshot()->resident.size(), stored) << "the log holds what the database may have lost";
}

// A power cut before each sync in turn: what was acknowledged is there, and of what was not, all of a batch or nothing.
TEST(PowerCut, LosesNothingThatWasAcknowledged) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    Scratch scratch;
    Scratch images;
    FaultDisk disk;
    struct Cut {
      std::string folder;
      std::uint64_t acknowledged;
    };
    std::vector<Cut> cuts;
    std::uint64_t acknowledged = 0;
    disk.before_sync = [&] {
      if (acknowledged == 0) return;  // while the tables are being made
      cuts.push_back({(images.folder() / std::to_string(cuts.size())).string(), acknowledged});
      disk.write_crash_image(cuts.back().folder, random);
    };
    auto store = *open_sqlite_store(scratch.database(), on(disk));
    for (std::uint64_t round = 0; round < 40; ++round) {
      const auto error = store->commit(batch_of(acknowledged + 1, 5, random() % 2'000));
      ASSERT_FALSE(error.has_value()) << error->error.message;
      acknowledged += 5;
      if (random() % 4 == 0) store->tend();
    }
    store.reset();
    ASSERT_GT(cuts.size(), 40u);
    for (const Cut& cut : cuts) {
      auto opened = open_sqlite_store(cut.folder + "/futured.db");
      ASSERT_TRUE(opened.ok()) << opened.error().message;
      const auto snapshot = (*opened)->snapshot();
      ASSERT_TRUE(snapshot.ok()) << snapshot.error().message;
      const std::size_t found = snapshot->resident.size();
      EXPECT_TRUE(found == cut.acknowledged || found == cut.acknowledged + 5)
          << found << " jobs of " << cut.acknowledged << " in " << cut.folder;
    }
  }
}

}  // namespace
}  // namespace futured
