// VaultLink: the daemon's end of the spawner's vault, where segments are kept that must outlive it.
// docs/formats/spawner.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/id.h"
#include "base/result.h"
#include "worker/spawner/wire.h"

namespace futured {

struct KeptSegment {
  SegmentId id;
  JobId result_of;  // 0: an input
  std::uint64_t bytes = 0;
  std::uint32_t owner = 0;
  std::string content_type;
  std::vector<spawner::JobRange> needed_by;
  Fd descriptor;
};

// What was sent lies with the spawner, even if we die at once. An error: the spawner is gone; so is what it kept.
class VaultLink {
 public:
  [[nodiscard]] static Result<VaultLink> open(const std::string& state_directory, Epoch epoch);

  // What an earlier daemon had given.
  [[nodiscard]] std::vector<KeptSegment>& found() { return found_; }

  struct Kept {
    SegmentId id;
    JobId result_of;
    std::uint64_t bytes = 0;
    std::uint32_t owner = 0;
    std::string_view content_type;
  };
  [[nodiscard]] Status keep(const Kept& segment, int descriptor);
  // All jobs that are known to name it; at most spawner::kNeedRangesMax ranges.
  [[nodiscard]] Status need(SegmentId id, std::span<const spawner::JobRange> jobs);
  [[nodiscard]] Status drop(SegmentId id);

 private:
  explicit VaultLink(Fd socket) : socket_(std::move(socket)) {}
  [[nodiscard]] Status read_found();

  Fd socket_;
  std::vector<KeptSegment> found_;
};

}  // namespace futured
