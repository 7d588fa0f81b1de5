#include "futured/session.h"

#include <algorithm>

#include "client/cpp/executor_state.h"

namespace futured::client {

namespace {

bool has_ended(const Future& future) { return FutureAccess::block(future)->ended(FutureAccess::index(future)); }

// A wait that goes on whatever is asked.
class Unstopped {
 public:
  explicit Unstopped(const EndOf& end) : end_(end) {}
  [[nodiscard]] auto in(const Surroundings& here) const { return end_.in({here.loop, {}}); }

 private:
  const EndOf& end_;
};

}  // namespace

Session::Session(Executor executor, const Surroundings& parent) : executor_(std::move(executor)), children_(parent) {}
Session::~Session() = default;

Future Session::submit(std::string_view task, std::string_view payload) { return own(executor_.submit(task, payload)); }
Future Session::submit(std::string_view task, const std::vector<Part>& payload) {
  return own(executor_.submit(task, payload));
}
Future Session::submit(const CommandLine& command) { return own(executor_.submit(command)); }

Future Session::own(Future future) {
  if (futures_.size() >= prune_at_) {
    std::erase_if(futures_, has_ended);
    prune_at_ = std::max(prune_at_, 2 * futures_.size());
  }
  futures_.push_back(future);
  return future;
}

void Session::start(Coroutine<void> coroutine) {
  children_.start(std::move(coroutine), [this](Ended<void> how) {
    if (!how.error) return;
    if (!failure_ && !cancels_) failure_ = how.error;  // of one that was stopped, nobody needs to hear
    cancels_ = true;
    children_.request_stop();
  });
}

// Off the loop: the daemon is asked, and may be away.
void Session::cancel_open() {
  std::erase_if(futures_, has_ended);
  if (futures_.empty()) return;
  const auto cancel = [state = executor_.state_, futures = futures_](const Future&) {
    std::vector<std::uint64_t> ids;
    for (const Future& future : futures) {
      try {
        ids.push_back(future.id());
      } catch (const Error&) {  // refused: it has ended
      }
    }
    if (!ids.empty()) state->client->cancel(ids, {});
  };
  executor_.state_->client->fetcher.start()->post(cancel, futures_.front());
}

Coroutine<void> Session::close() {
  co_await children_.all_ended();
  if (!cancels_) {
    try {
      static_cast<void>(co_await ended(futures_));
    } catch (const Stopped&) {
      failure_ = std::current_exception();
      cancels_ = true;
    }
  }
  if (cancels_) {
    cancel_open();
    const EndOf all = ended(futures_);
    static_cast<void>(co_await Unstopped(all));
  }
  if (failure_) std::rethrow_exception(failure_);
}

}  // namespace futured::client
