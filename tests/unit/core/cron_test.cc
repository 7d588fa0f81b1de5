#include "daemon/core/cron.h"

#include <gmock/gmock.h>

#include <chrono>
#include <ctime>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace futured {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A zone file without a history, as `rule` says from ever to ever.
std::string zone_file(const std::string& rule, std::int32_t offset = 0) {
  const auto number = [](std::uint32_t value) {
    std::string bytes;
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xff);
    return bytes;
  };
  const auto header = [&] {
    std::string text = "TZif2" + std::string(15, '\0');
    for (const std::uint32_t count : {0u, 0u, 0u, 0u, 1u, 4u}) text += number(count);
    return text;
  };
  const std::string block = number(static_cast<std::uint32_t>(offset)) + std::string(2, '\0') + std::string("XXX\0", 4);
  return header() + block + header() + block + "\n" + rule + "\n";
}

Zone zone(const std::string& rule) {
  auto parsed = Zone::parse(zone_file(rule));
  EXPECT_TRUE(parsed.ok()) << parsed.error().message;
  return *parsed;
}

Zone berlin() { return zone("CET-1CEST,M3.5.0,M10.5.0/3"); }
Zone new_york() { return zone("EST5EDT,M3.2.0,M11.1.0"); }
Zone sydney() { return zone("AEST-10AEDT,M10.1.0,M4.1.0/3"); }
Zone dublin() { return zone("IST-1GMT0,M10.5.0,M3.5.0/1"); }
Zone kolkata() { return zone("IST-5:30"); }

UtcSeconds utc(const std::string& text) {
  std::tm fields{};
  EXPECT_NE(::strptime(text.c_str(), "%Y-%m-%d %H:%M:%S", &fields), nullptr) << text;
  return ::timegm(&fields);
}
std::string text(UtcSeconds at) {
  const std::time_t second = at;
  std::tm fields{};
  ::gmtime_r(&second, &fields);
  char out[32];
  std::strftime(out, sizeof out, "%Y-%m-%d %H:%M:%S", &fields);
  return out;
}

// The first firings after a time, all in UTC.
std::vector<std::string> firings(const std::string& line, const std::string& after, std::size_t count,
                                 const Zone& place = Zone()) {
  const auto cron = Cron::parse(line);
  EXPECT_TRUE(cron.ok()) << cron.error().message;
  std::vector<std::string> times;
  UtcSeconds at = utc(after);
  while (times.size() < count) {
    const auto next = cron->next(place, at);
    if (!next) break;
    EXPECT_GT(*next, at);
    times.push_back(text(at = *next));
  }
  return times;
}

std::string refusal(const std::string& line) {
  const auto cron = Cron::parse(line);
  return cron.ok() ? "accepted" : cron.error().message;
}

TEST(Cron, FieldsAreMinuteHourDayMonthWeekday) {
  EXPECT_THAT(firings("30 8 * * *", "2026-03-01 08:30:00", 2),
              ElementsAre("2026-03-02 08:30:00", "2026-03-03 08:30:00"));
  EXPECT_THAT(firings("0 0 1 1 *", "2026-03-01 00:00:00", 2),
              ElementsAre("2027-01-01 00:00:00", "2028-01-01 00:00:00"));
  EXPECT_THAT(firings("0 12 31 * *", "2026-01-31 12:00:00", 2),
              ElementsAre("2026-03-31 12:00:00", "2026-05-31 12:00:00"));
}

TEST(Cron, SecondsMayStandInFront) {
  EXPECT_THAT(firings("*/20 * * * * *", "2026-03-01 23:59:30", 3),
              ElementsAre("2026-03-01 23:59:40", "2026-03-02 00:00:00", "2026-03-02 00:00:20"));
  EXPECT_THAT(firings("* * * * *", "2026-03-01 10:00:00", 1), ElementsAre("2026-03-01 10:01:00"));
}

