// CapturedOutput: what a stored result says of one stream that its job wrote (docs/formats/command.md).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/payload.h"
#include "base/spool_file.h"

namespace futured::rpc {

// As in the channel's EMIT records. The last two are of tasks.
enum class OutputStream : std::uint8_t { kStdout = 1, kStderr = 2, kEmitted = 3, kLog = 4 };

struct CapturedOutput {
  OutputStream stream = OutputStream::kStdout;
  std::string_view bytes;     // of the part
  std::string file;           // name within the spool directory; empty: all that was kept is in `bytes`
  SpoolUser spool_user;       // in whose folder
  std::uint64_t total = 0;    // bytes that the job wrote
  std::uint64_t dropped = 0;  // of them, from the middle
  std::uint64_t dropped_at = 0;

  [[nodiscard]] std::uint64_t kept() const { return total - dropped; }

  // Where byte `offset` of what the job wrote lies in what was kept, or what follows it if it was dropped.
  struct Place {
    std::uint64_t offset = 0;   // of the first byte there is
    std::uint64_t skipped = 0;  // bytes between the one asked for and it
    std::uint64_t at = 0;       // in what was kept
    std::uint64_t bytes = 0;    // that lie there in a row
  };
  [[nodiscard]] Place place_of(std::uint64_t offset) const;
};

// What a task emitted or logged lies behind its result and is no part of it: ReadOutput gives it.
[[nodiscard]] bool is_beside_result(const Part& part);

// By its content type, also of a part that is lost. Empty: it is no output.
[[nodiscard]] std::optional<OutputStream> stream_of(const Part& part);

// Empty for a part that is no output, or that says of itself what cannot be.
[[nodiscard]] std::optional<CapturedOutput> captured_output(const Part& part);

}  // namespace futured::rpc
