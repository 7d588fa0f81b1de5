// What tasks ask about jobs that they wait for.
#include <memory>
#include <string>
#include <utility>

#include "base/wait_call.h"
#include "daemon/loop/pool_events.h"

namespace futured {

namespace {

// The task asks again a little later.
Error busy_error() { return {ErrorCode::kUnavailable, "too many questions wait for the store; ask again"}; }

// Of those that this user may wait for. What was removed by retention has ended, too, but how is not known any more.
Status find_ended(StoreReader& reader, const effect::WaitTold& asked, std::uint32_t admin_uid,
                  std::vector<JobId>& ended) {
  for (const JobId id : asked.jobs) {
    const std::string name = "job " + std::to_string(id.value);
    const auto record = reader.get(id, false);
    if (!record.ok()) return record.error();
    if (!*record) return Error{ErrorCode::kNotFound, "no " + name};
    const std::uint32_t owner = (*record)->job.owner;
    if (owner != asked.who.uid && asked.who.uid != 0 && asked.who.uid != admin_uid) {
      return Error{ErrorCode::kPermissionDenied, name + " belongs to user " + std::to_string(owner)};
    }
    if (is_terminal((*record)->ending.state)) ended.push_back(id);
  }
  return {};
}

}  // namespace

void Loop::PoolEvents::on_wait_call(SlotId slot, const channel::Call& call) {
  auto asked = decode_wait_call(call.request);
  FUTURED_CHECK(asked.ok(), "the channel hands out only calls that are sound");
  const Fence& fence = call.id.fence;
  switch (asked->kind) {
    case WaitCall::Kind::kWait:
      return step(event::Wait{slot, fence, call.id.number, asked->wait, asked->lends_permits, std::move(asked->jobs)});
    case WaitCall::Kind::kGiveUp:
      return step(event::WaitGivenUp{slot, fence, call.id.number, asked->wait});
    case WaitCall::Kind::kRead:
      return read_outcome(slot, call.id, asked->jobs.front(), asked->offset);
  }
}

void Loop::PoolEvents::refuse(SlotId slot, const channel::CallId& call, const Error& error) {
  loop_.parts_.pools->answer(slot, call, {JobId{}, to_string(error.code), error.message});
}

// Of a call that made no job: that of its run stands for "not refused".
void Loop::PoolEvents::answer(SlotId slot, const channel::CallId& call, std::string_view text) {
  loop_.parts_.pools->answer(slot, call, {call.fence.job, {}, text});
}

// Behind the commit that holds whatever ended before it.
void Loop::PoolEvents::tell(effect::WaitTold told) {
  const channel::CallId call{told.fence, told.call};
  switch (told.what) {
    case effect::WaitTold::What::kOver:
      return answer(told.slot, call, kWaitIsOver);
    case effect::WaitTold::What::kOpen:
      return answer(told.slot, call, kWaitIsOpen);
    case effect::WaitTold::What::kRefused:
      return refuse(told.slot, call, told.error);
    case effect::WaitTold::What::kNudge:
      return loop_.parts_.pools->nudge(told.slot, told.fence);
    case effect::WaitTold::What::kRead:
      return read_ended(std::move(told));
  }
}

void Loop::PoolEvents::read_ended(effect::WaitTold told) {
  const auto asked = std::make_shared<const effect::WaitTold>(std::move(told));
  const auto answered = [this, asked](std::vector<JobId> ended, std::optional<Error> wrong) {
    loop_.post([this, asked, ended = std::move(ended), wrong = std::move(wrong)] {
      step(event::WaitRead{asked->slot, asked->fence, asked->call, asked->number, ended, wrong});
    });
  };
  const bool taken = loop_.parts_.ask_reader([answered, asked, admin = loop_.parts_.setup.admin_uid](StoreReader& of) {
    std::vector<JobId> ended;
    const Status found = find_ended(of, *asked, admin, ended);
    answered(std::move(ended), found.ok() ? std::nullopt : std::optional(found.error()));
  });
  if (!taken) answered({}, busy_error());
}

void Loop::PoolEvents::read_outcome(SlotId slot, const channel::CallId& call, JobId job, std::uint64_t offset) {
  const auto who = loop_.scheduler_->caller(call.fence);
  if (!who.ok()) return refuse(slot, call, who.error());
  const auto answered = [this, slot, call, offset](const Result<std::string>& outcome) {
    loop_.post([this, slot, call, offset, outcome] {
      if (!outcome.ok()) return refuse(slot, call, outcome.error());
      answer(slot, call, encode_page(*outcome, offset));
    });
  };
  const bool taken = loop_.parts_.ask_reader([answered, job, who = *who, read = loop_.parts_.outcome_of](
                                                 StoreReader& reader) { answered(read(reader, job, who)); });
  if (!taken) answered(busy_error());
}

}  // namespace futured
