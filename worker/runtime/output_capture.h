// OutputCapture: what one stream of a command wrote, kept within a bound: its head and its tail.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/limits.h"
#include "base/result.h"

namespace futured::runtime {

struct CaptureLimits {
  std::uint64_t kept_bytes_max = limits::kOutputBytesMax;         // half of it for the head, half for the tail
  std::size_t memory_bytes_max = limits::kInlineBytesMax - 1024;  // beyond it the stream goes to the spool file
};

// One thread. Never refuses bytes: a command must not hang because its output has no room. What could not be written to
// disk, or not be made durable there, counts as dropped, and fault() says why.
class OutputCapture {
 public:
  // `spool_path`: the file made when memory does not suffice; empty: memory is all there is. An existing file is
  // replaced.
  OutputCapture(std::string spool_path, const CaptureLimits& limits);

  void append(std::string_view bytes);

  // Ends the capture: puts the tail in order and makes the spool file durable. Costs an fdatasync when there is one. A
  // file that cannot be made durable is given up: what is_spooled() then no longer names is in memory(), cut short.
  void finish();

  [[nodiscard]] std::uint64_t total() const { return total_; }            // bytes the command wrote
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }        // of them, not kept; after finish()
  [[nodiscard]] std::uint64_t dropped_at() const { return dropped_at_; }  // kept bytes before the gap; after finish()
  [[nodiscard]] bool is_spooled() const { return file_.is_open(); }
  [[nodiscard]] const std::string& spool_path() const { return spool_path_; }
  [[nodiscard]] const std::string& fault() const { return fault_; }

  // What is kept, unless it is spooled.
  [[nodiscard]] std::string_view memory() const { return memory_; }
  // Moves what is in memory to the spool file, if there may be one.
  void spool();
  // The last bytes of what is kept; after finish().
  [[nodiscard]] std::string tail(std::size_t bytes_max) const;

 private:
  [[nodiscard]] std::uint64_t head_bytes_max() const { return limits_.kept_bytes_max - tail_bytes_max(); }
  [[nodiscard]] std::uint64_t tail_bytes_max() const { return limits_.kept_bytes_max / 2; }
  void write(std::uint64_t offset, std::string_view bytes);
  [[nodiscard]] bool read(std::uint64_t offset, std::string& bytes) const;
  void fail(std::string why);
  void straighten_tail();
  [[nodiscard]] Status make_durable(std::uint64_t kept) const;
  void give_up_file(std::string why);

  std::string spool_path_;
  CaptureLimits limits_;
  std::uint64_t total_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint64_t dropped_at_ = 0;
  std::uint64_t written_ = 0;  // while nothing has failed: min(total_, kept_bytes_max)
  std::string memory_;
  Fd file_;
  std::string fault_;
};

}  // namespace futured::runtime
