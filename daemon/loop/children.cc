// What workers ask for: jobs that tasks submit.
#include <string>

#include "base/hash.h"
#include "base/limits.h"
#include "base/wait_call.h"
#include "daemon/loop/pool_events.h"

namespace futured {

namespace {

// No name that a client may give has control characters, so none can take this key.
std::string key_of(const channel::CallId& call) {
  const Fence& fence = call.fence;
  return "\x01" + std::to_string(fence.job.value) + "." + std::to_string(fence.epoch.value) + "." +
         std::to_string(fence.attempt) + ":" + std::to_string(call.number);
}

}  // namespace

// A worker may call, and its daemon die before it has answered: the next one reads the same call, and the key makes it
// the same job.
Result<event::Submit> Loop::PoolEvents::child_of(const channel::Call& call) const {
  if (call.id.number > limits::kChildrenPerAttemptMax) {
    return Error{ErrorCode::kResourceExhausted,
                 "one attempt submits at most " + std::to_string(limits::kChildrenPerAttemptMax) + " jobs"};
  }
  const auto terms = loop_.scheduler_->child_terms(call.id.fence);
  if (!terms.ok()) return terms.error();
  auto submit = loop_.parts_.child(call.request);
  if (!submit.ok()) return submit.error();
  submit->who = terms->who;
  submit->lineage = terms->lineage;
  if (submit->keys.empty()) {
    submit->keys.push_back({key_of(call.id), stable_hash(call.request)});
    submit->key_is_of_batch = true;
  }
  return submit;
}

void Loop::PoolEvents::on(SlotId slot, const channel::Call& call) {
  if (is_wait_call(call.request)) return on_wait_call(slot, call);
  const auto answer = [this, slot, id = call.id](const Result<Accepted>& made) {
    channel::Answer told;
    if (made.ok()) {
      told.job = made->ids.empty() ? made->first : made->ids.front();
    } else {
      told.error_class = to_string(made.error().code);
      told.error_message = made.error().message;
    }
    loop_.parts_.pools->answer(slot, id, told);
  };
  auto child = child_of(call);
  if (!child.ok()) return answer(child.error());
  loop_.submit(std::move(*child), nullptr, answer);
}

}  // namespace futured
