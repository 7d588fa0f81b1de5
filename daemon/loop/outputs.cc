#include "daemon/loop/outputs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/command.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/payload.h"

namespace futured {

namespace {

// 0: there is no such file, or it is none. A worker may have put anything in its place.
std::uint64_t size_of(const Fd& file) {
  struct stat there {};
  if (!file.is_open() || ::fstat(file.get(), &there) != 0 || !S_ISREG(there.st_mode)) return 0;
  return static_cast<std::uint64_t>(there.st_size);
}

}  // namespace

std::string spooled_output(const std::string& spool_directory, const Fence& fence, std::uint32_t stream,
                           std::uint64_t from, std::size_t bytes_max) {
  constexpr std::array<std::string_view, 4> kNames = {"stdout", "stderr", "emitted", "log"};
  if (stream < 1 || stream > kNames.size()) return {};
  const std::string path = spool_directory + "/" + std::to_string(fence.job.value) + "." +
                           std::to_string(fence.epoch.value) + "." + std::to_string(fence.attempt) + "." +
                           std::string(kNames[stream - 1]);
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  const std::uint64_t size = size_of(file);
  if (from >= size) return {};
  std::string bytes(std::min<std::uint64_t>(bytes_max, size - from), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::pread(file.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(from + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  // Once it is full its second half is written over, and put in order at the end.
  const std::uint64_t size_then = size_of(file);
  const bool is_in_order = size_then >= size && size_then < limits::kOutputBytesMax;
  constexpr std::uint64_t kHeadBytes = limits::kOutputBytesMax / 2;
  bytes.resize(is_in_order ? done : std::min<std::uint64_t>(done, kHeadBytes - std::min(from, kHeadBytes)));
  return bytes;
}

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
  Stream& stream = running(chunk.fence).streams[chunk.stream];
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
      sink->chunk({found->second.fence, number, stream.begin, stream.kept});
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
