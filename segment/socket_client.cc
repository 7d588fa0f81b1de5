#include "segment/socket_client.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cstring>

#include "base/limits.h"
#include "segment/pass.h"

namespace futured {

namespace {

Error out_of_step() { return {ErrorCode::kDataLoss, "segment socket: reply does not fit the request"}; }

}  // namespace

Result<SegmentClient> SegmentClient::connect(std::string_view grpc_socket_path) {
  const std::string path = std::string(grpc_socket_path) + std::string(segment_socket::kPathSuffix);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() > limits::kSocketPathBytesMax) {
    return Error{ErrorCode::kInvalidArgument,
                 "socket path is longer than " + std::to_string(limits::kSocketPathBytesMax) + " bytes: " + path};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return system_error("socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return system_error("connect to " + path);
  }
  return over(std::move(socket));
}

Result<SegmentClient> SegmentClient::over(Fd socket) {
  const timeval patience{limits::kSegmentReplyMs / 1000, limits::kSegmentReplyMs % 1000 * 1000};
  if (setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
      setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0) {
    return system_error("set the timeouts of the segment socket");
  }
  return SegmentClient(std::move(socket));
}

Result<SegmentId> SegmentClient::put(const Segment& segment, std::string_view content_type) {
  const int descriptor = segment.descriptor.get();
  auto answer = ask(segment_socket::Put{segment.size, std::string(content_type)}, {&descriptor, 1});
  if (!answer) return answer.error();
  const auto* stored = std::get_if<segment_socket::Stored>(&answer->reply);
  if (stored == nullptr) return out_of_step();
  return stored->segment;
}

Result<std::vector<SegmentStretch>> SegmentClient::get(std::span<const SegmentId> segments) {
  return ask_for_bytes(segment_socket::Get{{segments.begin(), segments.end()}}, segments.size());
}

Result<SegmentStretch> SegmentClient::get_result(JobId job, std::uint32_t part) {
  auto parts = ask_for_bytes(segment_socket::GetResult{job, part}, 1);
  if (!parts) return parts.error();
  return std::move((*parts)[0]);
}

Status SegmentClient::drop(SegmentId segment) {
  auto answer = ask(segment_socket::Drop{segment});
  if (!answer) return answer.error();
  if (!std::holds_alternative<segment_socket::Dropped>(answer->reply)) return out_of_step();
  return {};
}

Result<std::vector<SegmentStretch>> SegmentClient::ask_for_bytes(segment_socket::Request request, std::size_t count) {
  auto answer = ask(std::move(request));
  if (!answer) return answer.error();
  auto* found = std::get_if<segment_socket::Found>(&answer->reply);
  if (found == nullptr || found->entries.size() != count) return out_of_step();
  std::vector<SegmentStretch> all;
  for (std::size_t i = 0; i < count; ++i) {
    segment_socket::FoundEntry& entry = found->entries[i];
    auto segment = adopt_segment(std::move(answer->descriptors[i]));
    if (!segment) return segment.error().in("segment from the daemon");
    if (segment->size != entry.size) return out_of_step();
    all.push_back({std::move(*segment), entry.begin, entry.end, std::move(entry.content_type)});
  }
  return all;
}

Result<SegmentClient::Answer> SegmentClient::ask(segment_socket::Request request, std::span<const int> descriptors) {
  const std::uint64_t tag = next_tag_++;
  if (Status sent =
          send_message(socket_.get(), encode(segment_socket::TaggedRequest{tag, std::move(request)}), descriptors);
      !sent) {
    return sent.error().in("segment socket");
  }
  auto message = receive_message(socket_.get(), limits::kSegmentMessageBytesMax);
  if (!message && message.error().message == "nothing to receive") {
    return Error{ErrorCode::kDeadlineExceeded,
                 "segment socket: no reply within " + std::to_string(limits::kSegmentReplyMs / 1000) + " s"};
  }
  if (!message) return message.error().in("segment socket");
  auto reply = segment_socket::decode_reply(message->bytes);
  if (!reply) return reply.error();
  if (reply->tag != tag || message->descriptors.size() != descriptors_of(reply->reply)) return out_of_step();
  if (const auto* refused = std::get_if<segment_socket::Refused>(&reply->reply)) return refused->error;
  return Answer{std::move(reply->reply), std::move(message->descriptors)};
}

}  // namespace futured
