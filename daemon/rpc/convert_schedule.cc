#include "daemon/rpc/convert_schedule.h"
#include "daemon/rpc/cache_key.h"

#include <string>
#include <utility>

#include "base/limits.h"
#include "base/payload.h"

namespace futured::rpc {

namespace {

Status add_timing(const api::Schedule& asked, ScheduleRow& row) {
  if (asked.cron().empty() == (asked.every_ms() == 0)) {
    return invalid("schedule.cron", asked.cron().empty() ? "say when it fires: a cron line, or every_ms"
                                                         : "refused beside every_ms: say one of the two");
  }
  if (!asked.cron().empty()) {
    if (asked.cron().size() > limits::kCronBytesMax) {
      return too_much("schedule.cron",
                      std::to_string(asked.cron().size()) + " bytes are over " + std::to_string(limits::kCronBytesMax));
    }
    const auto cron = Cron::parse(asked.cron());
    if (!cron.ok()) return invalid("schedule.cron", cron.error().message);
    row.cron = asked.cron();
  } else {
    if (asked.every_ms() < limits::kScheduleEveryMsMin) {
      return invalid("schedule.every_ms", std::to_string(asked.every_ms()) + " is under " +
                                              std::to_string(limits::kScheduleEveryMsMin) +
                                              ": what is to run more often than that is a loop, not a schedule");
    }
    if (asked.every_ms() > limits::kTimeoutMsMax) {
      return too_much("schedule.every_ms",
                      std::to_string(asked.every_ms()) + " ms are over " + std::to_string(limits::kTimeoutMsMax));
    }
    if (!asked.time_zone().empty()) {
      return invalid("schedule.time_zone",
                     "an interval is the same in every place: leave it out, or write a cron line");
    }
    row.every = std::chrono::milliseconds(asked.every_ms());
  }
  row.zone = asked.time_zone();
  return {};
}

Status add_policies(const api::Schedule& asked, ScheduleRow& row) {
  if (!api::CatchUpPolicy_IsValid(asked.catch_up())) {
    return invalid("schedule.catch_up", std::to_string(asked.catch_up()) + " is not known");
  }
  if (!api::OverlapPolicy_IsValid(asked.overlap())) {
    return invalid("schedule.overlap", std::to_string(asked.overlap()) + " is not known");
  }
  row.catch_up = static_cast<CatchUp>(asked.catch_up());
  row.overlap = static_cast<Overlap>(asked.overlap());
  if (row.catch_up == CatchUp::kAll) {
    if (asked.catch_up_max() == 0) return invalid("schedule.catch_up_max", "say how many are made up for at most");
    if (asked.catch_up_max() > limits::kCatchUpMax) {
      return too_much("schedule.catch_up_max",
                      std::to_string(asked.catch_up_max()) + " is over " + std::to_string(limits::kCatchUpMax));
    }
  } else if (asked.catch_up_max() != 0) {
    return invalid("schedule.catch_up_max", "it bounds CATCH_UP_POLICY_ALL, which is not asked for");
  }
  row.catch_up_max = asked.catch_up_max();
  if (asked.jitter_ms() < 0) return invalid("schedule.jitter_ms", std::to_string(asked.jitter_ms()) + " is negative");
  if (asked.jitter_ms() > limits::kScheduleJitterMsMax) {
    return too_much("schedule.jitter_ms",
                    std::to_string(asked.jitter_ms()) + " ms are over " + std::to_string(limits::kScheduleJitterMsMax));
  }
  row.jitter = std::chrono::milliseconds(asked.jitter_ms());
  return {};
}

Status add_work(const api::Schedule& asked, const CallbackNames& names, event::PutSchedule& put) {
  if (asked.spec().start_at_us() != 0 || asked.spec().start_after_ms() != 0) {
    return invalid("schedule.spec.start_at_us", "the schedule says when its jobs start; leave it out");
  }
  if (const Status none = refuse_cache(asked.spec(), "schedule.spec"); !none.ok()) return none;
  if (const Status none = refuse_durable_segments(asked.spec(), "schedule.spec"); !none.ok()) return none;
  if (!asked.spec().dependencies().empty() || !asked.item().dependencies().empty()) {
    return unbuilt("schedule.spec.dependencies");
  }
  if (!asked.item().alias().empty()) return unbuilt("schedule.item.alias");
  auto spec = to_spec(asked.spec(), names);
  if (!spec.ok()) return spec.error().in("schedule");
  put.spec = *std::move(spec);
  if (!asked.item().idempotency_key().empty()) {
    return invalid("schedule.item.idempotency_key", "each firing is made once by itself; leave it out");
  }
  google::protobuf::RepeatedPtrField<api::Item> items;
  *items.Add() = asked.item();
  const auto payload = to_payloads(items, put.spec.task.empty(), [](SegmentId) -> Result<std::uint64_t> {
    return invalid("schedule.item.parts", "a segment does not last; send the bytes");
  });
  if (!payload.ok()) return payload.error().in("schedule");
  if (payload->names_results) {
    return unbuilt(put.spec.task.empty() ? "schedule.item.command.stdin_result_of" : "schedule.item.parts.result_of");
  }
  if (payload->bytes->size() > limits::kSchedulePayloadBytesMax) {
    return too_much("schedule.item", std::to_string(payload->bytes->size()) + " bytes are over " +
                                         std::to_string(limits::kSchedulePayloadBytesMax) +
                                         ": keep what is larger in a file that the job reads");
  }
  put.row.payload = *payload->bytes;
  return {};
}

}  // namespace

Result<event::PutSchedule> to_put(const api::Schedule& asked, const CallbackNames& names) {
  event::PutSchedule put;
  if (const Status sound = check_name(asked.name(), "schedule.name"); !sound.ok()) return sound.error();
  put.row.name = asked.name();
  put.row.paused = asked.paused();
  if (asked.last_us() != 0 || asked.next_us() != 0 || asked.last_job_id() != 0) {
    return invalid("schedule.last_us", "last_us, next_us and last_job_id are set by the server; leave them out");
  }
  if (const Status added = add_timing(asked, put.row); !added.ok()) return added.error();
  if (const Status added = add_policies(asked, put.row); !added.ok()) return added.error();
  if (const Status added = add_work(asked, names, put); !added.ok()) return added.error();
  return put;
}

void to_api(const ScheduleView& view, api::Schedule& out) {
  const ScheduleRow& row = view.row;
  out.set_name(row.name);
  out.set_cron(row.cron);
  out.set_every_ms(row.every.count() / 1'000'000);
  out.set_time_zone(row.zone);
  out.set_catch_up(static_cast<api::CatchUpPolicy>(row.catch_up));
  out.set_catch_up_max(row.catch_up_max);
  out.set_overlap(static_cast<api::OverlapPolicy>(row.overlap));
  out.set_jitter_ms(row.jitter.count() / 1'000'000);
  to_api(view.spec, *out.mutable_spec());
  if (view.spec.task.empty()) {
    to_command(row.payload, *out.mutable_item()->mutable_command());
  } else if (const auto parts = decode_parts(row.payload); parts.ok()) {
    for (const Part& part : *parts) to_api(part, /*with_bytes=*/true, *out.mutable_item()->add_parts());
  }
  out.set_paused(row.paused);
  out.set_last_us(row.last_at.us);
  out.set_last_job_id(row.last_job.value);
  if (view.next) out.set_next_us(due_at(row, *view.next).us);
}

}  // namespace futured::rpc
