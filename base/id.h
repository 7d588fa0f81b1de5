// Ids are types: a JobId is never a SlotId, nor a bare integer.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace futured {

template <typename Tag, typename Number>
struct Id {
  Number value = 0;

  auto operator<=>(const Id&) const = default;
  // 0 is "none" for every kind of id.
  [[nodiscard]] constexpr bool is_set() const { return value != 0; }
};

using JobId = Id<struct JobTag, std::uint64_t>;            // unique in the store, never reused, small and decimal
using SpecId = Id<struct SpecTag, std::uint64_t>;          // interned job options
using QueueId = Id<struct QueueTag, std::uint32_t>;        // index of a queue in this daemon's life
using PoolId = Id<struct PoolTag, std::uint32_t>;          // index of a pool in this daemon's life
using SlotId = Id<struct SlotTag, std::uint32_t>;          // room for one running job; owns a channel
using CallbackId = Id<struct CallbackTag, std::uint64_t>;  // what is to be done when a job or a batch has ended
using SegmentId = Id<struct SegmentTag, std::uint64_t>;    // a sealed segment that spawner and daemon hold

// Which life of the daemon: committed as epoch + 1 before anything is offered.
using Epoch = Id<struct EpochTag, std::uint32_t>;

// Who may finish an attempt. A report whose fence is not the attempt's own changes nothing.
struct Fence {
  JobId job;
  Epoch epoch;
  std::uint32_t attempt = 0;  // 1 for the first run of the job

  auto operator<=>(const Fence&) const = default;
};

}  // namespace futured

template <typename Tag, typename Number>
struct std::hash<futured::Id<Tag, Number>> {
  std::size_t operator()(futured::Id<Tag, Number> id) const noexcept { return std::hash<Number>{}(id.value); }
};
