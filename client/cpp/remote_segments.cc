// Segments of a client that the segment socket does not reach: their bytes go through the connection.
#include <algorithm>
#include <chrono>
#include <deque>
#include <thread>
#include <utility>

#include "base/limits.h"
#include "client/cpp/checked.h"
#include "client/cpp/client_state.h"
#include "client/cpp/segment_type.h"
#include "segment/memory.h"

namespace futured::client {

namespace {

// A daemon that has gone away holds up a client that closes no longer than this.
constexpr std::chrono::seconds kReleasePatience{1};
constexpr std::chrono::milliseconds kReleasePause{10};  // before one that was refused for want of room is asked again

grpc::Status send_all(grpc::ClientWriter<api::UploadRequest>& writer, api::UploadRequest& message,
                      std::span<const std::byte> bytes) {
  bool open = writer.Write(message);
  message.Clear();
  while (open && !bytes.empty()) {
    const auto piece = bytes.first(std::min(bytes.size(), limits::kPieceBytesMax));
    message.set_data(piece.data(), piece.size());
    open = writer.Write(message);
    bytes = bytes.subspan(piece.size());
  }
  writer.WritesDone();
  return writer.Finish();  // tells why the stream broke, too
}

StoredSegment to_stored(const api::Segment& from) {
  return {{.id = from.id(),
           .begin = 0,
           .end = from.bytes(),
           .dtype = from.array().dtype(),
           .shape = {from.array().shape().begin(), from.array().shape().end()}},
          from.digest()};
}

}  // namespace

api::Segment ClientState::send_upload(std::span<const std::byte> bytes, std::string_view dtype,
                                      const std::vector<std::int64_t>& shape, bool durable) {
  static_cast<void>(content_type_of(dtype, shape, bytes.size()));  // a wrong shape is told before anything is sent
  api::Segment stored;
  call(
      [&](grpc::ClientContext& context) {
        api::UploadRequest message;
        message.set_bytes(bytes.size());
        message.set_durable(durable);
        if (!dtype.empty()) {
          message.mutable_array()->set_dtype(std::string(dtype));
          for (const std::int64_t extent : shape) message.mutable_array()->add_shape(extent);
        }
        return send_all(*remote_segments->Upload(&context, &stored), message, bytes);
      },
      durable);  // sent twice, it is the same segment
  return stored;
}

Segment ClientState::upload(std::span<const std::byte> bytes, std::string_view dtype, std::vector<std::int64_t> shape) {
  const api::Segment stored = send_upload(bytes, dtype, shape, false);
  {
    const std::lock_guard guard(segments_mutex_);
    uploads_.insert(stored.id());
  }
  return {.id = stored.id(), .begin = 0, .end = bytes.size(), .dtype = std::string(dtype), .shape = std::move(shape)};
}

StoredSegment ClientState::store(std::span<const std::byte> bytes, std::string_view dtype,
                                 const std::vector<std::int64_t>& shape) {
  return to_stored(send_upload(bytes, dtype, shape, true));
}

StoredSegment ClientState::find_stored(const std::string& digest) {
  api::GetSegmentRequest asked;
  asked.set_digest(digest);
  api::Segment found;
  call([&](grpc::ClientContext& context) { return remote_segments->Get(&context, asked, &found); }, true);
  return to_stored(found);
}

MappedBytes ClientState::download(const Segment& segment) {
  api::GetSegmentRequest asked;
  asked.set_id(segment.id);
  api::Segment whole;
  call([&](grpc::ClientContext& context) { return remote_segments->Get(&context, asked, &whole); }, true);
  const bool is_slice = segment.end != 0;
  const std::uint64_t begin = is_slice ? segment.begin : 0;
  const std::uint64_t end = is_slice ? segment.end : whole.bytes();
  if (begin > end || end > whole.bytes()) {
    throw Error(ErrorKind::kInvalidArgument, "segment: it has only " + std::to_string(whole.bytes()) + " bytes");
  }
  std::string content_type;
  if (!segment.dtype.empty()) {
    content_type = content_type_of(segment.dtype, segment.shape, end - begin);
  } else if (end - begin == whole.bytes()) {
    content_type = content_type_of(whole.array().dtype(), {whole.array().shape().begin(), whole.array().shape().end()},
                                   whole.bytes());
  }
  const auto memory = std::make_shared<SegmentWriter>(checked(SegmentWriter::create("futured-client", end - begin)));
  if (begin == end) return mapped(memory->bytes().data(), 0, memory, content_type);
  api::DownloadRequest request;
  request.mutable_slice()->set_id(segment.id);
  request.mutable_slice()->set_begin(begin);
  request.mutable_slice()->set_end(end);
  std::uint64_t next = begin;
  call(
      [&](grpc::ClientContext& context) {
        next = begin;
        const auto reader = remote_segments->Download(&context, request);
        api::DownloadResponse piece;
        while (reader->Read(&piece)) {
          if (piece.offset() != next || piece.data().size() > end - next) {
            context.TryCancel();
            static_cast<void>(reader->Finish());
            return grpc::Status(grpc::StatusCode::DATA_LOSS, "the daemon sends bytes that were not asked for");
          }
          std::ranges::copy(std::as_bytes(std::span(piece.data())),
                            memory->bytes().begin() + static_cast<std::ptrdiff_t>(next - begin));
          next += piece.data().size();
        }
        return reader->Finish();
      },
      true);
  if (next != end) throw Error(ErrorKind::kDataLoss, "the daemon sent less than the segment has");
  return mapped(memory->bytes().data(), end - begin, memory, content_type);
}

void ClientState::release(std::uint64_t segment) {
  api::ReleaseSegmentRequest request;
  request.set_id(segment);
  api::ReleaseSegmentResponse response;
  {
    const std::lock_guard guard(segments_mutex_);
    uploads_.erase(segment);  // one that is gone already is not asked for again when this client closes
  }
  call([&](grpc::ClientContext& context) { return remote_segments->Release(&context, request, &response); }, false);
}

void ClientState::release_uploads() {
  const std::lock_guard guard(segments_mutex_);
  const auto until = std::chrono::system_clock::now() + kReleasePatience;
  // One that the daemon has no time for is no reason to leave it the others: it is asked again behind them.
  std::deque<std::uint64_t> left(uploads_.begin(), uploads_.end());
  uploads_.clear();
  while (!left.empty() && std::chrono::system_clock::now() < until) {
    const std::uint64_t segment = left.front();
    left.pop_front();
    grpc::ClientContext context;
    context.set_deadline(until);
    api::ReleaseSegmentRequest request;
    request.set_id(segment);
    api::ReleaseSegmentResponse response;
    const grpc::Status released = remote_segments->Release(&context, request, &response);
    const grpc::StatusCode code = released.error_code();
    // A daemon that is not there will not be there for the next: what nobody asks for goes by itself.
    if (code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::DEADLINE_EXCEEDED) return;
    if (code == grpc::StatusCode::RESOURCE_EXHAUSTED || code == grpc::StatusCode::ABORTED) {
      left.push_back(segment);
      std::this_thread::sleep_for(kReleasePause);
    }
  }
}

}  // namespace futured::client
