#include "daemon/loop/event_log.h"

#include <algorithm>

namespace futured {

std::size_t EventLog::cost(const effect::Change& change) {
  std::size_t bytes = sizeof(LoggedEvent);
  if (const auto* const job = std::get_if<effect::JobChange>(&change.what)) {
    if (job->cause) bytes += sizeof(Cause) + job->cause->message.size();
    if (job->report) bytes += sizeof(effect::Report) + job->report->message.size();
  }
  return bytes;
}

EventLog::Page EventLog::read(std::uint64_t after, std::size_t count) const {
  const std::lock_guard lock(mutex_);
  Page page;
  page.next = std::min(after, newest_);
  const std::uint64_t before_first = newest_ - events_.size();
  if (page.next < before_first) {
    page.gap = true;
    page.next = before_first;
  }
  const auto begin = events_.begin() + static_cast<std::ptrdiff_t>(page.next - before_first);
  const auto size = std::min<std::uint64_t>(count, newest_ - page.next);
  page.events.assign(begin, begin + static_cast<std::ptrdiff_t>(size));
  page.next += size;
  return page;
}

std::uint64_t EventLog::newest() const {
  const std::lock_guard lock(mutex_);
  return newest_;
}

std::size_t EventLog::listeners() const {
  const auto is_alive = [](const std::weak_ptr<EventListener>& listener) { return !listener.expired(); };
  return static_cast<std::size_t>(std::ranges::count_if(listeners_, is_alive));
}

void EventLog::listen(std::weak_ptr<EventListener> listener) {
  if (!recording_) {
    const std::lock_guard lock(mutex_);
    // What happened meanwhile has no number; one is left out, so that who resumes from before finds a gap.
    events_.clear();
    bytes_ = 0;
    if (newest_ != 0) ++newest_;
  }
  recording_ = true;
  unheard_ = 0;
  // While nothing happens append() is not called, and they would gather.
  std::erase_if(listeners_, [](const std::weak_ptr<EventListener>& one) { return one.expired(); });
  listeners_.push_back(std::move(listener));
}

bool EventLog::append(std::vector<effect::Change> changes) {
  if (!recording_) return false;
  const std::size_t count = changes.size();
  {
    const std::lock_guard lock(mutex_);
    for (effect::Change& change : changes) {
      bytes_ += cost(change);
      events_.push_back({++newest_, std::move(change)});
    }
    while (events_.size() > events_max_ || (bytes_ > bytes_max_ && events_.size() > 1)) {
      bytes_ -= cost(events_.front().change);
      events_.pop_front();
    }
  }
  bool is_heard = false;
  std::erase_if(listeners_, [&](const std::weak_ptr<EventListener>& listener) {
    const auto alive = listener.lock();
    if (!alive) return true;
    is_heard = true;
    alive->appended();
    return false;
  });
  unheard_ = is_heard ? 0 : unheard_ + count;
  recording_ = unheard_ <= events_max_;
  return recording_;
}

}  // namespace futured
