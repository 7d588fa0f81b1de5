#include "daemon/loop/outputs.h"

#include <array>

#include "base/command.h"
#include "base/limits.h"
#include "base/payload.h"

namespace futured {

// A new attempt begins at its beginning.
Outputs::Running& Outputs::running(const Fence& fence) {
  Running& running = running_[fence.job];
  if (running.fence != fence) {
    for (const auto& [number, old] : running.streams) kept_bytes_ -= old.kept.size();
    running = {};
    running.fence = fence;
  }
  return running;
}

void Outputs::add(const OutputChunk& chunk) {
  Running& job = running(chunk.fence);
  job.spool_user = chunk.spool_user;
  Stream& stream = job.streams[chunk.stream];
  if (chunk.offset != stream.begin + stream.kept.size()) {
    kept_bytes_ -= stream.kept.size();
    stream = {chunk.offset, {}};
  }
  stream.kept.append(chunk.data);
  kept_bytes_ += chunk.data.size();
  const std::size_t most = kept_bytes_ > limits::kLiveOutputBytesTotalMax ? 0 : limits::kLiveOutputBytesMax;
  if (stream.kept.size() > most) {
    const std::size_t excess = stream.kept.size() - most / 2;
    stream.kept.erase(0, excess);
    stream.begin += excess;
    kept_bytes_ -= excess;
  }
  const auto followers = followers_.find(chunk.fence.job);
  if (followers == followers_.end()) return;
  for (const auto& sink : followers->second) sink->chunk(chunk);
}

void Outputs::progress(const JobProgress& progress) {
  Running& job = running(progress.fence);
  job.done = progress.done;
  job.total = progress.total;
  job.message = progress.message;
  const auto followers = followers_.find(progress.fence.job);
  if (followers == followers_.end()) return;
  for (const auto& sink : followers->second) sink->progress(progress);
}

void Outputs::alive(const Fence& fence, WallTime at) {
  const auto followers = followers_.find(fence.job);
  if (followers == followers_.end()) return;
  for (const auto& sink : followers->second) sink->alive(fence, at);
}

JobProgress Outputs::progress_of(JobId job) const {
  const auto found = running_.find(job);
  return found == running_.end() ? JobProgress{} : found->second.progress();
}

std::string Outputs::salvaged(const Fence& fence) const {
  constexpr std::array<std::string_view, 4> kTypes = {kStdoutType, kStderrType, kEmittedType, kLogType};
  std::string encoded;
  const auto found = running_.find(fence.job);
  if (found == running_.end() || found->second.fence != fence) return encoded;
  for (const auto& [number, stream] : found->second.streams) {
    if (number < 1 || number > kTypes.size()) continue;
    std::string type(kTypes[number - 1]);
    if (stream.begin > 0) {
      type += "; total=" + std::to_string(stream.begin + stream.kept.size()) +
              "; dropped=" + std::to_string(stream.begin) + "; at=0";
    }
    append_part(encoded, {.content_type = type, .bytes = stream.kept});
  }
  return encoded;
}

void Outputs::follow(JobId job, const std::shared_ptr<OutputSink>& sink) {
  if (const auto found = running_.find(job); found != running_.end()) {
    if (found->second.has_progress()) sink->progress(found->second.progress());
    for (const auto& [number, stream] : found->second.streams) {
      sink->chunk({found->second.fence, number, stream.begin, stream.kept, found->second.spool_user});
    }
  }
  followers_[job].push_back(sink);
}

void Outputs::forget(JobId job, const OutputSink* sink) {
  const auto found = followers_.find(job);
  if (found == followers_.end()) return;
  std::erase_if(found->second, [&](const auto& one) { return one.get() == sink; });
  if (found->second.empty()) followers_.erase(found);
}

void Outputs::publish(const Batch& batch) {
  if (running_.empty() && followers_.empty()) return;
  for (const JobRow& row : batch.jobs) {
    if (is_terminal(row.ending.state)) end(row.id);
  }
  for (const OutcomeRow& row : batch.outcomes) end(row.id);
}

void Outputs::end(JobId job) {
  if (const auto found = running_.find(job); found != running_.end()) {
    for (const auto& [number, stream] : found->second.streams) kept_bytes_ -= stream.kept.size();
    running_.erase(found);
  }
  const auto followers = followers_.extract(job);
  if (followers.empty()) return;
  for (const auto& sink : followers.mapped()) sink->ended(job);
}

}  // namespace futured
