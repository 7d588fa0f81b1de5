// Segments over the segment socket; remote_segments.cc has those of a client on another machine.
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/stored_segment.h"
#include "client/cpp/checked.h"
#include "client/cpp/client_state.h"
#include "client/cpp/segment_type.h"
#include "futured/client.h"
#include "segment/array_type.h"
#include "segment/memory.h"
#include "segment/socket_client.h"

namespace futured::client {

namespace {

MappedBytes map_shared(const SegmentStretch& shared) {
  const auto mapping = std::make_shared<Mapping>(checked(map_segment(shared.segment)));
  if (shared.begin > shared.end || shared.end > mapping->size()) {
    throw Error(ErrorKind::kDataLoss, "the daemon names bytes beyond the end of a segment");
  }
  return mapped(mapping->bytes().data() + shared.begin, shared.end - shared.begin, mapping, shared.content_type);
}

constexpr std::uint64_t kUnmappedLater = 4 * 1024 * 1024;

}  // namespace

struct SegmentBuffer::Memory {
  SegmentWriter writer;
};

SegmentBuffer::SegmentBuffer(std::uint64_t bytes)
    : memory_(new Memory{checked(SegmentWriter::create("futured-client", bytes))}) {}
SegmentBuffer::SegmentBuffer(SegmentBuffer&&) noexcept = default;
SegmentBuffer& SegmentBuffer::operator=(SegmentBuffer&&) noexcept = default;
SegmentBuffer::~SegmentBuffer() = default;

std::span<std::byte> SegmentBuffer::bytes() const { return memory_->writer.bytes(); }

SegmentClient ClientState::connect_segments() {
  constexpr std::string_view kScheme = "unix:";
  wait_until_connected();  // the daemon opens this socket before the other
  return checked(SegmentClient::connect(address.starts_with('/') ? address : address.substr(kScheme.size())));
}

Segment ClientState::put(const futured::Segment& sealed, std::string_view dtype, std::vector<std::int64_t> shape) {
  const std::string content_type = content_type_of(dtype, shape, sealed.size);
  const SegmentId id =
      checked(with_segments([&](SegmentClient& socket) { return socket.put(sealed, content_type); }, false));
  return {.id = id.value, .begin = 0, .end = sealed.size, .dtype = std::string(dtype), .shape = std::move(shape)};
}

Segment Client::put(SegmentBuffer buffer, std::string_view dtype, std::vector<std::int64_t> shape) const {
  if (state_->is_remote()) return state_->upload(buffer.bytes(), dtype, std::move(shape));
  if (buffer.bytes().size() < kUnmappedLater) {
    return state_->put(checked(std::move(buffer.memory_->writer).seal()), dtype, std::move(shape));
  }
  SegmentWriter::Begun begun = checked(std::move(buffer.memory_->writer).begin_seal());
  Segment segment = state_->put(begun.segment, dtype, std::move(shape));
  state_->sealer.finish_later(std::move(begun.rest));
  return segment;
}

Segment Client::put(std::span<const std::byte> bytes, std::string_view dtype, std::vector<std::int64_t> shape) const {
  if (state_->is_remote()) return state_->upload(bytes, dtype, std::move(shape));
  return state_->put(checked(make_segment("futured-client", bytes)), dtype, std::move(shape));
}

StoredSegment Client::store(std::span<const std::byte> bytes, std::string_view dtype,
                            std::vector<std::int64_t> shape) const {
  return state_->store(bytes, dtype, shape);
}

StoredSegment Client::find_stored(const std::string& digest) const {
  if (digest.empty()) throw Error(ErrorKind::kInvalidArgument, "a digest is sha256: and 64 hexadecimal digits");
  return state_->find_stored(digest);
}

void Client::drop(const Segment& segment) const {
  if (state_->is_remote() || is_stored(SegmentId{segment.id})) return state_->release(segment.id);
  checked(state_->with_segments([&](SegmentClient& socket) { return socket.drop(SegmentId{segment.id}); }, false));
}

MappedBytes Client::map(const Segment& segment) const {
  if (state_->is_remote() || is_stored(SegmentId{segment.id})) return state_->download(segment);
  const SegmentId ids[] = {SegmentId{segment.id}};
  std::vector<SegmentStretch> found =
      checked(state_->with_segments([&](SegmentClient& socket) { return socket.get(ids); }, true));
  SegmentStretch& shared = found.front();
  if (segment.end != 0) {
    // A slice: of what was put, only this stretch, with the slice's own shape.
    shared.begin = segment.begin;
    shared.end = segment.end;
    if (!segment.dtype.empty()) shared.content_type = content_type_of(segment.dtype, segment.shape, segment.bytes());
  }
  return map_shared(shared);
}

MappedBytes Client::map_result(std::uint64_t id, std::uint32_t part) const {
  if (!state_->is_remote()) {
    auto shared =
        state_->with_segments([&](SegmentClient& socket) { return socket.get_result(JobId{id}, part); }, true);
    if (shared.ok()) return map_shared(*shared);
  }
  // A small result is no segment, and the daemon says so; the other road tells apart what cannot be had at all.
  const auto outcome = std::make_shared<Outcome>(state_->get_result(id));
  if (!outcome->succeeded()) throw_job_failed(*outcome);
  if (part >= outcome->result.size()) {
    throw Error(ErrorKind::kNotFound,
                "job " + std::to_string(id) + ": its result has " + std::to_string(outcome->result.size()) + " parts");
  }
  const Part& found = outcome->result[part];
  const bool names_array = found.segment.dtype.empty() || is_array_type(found.content_type);
  const std::string content_type =
      names_array ? found.content_type : content_type_of(found.segment.dtype, found.segment.shape, found.bytes.size());
  return mapped(reinterpret_cast<const std::byte*>(found.bytes.data()), found.bytes.size(), outcome, content_type);
}

}  // namespace futured::client
