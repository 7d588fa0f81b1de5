#include "worker/spawner/vault.h"

#include <utility>

#include "base/limits.h"

namespace futured::spawner {

using channel::read_head;

bool Vault::handle(std::string_view message, std::vector<Fd>& descriptors) {
  MessageHeader header{};
  if (!read_head(message, header) || header.version != kVersion) return false;
  if (header.type == static_cast<std::uint32_t>(VaultMessageType::kKeep)) {
    KeepSegment keep{};
    if (!read_head(message, keep) || message.size() != sizeof keep + keep.type_bytes || descriptors.size() != 1)
      return false;
    if (segments_.size() >= limits::kSegmentsHeldMax && !segments_.contains(keep.segment)) return false;
    segments_[keep.segment] = {std::string(message), std::move(descriptors[0]), {}};
    return true;
  }
  if (header.type == static_cast<std::uint32_t>(VaultMessageType::kNeed)) {
    NeedSegment need{};
    if (!read_head(message, need) || need.range_count > kNeedRangesMax) return false;
    if (message.size() != sizeof need + need.range_count * sizeof(JobRange)) return false;
    const auto found = segments_.find(need.segment);
    if (found == segments_.end()) return false;
    found->second.need = message;
    return true;
  }
  if (header.type == static_cast<std::uint32_t>(VaultMessageType::kDrop)) {
    DropSegment drop{};
    if (!read_head(message, drop) || message.size() != sizeof drop) return false;
    segments_.erase(drop.segment);
    return true;
  }
  return false;
}

bool Vault::tell(Connection& daemon) const {
  for (const auto& [id, kept] : segments_) {
    const int descriptor = kept.descriptor.get();
    if (!daemon.send(kept.message, {&descriptor, 1})) return false;
    if (!kept.need.empty() && !daemon.send(kept.need)) return false;
  }
  const VaultTold told{{kVersion, static_cast<std::uint32_t>(VaultMessageType::kTold)}};
  return daemon.send(channel::bytes_of(told));
}

}  // namespace futured::spawner