TEST(Cron, RangesStepsListsAndNames) {
  EXPECT_THAT(firings("0 8-18/5 * * *", "2026-03-01 00:00:00", 4),
              ElementsAre("2026-03-01 08:00:00", "2026-03-01 13:00:00", "2026-03-01 18:00:00", "2026-03-02 08:00:00"));
  EXPECT_THAT(firings("0,30,45-46 9 * * *", "2026-03-01 09:00:00", 4),
              ElementsAre("2026-03-01 09:30:00", "2026-03-01 09:45:00", "2026-03-01 09:46:00", "2026-03-02 09:00:00"));
  EXPECT_THAT(firings("0 9 * Feb,NOV Mon-fri", "2026-02-27 09:00:00", 2),
              ElementsAre("2026-11-02 09:00:00", "2026-11-03 09:00:00"));
  EXPECT_THAT(firings("0 0 * * 7", "2026-03-01 00:00:00", 1), ElementsAre("2026-03-08 00:00:00"));
  EXPECT_THAT(firings("0 0 * * sat-sun", "2026-03-01 00:00:00", 2),
              ElementsAre("2026-03-07 00:00:00", "2026-03-08 00:00:00"));
  EXPECT_THAT(firings("0 0 * * 5-7", "2026-03-01 00:00:00", 3),
              ElementsAre("2026-03-06 00:00:00", "2026-03-07 00:00:00", "2026-03-08 00:00:00"));
}

TEST(Cron, OneOfTwoRestrictedDaysIsEnough) {
  EXPECT_THAT(firings("0 0 13 * fri", "2026-03-01 00:00:00", 4),
              ElementsAre("2026-03-06 00:00:00", "2026-03-13 00:00:00", "2026-03-20 00:00:00", "2026-03-27 00:00:00"));
  EXPECT_THAT(firings("0 0 13 * *", "2026-03-01 00:00:00", 1), ElementsAre("2026-03-13 00:00:00"));
  // A star with a step does not restrict, as in every cron.
  EXPECT_THAT(firings("0 0 */10 * mon", "2026-03-01 00:00:00", 1), ElementsAre("2026-05-11 00:00:00"));
}

TEST(Cron, ShortForms) {
  EXPECT_THAT(firings("@hourly", "2026-03-01 00:10:00", 1), ElementsAre("2026-03-01 01:00:00"));
  EXPECT_THAT(firings("@daily", "2026-03-01 00:10:00", 1), ElementsAre("2026-03-02 00:00:00"));
  EXPECT_THAT(firings("@weekly", "2026-03-01 00:10:00", 1), ElementsAre("2026-03-08 00:00:00"));
  EXPECT_THAT(firings("@monthly", "2026-03-01 00:10:00", 1), ElementsAre("2026-04-01 00:00:00"));
  EXPECT_THAT(firings("@yearly", "2026-03-01 00:10:00", 1), ElementsAre("2027-01-01 00:00:00"));
}

TEST(Cron, LeapDays) {
  EXPECT_THAT(firings("0 0 29 2 *", "2026-01-01 00:00:00", 2),
              ElementsAre("2028-02-29 00:00:00", "2032-02-29 00:00:00"));
  EXPECT_THAT(firings("0 0 29 2 *", "2096-03-01 00:00:00", 1), ElementsAre("2104-02-29 00:00:00"));
}

TEST(Cron, ADayThatThereNeverIsNeverFires) {
  EXPECT_THAT(firings("0 0 30 2 *", "2026-01-01 00:00:00", 1), ElementsAre());
  EXPECT_THAT(firings("0 0 31 4,6,9,11 *", "2026-01-01 00:00:00", 1), ElementsAre());
}

TEST(Cron, NonsenseIsRefusedWithTheFieldAndTheWayOut) {
  EXPECT_THAT(refusal("61 * * * *"), HasSubstr("the minute \"61\": write 0 to 59"));
  EXPECT_THAT(refusal("* 24 * * *"), HasSubstr("the hour \"24\": write 0 to 23"));
  EXPECT_THAT(refusal("* * 0 * *"), HasSubstr("the day of month \"0\": write 1 to 31"));
  EXPECT_THAT(refusal("* * * 13 *"), HasSubstr("the month \"13\": write 1 to 12, or jan to dec"));
  EXPECT_THAT(refusal("* * * * 8"), HasSubstr("the day of week \"8\": write 0 to 7, or sun to sat"));
  EXPECT_THAT(refusal("60 * * * * *"), HasSubstr("the second \"60\""));
  EXPECT_THAT(refusal("*/0 * * * *"), HasSubstr("a step is a number over 0"));
  EXPECT_THAT(refusal("*/60 * * * *"), HasSubstr("leads out of its range"));
  EXPECT_THAT(refusal("5/15 * * * *"), HasSubstr("write 5-59/15"));
  EXPECT_THAT(refusal("30-10 * * * *"), HasSubstr("a range ascends"));
  EXPECT_THAT(refusal("1, * * * *"), HasSubstr("the minute \"\""));
  EXPECT_THAT(refusal("1- * * * *"), HasSubstr("the minute \"1-\""));
  EXPECT_THAT(refusal("-1 * * * *"), HasSubstr("the minute \"-1\""));
  EXPECT_THAT(refusal("1.5 * * * *"), HasSubstr("the minute \"1.5\""));
  EXPECT_THAT(refusal("99999999999999999999 * * * *"), HasSubstr("the minute"));
  EXPECT_THAT(refusal("* * * * monday"), HasSubstr("the day of week"));
  EXPECT_THAT(refusal("* * * *"), HasSubstr("4 fields"));
  EXPECT_THAT(refusal(""), HasSubstr("0 fields"));
  EXPECT_THAT(refusal("* * * * * * *"), HasSubstr("7 fields"));
  EXPECT_THAT(refusal("@every 5m"), HasSubstr("2 fields"));
  EXPECT_THAT(refusal("@reboot"), HasSubstr("is no short form"));
}

