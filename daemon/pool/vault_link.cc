#include "daemon/pool/vault_link.h"

#include <poll.h>

#include <array>
#include <cstring>

#include "base/limits.h"
#include "daemon/pool/spawner_link.h"
#include "worker/channel/packet.h"

namespace futured {

namespace {

using channel::read_head;
using spawner::VaultMessageType;

constexpr int kAnswerWithinMs = 10'000;
constexpr std::size_t kPacketBytesMax =
    sizeof(spawner::NeedSegment) + spawner::kNeedRangesMax * sizeof(spawner::JobRange) + limits::kContentTypeBytesMax;

spawner::MessageHeader header_of(VaultMessageType type) {
  return {spawner::kVersion, static_cast<std::uint32_t>(type)};
}

Error nonsense() { return {ErrorCode::kInternal, "the spawner's vault sent what this daemon does not know"}; }

}  // namespace

Result<VaultLink> VaultLink::open(const std::string& state_directory, Epoch epoch) {
  auto socket = pool::connect_to_spawner(state_directory);
  if (!socket.ok()) return socket.error();
  if (!socket->has_value()) return Error{ErrorCode::kUnavailable, "no spawner listens in " + state_directory};
  VaultLink link(std::move(**socket));
  const spawner::VaultHello hello{header_of(VaultMessageType::kHello), epoch.value, 0};
  if (const Status sent = pool::send_to_spawner(link.socket_.get(), channel::bytes_of(hello)); !sent.ok())
    return sent.error();
  if (const Status read = link.read_found(); !read.ok()) return read.error();
  return link;
}

Status VaultLink::read_found() {
  std::array<char, kPacketBytesMax> buffer;
  for (;;) {
    pollfd event{socket_.get(), POLLIN, 0};
    if (::poll(&event, 1, kAnswerWithinMs) <= 0) {
      return Error{ErrorCode::kUnavailable, "the spawner does not tell what its vault has"};
    }
    auto packet = channel::receive_packet(socket_.get(), buffer);
    if (!packet.ok()) return packet.error().in("the spawner's vault");
    if (!packet->has_value()) continue;
    const std::string_view bytes(buffer.data(), (*packet)->bytes);
    if (bytes.empty()) return Error{ErrorCode::kUnavailable, "the spawner has no vault: is it of an earlier version?"};
    spawner::MessageHeader header{};
    if (!read_head(bytes, header)) return nonsense();
    if (header.type == static_cast<std::uint32_t>(VaultMessageType::kTold)) return {};
    spawner::KeepSegment keep{};
    spawner::NeedSegment need{};
    if (header.type == static_cast<std::uint32_t>(VaultMessageType::kKeep) && read_head(bytes, keep) &&
        bytes.size() == sizeof keep + keep.type_bytes && (*packet)->descriptors.size() == 1 &&
        found_.size() < limits::kSegmentsHeldMax) {
      found_.push_back({.id = SegmentId{keep.segment},
                        .result_of = JobId{keep.result_of},
                        .bytes = keep.bytes,
                        .owner = keep.owner,
                        .content_type = std::string(bytes.substr(sizeof keep)),
                        .descriptor = std::move((*packet)->descriptors[0])});
    } else if (header.type == static_cast<std::uint32_t>(VaultMessageType::kNeed) && read_head(bytes, need) &&
               need.range_count <= spawner::kNeedRangesMax &&
               bytes.size() == sizeof need + need.range_count * sizeof(spawner::JobRange) && !found_.empty() &&
               found_.back().id.value == need.segment) {
      std::vector<spawner::JobRange>& jobs = found_.back().needed_by;
      jobs.resize(need.range_count);
      std::memcpy(jobs.data(), bytes.data() + sizeof need, jobs.size() * sizeof jobs[0]);
    } else {
      return nonsense();
    }
  }
}

Status VaultLink::keep(const Kept& segment, int descriptor) {
  const spawner::KeepSegment message{header_of(VaultMessageType::kKeep),
                                     segment.id.value,
                                     segment.result_of.value,
                                     segment.bytes,
                                     segment.owner,
                                     static_cast<std::uint32_t>(segment.content_type.size())};
  std::string bytes(channel::bytes_of(message));
  bytes.append(segment.content_type);
  return pool::send_to_spawner(socket_.get(), bytes, {&descriptor, 1});
}

Status VaultLink::need(SegmentId id, std::span<const spawner::JobRange> jobs) {
  const spawner::NeedSegment message{header_of(VaultMessageType::kNeed), id.value,
                                     static_cast<std::uint32_t>(jobs.size()), 0};
  std::string bytes(channel::bytes_of(message));
  bytes.append(reinterpret_cast<const char*>(jobs.data()), jobs.size_bytes());
  return pool::send_to_spawner(socket_.get(), bytes);
}

Status VaultLink::drop(SegmentId id) {
  const spawner::DropSegment message{header_of(VaultMessageType::kDrop), id.value};
  return pool::send_to_spawner(socket_.get(), channel::bytes_of(message));
}

}  // namespace futured
