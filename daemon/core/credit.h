// How many offers a slot may hold.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/limits.h"
#include "daemon/core/house.h"

namespace futured {

// How many offers a slot may hold: what it is at and about limits::kCreditNs of work, so that a short job never waits
// for a wake-up and a long one never waits behind another while a slot is free. A worker of many jobs at once begins
// all of them.
[[nodiscard]] inline std::size_t credit(const Slot& slot) {
  if (slot.pool->runs_many()) return slot.pool->runs_per_slot;
  if (slot.exclusive) return 1;
  if (slot.mean.count() <= 0) return slot.pool->commands ? 1 : 2;  // nothing is known yet
  return static_cast<std::size_t>(
      std::clamp<std::int64_t>(1 + limits::kCreditNs / slot.mean.count(), 1, limits::kOffersPerSlotMax));
}

[[nodiscard]] inline std::size_t room(const Slot& slot) {
  if (!slot.ready || slot.killing || slot.retiring || slot.full) return 0;
  if (!slot.strays.empty() && !slot.pool->runs_many()) return 0;  // it would lie behind what may not end
  if (slot.lent != 0 && !slot.pool->runs_many()) return 0;        // or behind what may be waiting for it
  const std::size_t most = credit(slot);
  const std::size_t held = slot.offers.size() + slot.strays.size();
  return most > held ? most - held : 0;
}

}  // namespace futured
