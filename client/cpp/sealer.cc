#include "client/cpp/sealer.h"

#include <utility>

namespace futured::client {

Sealer::~Sealer() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Sealer::finish_later(SegmentWriter::Rest rest) {
  const std::lock_guard guard(mutex_);
  waiting_.push_back({std::chrono::steady_clock::now() + kDelay, std::move(rest)});
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  wake_.notify_all();
}

void Sealer::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    wake_.wait_until(lock, waiting_.front().due, [&] { return stopping_ || waiting_.size() > kWaitingMax; });
    SegmentWriter::Rest rest = std::move(waiting_.front().rest);
    waiting_.pop_front();
    lock.unlock();
    rest.finish();
    lock.lock();
  }
}

}  // namespace futured::client
