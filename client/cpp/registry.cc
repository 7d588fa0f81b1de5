#include "client/cpp/registry.h"

namespace futured::client {

void Registry::add(BlockRef block) {
  const std::lock_guard guard(mutex_);
  const std::uint64_t first = block->first_id();
  own_.insert_or_assign(first, std::move(block));
}

void Registry::attach(std::uint64_t id, BlockRef block, std::uint32_t index) {
  const std::lock_guard guard(mutex_);
  attached_.emplace(id, std::pair{std::move(block), index});
}

bool Registry::is_open(std::uint64_t id) {
  const std::lock_guard guard(mutex_);
  if (attached_.contains(id)) return true;
  const auto after = own_.upper_bound(id);
  if (after == own_.begin()) return false;
  const BlockRef& block = std::prev(after)->second;
  const std::uint64_t index = id - block->first_id();
  return index < block->count() && !block->ended(static_cast<std::uint32_t>(index));
}

std::vector<std::uint64_t> Registry::open_ids() { return open_ids_of(nullptr); }

std::vector<std::uint64_t> Registry::open_ids_of(const Tally* tally) {
  std::vector<std::uint64_t> ids;
  const std::lock_guard guard(mutex_);
  for (const auto& [first, block] : own_) {
    if (tally != nullptr && block->tally().get() != tally) continue;
    for (std::uint32_t i = 0; i < block->count(); ++i) {
      if (!block->ended(i)) ids.push_back(first + i);
    }
  }
  if (tally == nullptr) return ids;
  for (const auto& [id, future] : attached_) {
    if (future.first->tally().get() == tally && !future.first->ended(future.second)) ids.push_back(id);
  }
  return ids;
}

void Registry::refuse(const std::vector<std::uint64_t>& ids, const std::exception_ptr& why) {
  Delivery delivery(*this);
  for (const std::uint64_t id : ids) delivery.refused(id, why);
}

void Registry::refuse_everything(const std::exception_ptr& why) {
  std::vector<std::uint64_t> ids = open_ids();
  {
    const std::lock_guard guard(mutex_);
    for (const auto& entry : attached_) ids.push_back(entry.first);
  }
  refuse(ids, why);
}

Delivery::~Delivery() {
  leave();
  guard_.unlock();
  notices_.tell();
}

void Delivery::simple(std::uint64_t id, std::string_view bytes) {
  if (select(id)) current_->end_simple(static_cast<std::uint32_t>(id - current_->first_id()), bytes, notices_);
  each_attached(id, [&](Block& block, std::uint32_t index) { block.end_simple(index, bytes, notices_); });
}

void Delivery::full(Outcome outcome) {
  const std::uint64_t id = outcome.id;
  each_attached(id, [&](Block& block, std::uint32_t index) {
    auto ending = std::make_unique<Ending>();
    ending->outcome = outcome;
    block.end_full(index, std::move(ending), notices_);
  });
  if (!select(id)) return;
  auto ending = std::make_unique<Ending>();
  ending->outcome = std::move(outcome);
  current_->end_full(static_cast<std::uint32_t>(id - current_->first_id()), std::move(ending), notices_);
}

void Delivery::refused(std::uint64_t id, const std::exception_ptr& why) {
  const auto refuse = [&](Block& block, std::uint32_t index) {
    auto ending = std::make_unique<Ending>();
    ending->outcome.id = id;
    ending->refusal = why;
    block.end_full(index, std::move(ending), notices_);
  };
  each_attached(id, refuse);
  if (select(id)) refuse(*current_, static_cast<std::uint32_t>(id - current_->first_id()));
}

bool Delivery::select(std::uint64_t id) {
  if (current_ != nullptr && id - current_->first_id() < current_->count()) return true;
  leave();
  const auto after = registry_.own_.upper_bound(id);
  if (after == registry_.own_.begin()) return false;
  Block* const block = std::prev(after)->second.get();
  if (id - block->first_id() >= block->count()) return false;
  current_ = block;
  current_guard_ = block->lock();
  return true;
}

void Delivery::leave() {
  if (current_ == nullptr) return;
  const bool all_ended = current_->open_followed() == 0;
  const std::uint64_t first = current_->first_id();
  current_ = nullptr;
  current_guard_.unlock();
  if (all_ended) registry_.own_.erase(first);
}

template <typename End>
void Delivery::each_attached(std::uint64_t id, const End& end) {
  if (registry_.attached_.empty()) return;
  const auto [begin, stop] = registry_.attached_.equal_range(id);
  if (begin == stop) return;
  leave();  // an attached future may live in any block; no two block locks are ever held at once
  for (auto at = begin; at != stop; ++at) {
    Block& block = *at->second.first.get();
    const auto guard = block.lock();
    end(block, at->second.second);
  }
  registry_.attached_.erase(begin, stop);
}

}  // namespace futured::client
