#include "daemon/loop/zone_files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace futured {
namespace {

TEST(ZoneFiles, NoNameIsUtc) {
  for (const char* name : {"", "UTC"}) {
    const auto zone = load_zone(name, "/nowhere");
    ASSERT_TRUE(zone.ok()) << zone.error().message;
    EXPECT_EQ((*zone)->offset_at(1'700'000'000), 0);
  }
}

TEST(ZoneFiles, NoNameLeadsOutOfTheirDirectory) {
  for (const char* name :
       {"../../etc/passwd", "/etc/passwd", ".", "Europe", "Europe/Nowhere", "Europe/Berlin\n", "a b"}) {
    const auto zone = load_zone(name);
    ASSERT_FALSE(zone.ok()) << name;
    EXPECT_EQ(zone.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(zone.error().message.find("no time zone"), std::string::npos) << zone.error().message;
  }
}

TEST(ZoneFiles, WhatIsNoZoneFileIsRefused) {
  const std::string folder = testing::TempDir() + "zone_files_test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/Nonsense") << "no zone";
  EXPECT_FALSE(load_zone("Nonsense", folder).ok());
  std::filesystem::remove_all(folder);
}

TEST(ZoneFiles, OfSchedulesThoseThatThereAre) {
  Snapshot snapshot;
  for (const char* name : {"", "Europe/Nowhere"}) {
    StoredSchedule schedule;
    schedule.row.zone = name;
    snapshot.schedules.push_back(schedule);
  }
  const auto zones = zones_of(snapshot);
  EXPECT_EQ(zones.size(), 1u);
  EXPECT_TRUE(zones.contains(""));
}

}  // namespace
}  // namespace futured
