#include "daemon/pool/pool_slot.h"

#include <sys/wait.h>

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "base/limits.h"

namespace futured::pool {

channel::Done& KeptDone::refreshed() {
  done.error_class = error_class;
  done.error_message = error_message;
  done.result = result;
  done.descriptors = descriptors;
  done.result_memfd = nullptr;
  return done;
}

Status PoolSlot::started(const spawner::WorkerStarted& message, std::vector<Fd> descriptors, WallTime now) {
  if (descriptors.size() != spawner::kWorkerDescriptors) {
    return Error{ErrorCode::kInternal, "the spawner sent a worker without its descriptors"};
  }
  channel::ChannelFds fds{std::move(descriptors[0]), std::move(descriptors[1]), std::move(descriptors[2]),
                          std::move(descriptors[3])};
  auto end = channel::HostEnd::attach(std::move(fds));
  pool_ = message.pool;
  generation_ = message.generation;
  pid_ = message.pid;
  memory_bytes_max_ = message.memory_bytes_max;
  alive_ = true;
  start_wanted = start_sent = kill_sent = false;
  started_at_ = now;
  jobs_done_ = 0;
  end_.reset();
  kept_.clear();
  kept_calls_.clear();
  kept_output_.clear();
  ended_.reset();
  is_lost_ = false;
  if (!end.ok()) return end.error();
  end_.emplace(std::move(*end));
  return {};
}

void PoolSlot::recover(std::vector<RecoveredRun>& runs) {
  if (!end_) return;
  for (const channel::Head& run : end_->recovered()) {
    switch (run.state) {
      case channel::RunState::kOffered:
        if (end_->revoke(run.fence) == channel::Revoked::kYes) continue;
        break;  // taken just now
      case channel::RunState::kFree:
      case channel::RunState::kRevoked:
        continue;
      case channel::RunState::kTaken:
      case channel::RunState::kFinished:
        break;
    }
    const auto seen = end_->find(run.fence);  // taken just now, it has another time
    runs.push_back({id_, run.fence, seen ? seen->taken_at : run.taken_at, false});
  }
  channel::Response response;
  while (end_->read(response) == channel::Read::kResponse) {
    if (const auto* const emit = std::get_if<channel::Emit>(&response)) keep(*emit);
    if (const auto* const call = std::get_if<channel::Call>(&response)) keep(*call);
    auto* const done = std::get_if<channel::Done>(&response);
    if (done == nullptr) continue;
    KeptDone& kept = kept_.emplace_back();
    kept.done = *done;
    kept.error_class = done->error_class;
    kept.error_message = done->error_message;
    kept.result = done->result;
    std::move(done->descriptors.begin(), done->descriptors.end(), std::back_inserter(kept.descriptors));
  }
  for (const KeptDone& kept : kept_) {
    std::erase_if(runs, [&](const RecoveredRun& run) { return run.slot == id_ && run.fence == kept.done.fence; });
    runs.push_back({id_, kept.done.fence, kept.done.started_at, true});
  }
  drop_calls_but_of(runs);
  // Followers come back, and ask for it. A run that is done brings all of its output with it.
  std::erase_if(kept_output_, [&](const auto& kept) {
    return std::ranges::none_of(
        runs, [&](const RecoveredRun& run) { return run.slot == id_ && !run.done && run.fence == kept.second.fence; });
  });
}

void PoolSlot::keep(const channel::Emit& emit) {
  KeptOutput& kept = kept_output_[emit.stream];
  if (kept.fence != emit.fence || emit.offset != kept.offset + kept.data.size()) kept = {emit.fence, emit.offset, {}};
  kept.data.append(emit.data);
  if (kept.data.size() <= limits::kLiveOutputBytesMax) return;
  const std::size_t excess = kept.data.size() - limits::kLiveOutputBytesMax / 2;
  kept.data.erase(0, excess);
  kept.offset += excess;
}

void PoolSlot::keep(const channel::Call& call) {
  const auto [kept, is_new] = kept_calls_.try_emplace(call.id.fence);
  if (!is_new) end_->answer(kept->second.id, {});
  kept->second = {call.id, std::string(call.request)};
  if (!end_->has_answer(call.id)) return;
  end_->answer(call.id, {});
  kept_calls_.erase(kept);
}

void PoolSlot::drop_calls_but_of(const std::vector<RecoveredRun>& runs) {
  std::erase_if(kept_calls_, [&](const auto& kept) {
    const bool goes_on = std::ranges::any_of(
        runs, [&](const RecoveredRun& run) { return run.slot == id_ && !run.done && run.fence == kept.first; });
    if (!goes_on) end_->answer(kept.second.id, {});
    return !goes_on;
  });
}

std::size_t PoolSlot::hand_out_kept(PoolHandler& handler) {
  std::size_t handed = 0;
  for (const auto& [fence, kept] : std::exchange(kept_calls_, {})) {
    handler.on(id_, channel::Call{kept.id, kept.request});
    ++handed;
  }
  while (!kept_.empty()) {
    handler.on(id_, kept_.front().refreshed());
    kept_.pop_front();
    ++handed;
  }
  for (const auto& [stream, kept] : std::exchange(kept_output_, {})) {
    handler.on(id_, channel::Emit{kept.fence, stream, kept.offset, kept.data});
    ++handed;
  }
  return handed;
}

std::size_t PoolSlot::poll(PoolHandler& handler, std::size_t responses_max) {
  std::size_t handed = hand_out_kept(handler);
  channel::Response response;
  bool drained = !end_;
  while (end_ && handed < responses_max) {
    if (end_->read(response) != channel::Read::kResponse) {
      drained = true;
      break;
    }
    ++handed;
    if (auto* const done = std::get_if<channel::Done>(&response)) {
      ++jobs_done_;
      handler.on(id_, *done);
    } else if (const auto* const emit = std::get_if<channel::Emit>(&response)) {
      handler.on(id_, *emit);
    } else if (const auto* const progress = std::get_if<channel::Progress>(&response)) {
      handler.on(id_, *progress);
    } else if (const auto* const call = std::get_if<channel::Call>(&response)) {
      handler.on(id_, *call);
    }
  }
  if (ended_ && drained) tell_end(handler);
  return handed;
}

void PoolSlot::tell_end(PoolHandler& handler) {
  const spawner::WorkerEnded message = *std::exchange(ended_, std::nullopt);
  alive_ = false;
  start_sent = false;
  WorkerEnded told;
  told.slot = id_;
  told.generation = message.generation;
  told.is_neighbour = message.cause == static_cast<std::uint32_t>(spawner::EndCause::kNeighbour);
  told.is_lost = std::exchange(is_lost_, false) || told.is_neighbour;
  if (message.wait_status >= 0) {
    if (WIFSIGNALED(message.wait_status)) told.signal = WTERMSIG(message.wait_status);
    if (WIFEXITED(message.wait_status)) told.exit_code = WEXITSTATUS(message.wait_status);
  }
  told.peak_rss_bytes = message.peak_rss_bytes;
  told.cpu_us = static_cast<std::int64_t>(message.cpu_ns / 1000);
  if (message.out_of_memory == static_cast<std::uint32_t>(spawner::OutOfMemory::kYes)) {
    told.out_of_memory = OutOfMemory::kYes;
  } else if (message.out_of_memory == static_cast<std::uint32_t>(spawner::OutOfMemory::kLikely)) {
    told.out_of_memory = OutOfMemory::kLikely;
  }
  if (end_ && end_->generation() == message.generation) blame(told);
  if (message.cause == static_cast<std::uint32_t>(spawner::EndCause::kStartFailed)) told.not_started = message.message;
  if (message.limit != static_cast<std::uint32_t>(spawner::Limit::kNone)) told.over_limit = message.message;
  handler.on(told);
}

// Says whose run it was.
void PoolSlot::blame(WorkerEnded& told) {
  if (end_->runs_many()) {
    told.newly_taken = end_->newly_taken();
    const auto fence = end_->running();
    const auto run = fence ? end_->find(*fence) : std::nullopt;
    if (run) {
      std::tie(told.taken, told.taken_at) = std::tuple(run->fence, run->taken_at);
    } else if (fence) {  // it wrote over the state word too
      std::tie(told.taken, told.taken_at) = std::tuple(*fence, monotonic_now());
    }
  } else if (const auto head = end_->head()) {
    if (head->state != channel::RunState::kOffered) {
      std::tie(told.taken, told.taken_at) = std::tuple(head->fence, head->taken_at);
    }
  } else if (end_->oldest()) {
    // It wrote over the state word too. Whoever is first in line is the likeliest to have done that, and must not be
    // let loose on one worker after the other at no charge.
    told.taken = end_->oldest();
    told.taken_at = monotonic_now();
  }
  told.broken = end_->broken();
}

WorkerFigures PoolSlot::figures() const { return {id_, generation_, pid_, alive_, started_at_, jobs_done_}; }

}  // namespace futured::pool
