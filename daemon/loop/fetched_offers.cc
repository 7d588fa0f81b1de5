// Offers of jobs whose segments lie in files only: they are read before a worker sees the job.
#include <algorithm>
#include <chrono>
#include <utility>

#include "base/payload.h"
#include "daemon/loop/loop.h"

namespace futured {

namespace {

constexpr Duration kFetchAgain = std::chrono::seconds(1);  // after there was no memory for a segment

}  // namespace

bool Loop::waits_behind_fetched(const effect::Offer& offer) {
  // What its slot has lost meanwhile, with its worker, is no reason to wait: that may be this very job's last offer.
  const std::size_t lost = std::erase_if(fetched_offers_, [&](const FetchedOffer& waiting) {
    return waiting.offer.fence == offer.fence || !scheduler_->stands(waiting.offer);
  });
  if (lost > 0) fetch_at_ = monotonic_now();  // others may have waited behind it
  const auto is_of_slot = [&](const FetchedOffer& waiting) { return waiting.offer.slot == offer.slot; };
  if (std::ranges::none_of(fetched_offers_, is_of_slot)) return false;
  fetched_offers_.push_back({.offer = offer});
  return true;
}

// So its worker cannot have taken what it was offered.
bool Loop::is_fetching_for(SlotId slot) const {
  return std::ranges::any_of(fetched_offers_, [&](const FetchedOffer& waiting) { return waiting.offer.slot == slot; });
}

void Loop::fetch_for(const effect::Offer& offer) {
  fetched_offers_.push_back({.offer = offer});
  fetch_next();
}

// Asks for what the first offer of each slot needs, and makes those that wait for nothing any more.
void Loop::fetch_next() {
  fetch_at_ = Instant::never();
  std::erase_if(fetched_offers_, [&](const FetchedOffer& waiting) { return !scheduler_->stands(waiting.offer); });
  std::vector<SlotId> blocked;
  for (auto next = fetched_offers_.begin(); next != fetched_offers_.end();) {
    const SlotId slot = next->offer.slot;
    if (std::ranges::find(blocked, slot) != blocked.end()) {
      ++next;
      continue;
    }
    const effect::Offer& offer = next->offer;
    Result<std::vector<int>> found = std::vector<int>();
    if (next->descriptors && !next->descriptors->ok()) {
      found = next->descriptors->error();
    } else if (next->descriptors) {
      for (const Fd& descriptor : **next->descriptors) found->push_back(descriptor.get());
    } else if (names_segment(offer.payload.view())) {
      found = parts_.segments_of(offer.payload.view());
    }
    if (!found.ok() && found.error().code == ErrorCode::kUnavailable) {
      blocked.push_back(slot);
      if (!std::exchange(next->is_fetching, true)) {
        parts_.fetch_segments(std::string(offer.payload.view()),
                              [this, fence = offer.fence](Result<std::vector<Fd>> descriptors) {
                                auto shared = std::make_shared<Result<std::vector<Fd>>>(std::move(descriptors));
                                post([this, fence, shared] { fetched(fence, std::move(*shared)); });
                              });
      }
      ++next;
      continue;
    }
    const FetchedOffer ready = std::move(*next);
    next = fetched_offers_.erase(next);
    offer_with(ready.offer, found, now());
  }
}

void Loop::fetched(const Fence& fence, Result<std::vector<Fd>> descriptors) {
  const auto waiting = std::ranges::find(fetched_offers_, fence, [](const auto& one) { return one.offer.fence; });
  if (waiting == fetched_offers_.end()) return fetch_next();  // taken back, or its worker is gone
  waiting->is_fetching = false;
  if (!descriptors.ok() && descriptors.error().code == ErrorCode::kResourceExhausted) {
    if (!std::exchange(waiting->has_waited, true)) {
      parts_.log("job " + std::to_string(fence.job.value) +
                 " waits for memory to read its arrays into: " + descriptors.error().message);
    }
    fetch_at_ = std::min(fetch_at_, monotonic_now() + kFetchAgain);
    return;
  }
  waiting->descriptors = std::move(descriptors);
  fetch_next();
}

}  // namespace futured
