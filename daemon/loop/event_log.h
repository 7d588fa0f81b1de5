// EventLog: the last changes, numbered, for those who watch. Bounded: who falls behind it finds a gap.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "base/limits.h"
#include "daemon/core/effects.h"

namespace futured {

struct LoggedEvent {
  std::uint64_t sequence = 0;  // ascending by one
  effect::Change change;
};

class EventListener {
 public:
  virtual ~EventListener() = default;
  // There is something behind what read() gave last. The loop's thread; must return at once.
  virtual void appended() = 0;
};

// Numbers count from 1 in each life of the daemon. Nothing is kept while nobody listens, nor was there lately.
class EventLog {
 public:
  EventLog(std::size_t events_max, std::size_t bytes_max) : events_max_(events_max), bytes_max_(bytes_max) {}

  struct Page {
    std::vector<LoggedEvent> events;
    std::uint64_t next = 0;  // number of the last event looked at: pass it as `after` to go on
    bool gap = false;        // events behind `after` are gone
  };
  // At most `count` events behind number `after`. Any thread.
  [[nodiscard]] Page read(std::uint64_t after, std::size_t count) const;
  // Number of the last event; 0: none yet. Any thread.
  [[nodiscard]] std::uint64_t newest() const;

  // ---- The loop's thread. Recorded events are wanted between the first listen() and `false` from append().
  void listen(std::weak_ptr<EventListener> listener);
  // False: nobody has listened for so long that all that is kept is news to nobody.
  bool append(std::vector<effect::Change> changes);
  [[nodiscard]] bool is_recording() const { return recording_; }
  [[nodiscard]] std::size_t listeners() const;

 private:
  [[nodiscard]] static std::size_t cost(const effect::Change& change);

  const std::size_t events_max_;
  const std::size_t bytes_max_;
  std::vector<std::weak_ptr<EventListener>> listeners_;
  std::size_t unheard_ = 0;  // appended since somebody listened
  bool recording_ = false;

  mutable std::mutex mutex_;  // guards all below
  std::deque<LoggedEvent> events_;
  std::size_t bytes_ = 0;
  std::uint64_t newest_ = 0;
};

}  // namespace futured
