#include "worker/runtime/task_streams.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

#include "base/command.h"
#include "base/time.h"
#include "worker/runtime/spool.h"

namespace futured::runtime {

namespace {

constexpr std::size_t kPieceBytes = channel::kEmitBytesMax / 2;
constexpr Duration kEmitPatience = std::chrono::milliseconds(100);  // between two looks for a stop
constexpr std::array<const char*, 6> kLevels = {"TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};

// "2026-11-27T08:00:00.123Z WARNING message".
std::string line_of(LogLevel level, std::string_view message) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  gmtime_r(&now.tv_sec, &parts);
  std::array<char, 64> head{};
  const std::size_t date = std::strftime(head.data(), head.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(head.data() + date, head.size() - date, ".%03dZ %s ", static_cast<int>(now.tv_nsec / 1'000'000),
                kLevels[std::min<std::size_t>(static_cast<std::size_t>(level), kLevels.size() - 1)]);
  while (message.ends_with('\n')) message.remove_suffix(1);
  return std::string(head.data()).append(message.substr(0, limits::kErrorMessageBytesMax)).append("\n");
}

}  // namespace

OutputCapture& TaskStreams::capture_of(Stream& stream, std::string_view name) {
  // Small ones travel together in one report.
  constexpr CaptureLimits kLimits{.memory_bytes_max = limits::kInlineBytesMax / 4};
  if (!stream.capture) stream.capture.emplace(spool_path(spool_directory_, run_.fence, name), kLimits);
  return *stream.capture;
}

void TaskStreams::emit(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  OutputCapture& capture = capture_of(chunks_, "emitted");
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, kPieceBytes);
    const std::uint64_t offset = capture.total();
    capture.append(piece);
    for (;;) {
      end_.beat(run_);
      const bool is_sent =
          end_.emit(run_.fence, chunks_.number, offset, piece, waits_ ? kEmitPatience : Duration::zero());
      if (is_sent || !waits_) break;
      if (end_.stop_requested(run_.fence)) throw Stopped();
    }
    bytes.remove_prefix(piece.size());
  }
}

void TaskStreams::log(LogLevel level, std::string_view message) {
  const std::string line = line_of(level, message);
  const std::lock_guard lock(mutex_);
  OutputCapture& capture = capture_of(log_, "log");
  end_.beat(run_);
  (void)end_.try_emit(run_.fence, log_.number, capture.total(), line);
  capture.append(line);
}

void TaskStreams::append_to(std::string& encoded) {
  const std::lock_guard lock(mutex_);
  const auto append = [&](Stream& stream, std::string_view type) {
    if (!stream.capture) return;
    stream.capture->finish();
    append_output(encoded, type, *stream.capture);
  };
  append(chunks_, kEmittedType);
  append(log_, kLogType);
}

bool TaskStreams::has_file() const {
  const auto is_in_file = [](const Stream& stream) { return stream.capture && stream.capture->is_spooled(); };
  return is_in_file(chunks_) || is_in_file(log_);
}

}  // namespace futured::runtime
