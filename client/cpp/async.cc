#include "futured/async.h"

#include <utility>

#include "client/cpp/resumption.h"
#include "client/cpp/waiting.h"

namespace futured::client {

Completions::Completions(std::span<const Future> futures) : queue_(std::make_shared<CompletionQueue>()) {
  for (const Future& future : futures) queue_->add(future);
}

void Completions::add(const Future& future) { queue_->add(future); }

Completions::Next Completions::next() { return Next(queue_); }

struct Completions::Next::Awaiter::State {
  std::shared_ptr<CompletionQueue> queue;
  Surroundings here;
  std::shared_ptr<Resumption> resumption;
};

Completions::Next::Awaiter::Awaiter(std::shared_ptr<CompletionQueue> queue, const Surroundings& here)
    : state_(std::make_unique<State>(State{std::move(queue), here, nullptr})) {}
Completions::Next::Awaiter::Awaiter(Awaiter&&) noexcept = default;
Completions::Next::Awaiter& Completions::Next::Awaiter::operator=(Awaiter&&) noexcept = default;
Completions::Next::Awaiter::~Awaiter() = default;

bool Completions::Next::Awaiter::await_suspend(std::coroutine_handle<> handle) {
  const auto resumption = std::make_shared<Resumption>(state_->here, handle);
  if (!state_->queue->call_when_ready([resumption] { resumption->wake(); })) return false;
  state_->resumption = resumption;
  resumption->watch_stop();
  return true;
}

std::optional<Future> Completions::Next::Awaiter::await_resume() {
  if (state_->resumption) {
    state_->queue->forget_call();
    state_->resumption->end();
  }
  std::optional<Completion> completion = state_->queue->try_next();
  if (!completion) return std::nullopt;
  return std::move(completion->future);
}

}  // namespace futured::client