TEST(CronInZones, FiresByTheClocksOfThePlace) {
  EXPECT_THAT(firings("0 8 * * *", "2026-01-15 00:00:00", 1, berlin()), ElementsAre("2026-01-15 07:00:00"));
  EXPECT_THAT(firings("0 8 * * *", "2026-07-15 00:00:00", 1, berlin()), ElementsAre("2026-07-15 06:00:00"));
  EXPECT_THAT(firings("0 8 * * *", "2026-01-15 00:00:00", 1, new_york()), ElementsAre("2026-01-15 13:00:00"));
  EXPECT_THAT(firings("0 8 * * *", "2026-01-15 00:00:00", 1, sydney()), ElementsAre("2026-01-15 21:00:00"));
  EXPECT_THAT(firings("0 8 * * *", "2026-01-15 00:00:00", 1, kolkata()), ElementsAre("2026-01-15 02:30:00"));
  EXPECT_THAT(firings("0 8 * * *", "2026-07-15 00:00:00", 1, dublin()), ElementsAre("2026-07-15 07:00:00"));
}

// 29 March 2026, 02:00 → 03:00 in Berlin, at 01:00 UTC.
TEST(CronInZones, ATimeThatIsSkippedFiresOnceRightAfterTheGap) {
  EXPECT_THAT(firings("30 2 * * *", "2026-03-28 12:00:00", 2, berlin()),
              ElementsAre("2026-03-29 01:00:00", "2026-03-30 00:30:00"));
  EXPECT_THAT(firings("*/20 2 * * *", "2026-03-29 00:00:00", 2, berlin()),
              ElementsAre("2026-03-29 01:00:00", "2026-03-30 00:00:00"))
      << "all that is skipped fires as one";
  EXPECT_THAT(firings("30 * * * *", "2026-03-29 00:00:00", 3, berlin()),
              ElementsAre("2026-03-29 00:30:00", "2026-03-29 01:00:00", "2026-03-29 01:30:00"));
  // 8 March 2026, 02:00 → 03:00 in New York, at 07:00 UTC.
  EXPECT_THAT(firings("15 2 * * *", "2026-03-08 00:00:00", 1, new_york()), ElementsAre("2026-03-08 07:00:00"));
  // 4 October 2026, 02:00 → 03:00 in Sydney, at 16:00 UTC the day before.
  EXPECT_THAT(firings("15 2 4 10 *", "2026-10-01 00:00:00", 1, sydney()), ElementsAre("2026-10-03 16:00:00"));
}

// 25 October 2026, 03:00 → 02:00 in Berlin, at 01:00 UTC.
TEST(CronInZones, ATimeThatIsShownTwiceFiresTheFirstTime) {
  EXPECT_THAT(firings("30 2 * * *", "2026-10-24 12:00:00", 2, berlin()),
              ElementsAre("2026-10-25 00:30:00", "2026-10-26 01:30:00"));
  EXPECT_THAT(firings("0 * * * *", "2026-10-24 23:30:00", 3, berlin()),
              ElementsAre("2026-10-25 00:00:00", "2026-10-25 02:00:00", "2026-10-25 03:00:00"));
  // Asked in the middle of the second time.
  EXPECT_THAT(firings("45 2 * * *", "2026-10-25 01:30:00", 1, berlin()), ElementsAre("2026-10-26 01:45:00"));
  // 1 November 2026, 02:00 → 01:00 in New York, at 06:00 UTC.
  EXPECT_THAT(firings("30 1 * * *", "2026-11-01 00:00:00", 2, new_york()),
              ElementsAre("2026-11-01 05:30:00", "2026-11-02 06:30:00"));
}

