#include "daemon/store/open_jobs.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace futured {
namespace {

TEST(OpenJobs, FirstIsFoundAcrossGaps) {
  OpenJobs jobs;
  EXPECT_EQ(jobs.first_from(0), 0u);
  jobs.open(7);
  jobs.open(1'000'000'000'000);
  EXPECT_EQ(jobs.first_from(0), 7u);
  EXPECT_EQ(jobs.first_from(7), 7u);
  EXPECT_EQ(jobs.first_from(8), 1'000'000'000'000u);
  EXPECT_EQ(jobs.first_from(1'000'000'000'001), 0u);
  jobs.settle(7);
  EXPECT_EQ(jobs.first_from(0), 1'000'000'000'000u);
  EXPECT_EQ(jobs.newest(), 1'000'000'000'000u);
}

TEST(OpenJobs, SettlingTwiceOrWhatNeverWasChangesNothing) {
  OpenJobs jobs;
  jobs.settle(3);
  jobs.open(3);
  jobs.settle(3);
  jobs.settle(3);
  EXPECT_FALSE(jobs.contains(3));
  EXPECT_EQ(jobs.first_from(0), 0u);
}

TEST(OpenJobs, AgreesWithASet) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    OpenJobs jobs;
    std::set<std::uint64_t> model;
    std::uint64_t next = 1;
    for (int step = 0; step < 5'000; ++step) {
      switch (random() % 4) {
        case 0:
          next += random() % 100 == 0 ? random() % 5'000 : 0;
          jobs.open(next);
          model.insert(next++);
          break;
        case 1:
          jobs.open(next);
          jobs.settle(next++);
          break;
        case 2:
          if (!model.empty()) {
            jobs.settle(*model.begin());
            model.erase(model.begin());
          }
          break;
        case 3: {
          const std::uint64_t id = random() % next;
          ASSERT_EQ(jobs.contains(id), model.contains(id));
          const auto first = model.lower_bound(id);
          ASSERT_EQ(jobs.first_from(id), first == model.end() ? 0 : *first);
          if (random() % 4 == 0) {
            jobs.settle(id);
            model.erase(id);
          }
          break;
        }
      }
    }
  }
}

}  // namespace
}  // namespace futured
