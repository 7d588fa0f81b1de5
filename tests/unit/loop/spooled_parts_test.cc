#include "daemon/loop/spooled_parts.h"

#include <gtest/gtest.h>

#include "base/payload.h"

namespace futured {
namespace {

std::string one(std::string_view content_type, std::string_view bytes) {
  std::string encoded;
  append_part(encoded, {.content_type = content_type, .bytes = bytes});
  return encoded;
}

TEST(SpooledParts, AreToldWhoseFolderTheyAreIn) {
  const std::string before = one("application/json", "file=1");
  const std::string behind = one("application/x-futured-log", "end");
  const std::string spooled = "application/x-futured-stdout; file=\"7.1.1.stdout\"; total=9000";
  const auto told = with_spool_user(before + one(spooled, "tail") + behind, 1001);
  EXPECT_EQ(told, before + one(spooled + "; user=1001", "tail") + behind);
}

TEST(SpooledParts, StandBehindWhatTheWorkerSaysOfItself) {
  const std::string lie = "application/x-futured-emitted; user=1002; file=\"7.1.1.emitted\"; user=1003";
  EXPECT_EQ(with_spool_user(one(lie, ""), 1001), one(lie + "; user=1001", ""));
}

TEST(SpooledParts, OtherResultsStayAsTheyAre) {
  const std::string spooled = one("application/x-futured-stdout; file=\"7.1.1.stdout\"", "");
  EXPECT_EQ(with_spool_user(spooled, std::nullopt), std::nullopt) << "of our own user";
  EXPECT_EQ(with_spool_user(one("application/x-futured-stdout", "out"), 1001), std::nullopt);
  EXPECT_EQ(with_spool_user(one("text/plain; file=x", ""), 1001), std::nullopt);
  EXPECT_EQ(with_spool_user("damaged", 1001), std::nullopt);
  EXPECT_EQ(with_spool_user("", 1001), std::nullopt);
}

}  // namespace
}  // namespace futured
