#include "daemon/rpc/convert_schedule.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/limits.h"

namespace futured::rpc {
namespace {

api::Schedule nightly() {
  api::Schedule schedule;
  schedule.set_name("nightly");
  schedule.set_cron("0 2 * * *");
  schedule.set_time_zone("Europe/Berlin");
  schedule.mutable_spec()->set_task("work");
  schedule.mutable_item()->add_parts()->set_data("payload");
  return schedule;
}

// The field that is refused; "": none is.
std::string refused(const std::function<void(api::Schedule&)>& change) {
  api::Schedule schedule = nightly();
  change(schedule);
  const auto put = to_put(schedule, {});
  return put.ok() ? "" : field_of(put.error());
}

TEST(Schedule, WhatIsAskedIsTold) {
  api::Schedule asked = nightly();
  asked.set_catch_up(api::CATCH_UP_POLICY_ALL);
  asked.set_catch_up_max(7);
  asked.set_overlap(api::OVERLAP_POLICY_REPLACE);
  asked.set_jitter_ms(30'000);
  asked.set_paused(true);
  const auto put = to_put(asked, {});
  ASSERT_TRUE(put.ok()) << put.error().message;
  ScheduleRow row = put->row;
  row.last_at = WallTime{5};
  row.last_job = JobId{9};
  api::Schedule told;
  to_api(ScheduleView{row, put->spec, std::nullopt}, told);
  EXPECT_EQ(told.name(), "nightly");
  EXPECT_EQ(told.cron(), asked.cron());
  EXPECT_EQ(told.time_zone(), "Europe/Berlin");
  EXPECT_EQ(told.catch_up(), api::CATCH_UP_POLICY_ALL);
  EXPECT_EQ(told.catch_up_max(), 7u);
  EXPECT_EQ(told.overlap(), api::OVERLAP_POLICY_REPLACE);
  EXPECT_EQ(told.jitter_ms(), 30'000);
  EXPECT_TRUE(told.paused());
  EXPECT_EQ(told.spec().task(), "work");
  ASSERT_EQ(told.item().parts_size(), 1);
  EXPECT_EQ(told.item().parts(0).data(), "payload");
  EXPECT_EQ(told.last_us(), 5);
  EXPECT_EQ(told.last_job_id(), 9u);
  EXPECT_EQ(told.next_us(), 0);
}

TEST(Schedule, ACommandIsToldWithItsWords) {
  api::Schedule asked = nightly();
  asked.mutable_spec()->clear_task();
  asked.clear_item();
  asked.mutable_item()->mutable_command()->add_argv("true");
  const auto put = to_put(asked, {});
  ASSERT_TRUE(put.ok()) << put.error().message;
  api::Schedule told;
  to_api(ScheduleView{put->row, put->spec, WallTime{7}}, told);
  ASSERT_EQ(told.item().command().argv_size(), 1);
  EXPECT_EQ(told.item().command().argv(0), "true");
  EXPECT_EQ(told.next_us(), 7);
}

TEST(Schedule, WhatIsWrongIsRefusedByItsField) {
  EXPECT_EQ(refused([](auto&) {}), "");
  EXPECT_EQ(refused([](auto& s) { s.clear_name(); }), "schedule.name");
  EXPECT_EQ(refused([](auto& s) { s.clear_cron(); }), "schedule.cron");
  EXPECT_EQ(refused([](auto& s) { s.set_cron("61 * * * *"); }), "schedule.cron");
  EXPECT_EQ(refused([](auto& s) { s.set_cron(std::string(limits::kCronBytesMax + 1, '*')); }), "schedule.cron");
  EXPECT_EQ(refused([](auto& s) { s.set_every_ms(60'000); }), "schedule.cron");
  const auto interval = [](api::Schedule& s, std::int64_t ms) {
    s.clear_cron();
    s.clear_time_zone();
    s.set_every_ms(ms);
  };
  EXPECT_EQ(refused([&](auto& s) { interval(s, 1'000); }), "");
  EXPECT_EQ(refused([&](auto& s) { interval(s, 999); }), "schedule.every_ms");
  EXPECT_EQ(refused([&](auto& s) { interval(s, -5); }), "schedule.every_ms");
  EXPECT_EQ(refused([&](auto& s) { interval(s, INT64_MAX); }), "schedule.every_ms");
  EXPECT_EQ(refused([&](auto& s) {
              interval(s, 1'000);
              s.set_time_zone("Europe/Berlin");
            }),
            "schedule.time_zone");
  EXPECT_EQ(refused([](auto& s) { s.set_catch_up(api::CATCH_UP_POLICY_ALL); }), "schedule.catch_up_max");
  EXPECT_EQ(refused([](auto& s) { s.set_catch_up_max(3); }), "schedule.catch_up_max");
  EXPECT_EQ(refused([](auto& s) { s.set_catch_up(static_cast<api::CatchUpPolicy>(9)); }), "schedule.catch_up");
  EXPECT_EQ(refused([](auto& s) { s.set_overlap(static_cast<api::OverlapPolicy>(9)); }), "schedule.overlap");
  EXPECT_EQ(refused([](auto& s) { s.set_jitter_ms(-1); }), "schedule.jitter_ms");
  EXPECT_EQ(refused([](auto& s) { s.set_jitter_ms(INT64_MAX); }), "schedule.jitter_ms");
  EXPECT_EQ(refused([](auto& s) { s.set_next_us(1); }), "schedule.last_us");
  EXPECT_EQ(refused([](auto& s) { s.mutable_spec()->set_start_after_ms(1); }), "schedule.spec.start_at_us");
  EXPECT_EQ(refused([](auto& s) { s.mutable_item()->set_idempotency_key("k"); }), "schedule.item.idempotency_key");
  EXPECT_EQ(refused([](auto& s) {
              s.mutable_item()->mutable_parts(0)->set_data(std::string(limits::kSchedulePayloadBytesMax + 1, 'x'));
            }),
            "schedule.item");
}

}  // namespace
}  // namespace futured::rpc
