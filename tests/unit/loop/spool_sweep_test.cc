#include "daemon/loop/spool_sweep.h"

#include <gtest/gtest.h>

namespace futured {
namespace {

TEST(SpoolFile, IsNamedByItsJob) {
  for (const char* const name :
       {"42.1.3.stdout", "42.1.3.stderr", "42.1.3.emitted", "42.1.3.log", "42.1.3.stacks", "42.1.3.stacks.part"}) {
    EXPECT_EQ(job_of_spool_file(name), JobId{42}) << name;
  }
}

TEST(SpoolFile, AnythingElseIsNone) {
  for (const char* const name : {"", ".", "..", "users", "42", "42.1.3", "42.1.3.", "42.1.3.core", "42.1.stdout",
                                 "42..3.stdout", ".1.3.stdout", "42.1.3.4.stdout", "x42.1.3.stdout", "-42.1.3.stdout",
                                 "42.1.3.stdoutx", "0.1.1.stdout", "99999999999999999999999.1.1.stdout"}) {
    EXPECT_FALSE(job_of_spool_file(name).is_set()) << name;
  }
}

}  // namespace
}  // namespace futured
