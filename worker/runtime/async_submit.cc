// Jobs that coroutines submit: the thread goes on with others until the answer is there.
#include <algorithm>

#include "worker/runtime/async_loop.h"
#include "worker/runtime/task_context.h"

namespace futured::runtime {

TaskContext::~TaskContext() {
  if (is_calling_) loop_->forget_caller(*this);
}

void TaskContext::run_on(AsyncLoop& loop, Resumer& resumer) {
  loop_ = &loop;
  resumer_ = &resumer;
  if (open_calls_.empty() && nudged_.empty()) return;  // of an earlier call of a chunk, that nobody waits for
  loop.add_caller(*this);
  is_calling_ = true;
}

void TaskContext::look_from_loop() {
  if (!is_calling_) loop_->add_caller(*this);
  is_calling_ = true;
}

void TaskContext::open_call(sdk::ReplyWaiter& waiter) {
  look_from_loop();
  open_calls_.push_back({&waiter});
  send_first_call();
}

// One at a time, as the channel wants it. Without room it is tried again when the loop looks.
void TaskContext::send_first_call() {
  if (open_calls_.empty() || open_calls_.front().number != 0) return;
  OpenCall& first = open_calls_.front();
  end_.beat(run_);
  const std::string& request = first.waiter != nullptr ? first.waiter->request : first.request;
  if (!end_.call({fence_, calls_ + 1}, request, Duration::zero())) return;
  first.number = ++calls_;
}

TaskContext::Calls TaskContext::look_for_reply() {
  const bool nudged = end_nudged();
  send_first_call();
  if (open_calls_.empty()) return {.is_answered = nudged, .are_open = !nudged_.empty()};
  const OpenCall first = open_calls_.front();
  const auto reply = first.number != 0 ? end_.reply(run_, first.number) : std::nullopt;
  if (!reply) return {.is_answered = nudged, .are_open = true};
  if (first.waiter != nullptr) {
    first.waiter->is_answered = true;
    first.waiter->job = reply->job.value;
    first.waiter->error_class = reply->error_class;
    first.waiter->error_message = reply->error_message;
    loop_->end(*first.waiter);
  }
  open_calls_.pop_front();
  send_first_call();
  return {.is_answered = true, .are_open = !open_calls_.empty() || !nudged_.empty()};
}

// What was sent stays open: the next one may only follow its answer.
void TaskContext::give_up_call(const sdk::Waiter& waiter) noexcept {
  const auto call =
      std::ranges::find(open_calls_, &waiter, [](const OpenCall& one) -> const sdk::Waiter* { return one.waiter; });
  if (call == open_calls_.end()) return;
  if (call->number != 0) {
    call->waiter = nullptr;
  } else {
    open_calls_.erase(call);
  }
}

}  // namespace futured::runtime
