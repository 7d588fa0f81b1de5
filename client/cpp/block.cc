#include "client/cpp/block.h"

#include <utility>

namespace futured::client {

Block* Block::make(std::uint32_t capacity, std::weak_ptr<ClientState> client, std::shared_ptr<Tally> tally,
                   bool followed, std::uint64_t first_id) {
  return new Block(capacity, std::move(client), std::move(tally), followed, first_id);
}

Block::Block(std::uint32_t capacity, std::weak_ptr<ClientState> client, std::shared_ptr<Tally> tally, bool followed,
             std::uint64_t first_id)
    : capacity_(capacity),
      first_id_(first_id),
      client_(std::move(client)),
      tally_(std::move(tally)),
      slots_(std::make_unique<Slot[]>(capacity)) {
  if (!followed) return;
  for (std::uint32_t i = 0; i < capacity; ++i) slots_[i].followed = true;
}

std::uint64_t Block::wait_for_id(std::uint32_t index) {
  if (const std::uint64_t id = id_of(index)) return id;
  wait_for_answer(index, std::nullopt);
  return id_of(index);
}

bool Block::wait_for_answer(std::uint32_t index, std::optional<std::chrono::steady_clock::time_point> deadline) {
  const auto answered = [&] { return id_of(index) != 0 || ended(index); };
  if (answered()) return true;
  home_.check();
  std::unique_lock guard(mutex_);
  if (deadline) return ids_known_.wait_until(guard, *deadline, answered);
  ids_known_.wait(guard, answered);
  return true;
}

void Block::set_single_id(std::uint32_t index, std::uint64_t id) {
  if (single_ids_ == nullptr) single_ids_ = std::make_unique<std::atomic<std::uint64_t>[]>(capacity_);
  single_ids_[index].store(id, std::memory_order_release);
  first_id_.store(kSingleIds, std::memory_order_release);
  ids_known_.notify_all();
}

void Block::set_first_id(std::uint64_t first_id) {
  first_id_.store(first_id, std::memory_order_release);
  open_followed_ = 0;
  for (std::uint32_t i = 0; i < count_; ++i) {
    if (slots_[i].followed && !ended(i)) ++open_followed_;
  }
  ids_known_.notify_all();
}

void Block::mark_followed(std::uint32_t index) {
  if (slots_[index].followed || ended(index)) return;
  slots_[index].followed = true;
  ++open_followed_;
}

Listening Block::add_listener(std::uint32_t index, const std::shared_ptr<Sink>& sink, std::uint64_t cookie) {
  if (ended(index)) return Listening::kEnded;
  home_.check();
  const std::lock_guard guard(mutex_);
  if (ended(index)) return Listening::kEnded;
  const std::uint32_t at = room_for_listener();
  listeners_[at - 1] = {sink, cookie, 0};
  // At the end of the future's chain, so that callbacks are told in the order of adding; a future has few listeners.
  std::uint32_t* link = &slots_[index].listeners;
  while (*link != 0) link = &listeners_[*link - 1].next;
  *link = at;
  return slots_[index].followed ? Listening::kFollowed : Listening::kNotFollowed;
}

void Block::remove_listener(std::uint32_t index, const Sink* sink) {
  if (!home_.is_here()) return;
  const std::lock_guard guard(mutex_);
  for (std::uint32_t* link = &slots_[index].listeners; *link != 0; link = &listeners_[*link - 1].next) {
    Listener& listener = listeners_[*link - 1];
    if (listener.sink.get() != sink) continue;
    const std::uint32_t at = *link;
    *link = listener.next;
    listener.sink.reset();
    free_listener(at);
    return;
  }
}

// Taken again before new room is made, so that waiting again and again does not grow the block.
std::uint32_t Block::room_for_listener() {
  if (free_listeners_ == 0) {
    listeners_.emplace_back();
    return static_cast<std::uint32_t>(listeners_.size());
  }
  const std::uint32_t at = free_listeners_;
  free_listeners_ = listeners_[at - 1].next;
  return at;
}

void Block::free_listener(std::uint32_t at) { listeners_[at - 1].next = std::exchange(free_listeners_, at); }

void Block::end_simple(std::uint32_t index, std::string_view bytes, Notices& notices) {
  if (ended(index)) return;  // told twice after a reconnect: the first one counts
  slots_[index].bytes.assign(bytes);
  end(index, Phase::kSimple, true, notices);
}

void Block::end_full(std::uint32_t index, std::unique_ptr<Ending> ending, Notices& notices) {
  if (ended(index)) return;
  const bool succeeded = ending->refusal == nullptr && ending->outcome.succeeded();
  slots_[index].ending = std::move(ending);
  end(index, Phase::kFull, succeeded, notices);
}

void Block::end(std::uint32_t index, Phase phase, bool succeeded, Notices& notices) {
  Slot& slot = slots_[index];
  slot.phase.store(phase, std::memory_order_release);
  if (slot.followed && open_followed_ > 0) --open_followed_;
  if (id_of(index) == 0) ids_known_.notify_all();  // refused: there will be no id
  for (std::uint32_t at = std::exchange(slot.listeners, 0); at != 0;) {
    Listener& listener = listeners_[at - 1];
    acquire();
    notices.add(std::move(listener.sink), {this, index, listener.cookie, succeeded});
    const std::uint32_t next = listener.next;
    free_listener(at);
    at = next;
  }
  if (tally_) notices.closed(tally_);
}

void Notices::add(std::shared_ptr<Sink> sink, Notice notice) {
  sinks_.push_back(std::move(sink));
  notices_.push_back(notice);
}

void Notices::closed(const std::shared_ptr<Tally>& tally) {
  if (closed_.empty() || closed_.back().first != tally) closed_.emplace_back(tally, 0);
  ++closed_.back().second;
}

void Notices::tell() {
  for (std::size_t begin = 0; begin < sinks_.size();) {
    std::size_t end = begin + 1;
    while (end < sinks_.size() && sinks_[end] == sinks_[begin]) ++end;
    sinks_[begin]->completed(notices_.data() + begin, end - begin);
    begin = end;
  }
  for (const Notice& notice : notices_) notice.block->release();
  for (const auto& [tally, count] : closed_) tally->closed(count);
  sinks_.clear();
  notices_.clear();
  closed_.clear();
}

}  // namespace futured::client
