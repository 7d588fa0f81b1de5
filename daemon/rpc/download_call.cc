#include "daemon/rpc/download_call.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/limits.h"
#include "base/stored_segment.h"
#include "daemon/rpc/refused_stream.h"
#include "daemon/rpc/stored_segments.h"
#include "daemon/rpc/unknown_fields.h"

namespace futured::rpc {

namespace {

Status read_fully(int file, std::uint64_t at, std::string& into) {
  for (std::size_t done = 0; done < into.size();) {
    const ssize_t count = pread(file, into.data() + done, into.size() - done, static_cast<off_t>(at + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error("read of a segment");
    if (count == 0) return Error{ErrorCode::kDataLoss, "a segment ends before its size"};
    done += static_cast<std::size_t>(count);
  }
  return {};
}

}  // namespace

grpc::ServerWriteReactor<api::DownloadResponse>* DownloadCall::open(Front& front, grpc::CallbackServerContext* context,
                                                                    const api::DownloadRequest& request) {
  const auto refuse = [&](const Error& error) { return new RefusedStream<api::DownloadResponse>(*context, error); };
  if (const Status known = check_known(request); !known.ok()) return refuse(known.error());
  const api::SegmentSlice& slice = request.slice();
  const SegmentId id{slice.id()};
  const std::uint32_t who = front.who(*context).uid;
  const auto sent = is_stored(id) && front.setup.sent ? front.setup.sent->find(who, id, monotonic_now()) : std::nullopt;
  using Opened = SegmentTable::Opened;
  auto opened = sent ? Result<Opened>(Opened{{}, {id, sent->bytes, sent->content_type, sent->owner}})
                     : front.segments.open(id, who);
  if (!opened.ok()) return refuse(opened.error());
  front.uploads.touch(id, monotonic_now());
  const std::uint64_t size = opened->facts.bytes;
  const std::uint64_t end = slice.end() != 0 ? slice.end() : size;
  if (end > size || slice.begin() > end) {
    return refuse(invalid("slice", "bytes " + std::to_string(slice.begin()) + " to " + std::to_string(end) +
                                       " do not lie within the segment's " + std::to_string(size)));
  }
  const auto call = std::make_shared<DownloadCall>(front, context, std::move(opened->descriptor), slice.begin(), end);
  if (call->begin(call)) {
    if (sent) {
      call->fetch(id);
    } else {
      call->go_on();
    }
  }
  return call.get();
}

// A durable upload lies in its file, and perhaps in memory.
void DownloadCall::fetch(SegmentId id) {
  const bool asked = front_.keeper.ask([self = shared_from_this(), id](PayloadKeeper& keeper) {
    auto fetched = fetch_segment(self->front_.segments, keeper, id);
    if (!fetched.ok()) return self->end(fetched.error());
    self->segment_ = std::move(*fetched);
    self->go_on();
  });
  if (!asked) end(busy_error());
}

void DownloadCall::go_on() {
  front_.mover.post([self = shared_from_this()] { self->send_next(); });
}

void DownloadCall::send_next() {
  if (next_ == end_ || is_interrupted()) return end({});
  out_.set_offset(next_);
  std::string& data = *out_.mutable_data();
  data.resize(std::min<std::uint64_t>(end_ - next_, limits::kPieceBytesMax));
  if (const Status read = read_fully(segment_.get(), next_, data); !read.ok()) return end(read);
  next_ += data.size();
  StartWrite(&out_);
}

void DownloadCall::OnWriteDone(bool ok) {
  if (!ok) return end({});
  go_on();
}

}  // namespace futured::rpc