TEST(Zone, SkippedAndDoubledTimes) {
  const Zone place = berlin();
  EXPECT_EQ(text(place.when(utc("2026-03-29 01:59:59"))), "2026-03-29 00:59:59");
  EXPECT_EQ(text(place.when(utc("2026-03-29 02:00:00"))), "2026-03-29 01:00:00");
  EXPECT_EQ(text(place.when(utc("2026-03-29 02:59:59"))), "2026-03-29 01:00:00");
  EXPECT_EQ(text(place.when(utc("2026-03-29 03:00:00"))), "2026-03-29 01:00:00");
  EXPECT_EQ(text(place.when(utc("2026-10-25 02:00:00"))), "2026-10-25 00:00:00");
  EXPECT_EQ(text(place.when(utc("2026-10-25 02:59:59"))), "2026-10-25 00:59:59");
  EXPECT_EQ(text(place.when(utc("2026-10-25 03:00:00"))), "2026-10-25 02:00:00");
}

TEST(Zone, WhenNeverFalls) {
  for (const Zone& place : {berlin(), new_york(), sydney(), dublin()}) {
    UtcSeconds last = INT64_MIN;
    for (ClockSeconds shown = utc("2026-01-01 00:00:00"); shown < utc("2027-01-01 00:00:00"); shown += 600) {
      const UtcSeconds at = place.when(shown);
      ASSERT_GE(at, last) << text(shown);
      last = at;
    }
  }
}

TEST(Zone, RulesByDayOfTheYear) {
  const Zone place = zone("<-03>3<-02>,J60/0,J300/0");
  EXPECT_EQ(place.offset_at(utc("2028-03-01 02:59:59")), -3 * 3600);
  EXPECT_EQ(place.offset_at(utc("2028-03-01 03:00:00")), -2 * 3600) << "J60 is the first of March in leap years, too";
  EXPECT_EQ(place.offset_at(utc("2027-03-01 03:00:00")), -2 * 3600);
  EXPECT_EQ(zone("<+0530>-5:30").offset_at(0), 19'800);
}

TEST(Zone, FilesThatAreNoneAreRefused) {
  EXPECT_FALSE(Zone::parse("").ok());
  EXPECT_FALSE(Zone::parse("no zone at all, but long enough to hold a header of one, is it not").ok());
  const std::string sound = zone_file("CET-1CEST,M3.5.0,M10.5.0/3");
  for (std::size_t bytes = 0; bytes < sound.size(); ++bytes) {
    EXPECT_FALSE(Zone::parse(sound.substr(0, bytes)).ok()) << bytes;
  }
  for (const char* rule :
       {"C", "CET", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.0.0,M10.5.0",
        "CET-1CEST,M3.5.0,M10.5.0/3x", "CET-999", "<CET-1", "CET-1CEST,J0,J10"}) {
    EXPECT_FALSE(Zone::parse(zone_file(rule)).ok()) << rule;
  }
}

// What the machine itself has: the history of a place, and glibc's word on it.
TEST(Zone, AgreesWithTheFilesOfTheMachine) {
  std::ifstream file("/usr/share/zoneinfo/Europe/Berlin", std::ios::binary);
  if (!file) GTEST_SKIP() << "no time zones are installed here";
  const auto parsed = Zone::parse(std::string(std::istreambuf_iterator<char>(file), {}));
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->offset_at(utc("1890-01-01 00:00:00")), 3208) << "its own time";
  EXPECT_EQ(parsed->offset_at(utc("1945-07-01 00:00:00")), 3 * 3600) << "two hours of summer";
  EXPECT_EQ(parsed->offset_at(utc("1979-07-01 00:00:00")), 3600) << "none yet";
  EXPECT_EQ(parsed->offset_at(utc("1980-07-01 00:00:00")), 7200);
  EXPECT_EQ(parsed->offset_at(utc("2026-03-29 00:59:59")), 3600);
  EXPECT_EQ(parsed->offset_at(utc("2026-03-29 01:00:00")), 7200);
  EXPECT_EQ(parsed->offset_at(utc("2100-07-01 00:00:00")), 7200) << "by its rule";
}

}  // namespace
}  // namespace futured
