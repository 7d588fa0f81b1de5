#include "daemon/rpc/segment_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <future>

#include "base/limits.h"
#include "base/payload.h"
#include "segment/pass.h"

namespace futured::rpc {

namespace {

using segment_socket::Found;
using segment_socket::FoundEntry;
using segment_socket::Refused;

// The stored result of a job, read on the reader's thread.
Result<std::string> result_of(Front& front, JobId job) {
  auto promise = std::make_shared<std::promise<Result<std::string>>>();
  auto answer = promise->get_future();
  const bool asked = front.reader.ask([promise, job](StoreReader& reader) {
    auto record = reader.get(job, false);
    if (!record.ok()) return promise->set_value(record.error());
    if (!*record) return promise->set_value(Error{ErrorCode::kNotFound, "no job " + std::to_string(job.value)});
    Ending& ending = (*record)->ending;
    if (!is_terminal(ending.state)) {
      return promise->set_value(
          Error{ErrorCode::kFailedPrecondition, "job " + std::to_string(job.value) + " has not ended"});
    }
    promise->set_value(std::move(ending.result));
  });
  if (!asked) return busy_error();
  return answer.get();
}

}  // namespace

SegmentServer::SegmentServer(Front& front, ListeningSocket listening)
    : front_(front), listening_(std::move(listening)), stop_fd_(eventfd(0, EFD_CLOEXEC)), thread_([this] { run(); }) {}

SegmentServer::~SegmentServer() {
  const std::uint64_t one = 1;
  (void)!::write(stop_fd_.get(), &one, sizeof one);
  thread_.join();
}

void SegmentServer::run() {
  for (;;) {
    std::vector<pollfd> events{{stop_fd_.get(), POLLIN, 0}, {listening_.fd(), POLLIN, 0}};
    for (const auto& [fd, connection] : connections_) events.push_back({fd, POLLIN, 0});
    if (::poll(events.data(), events.size(), -1) < 0) continue;
    if (events[0].revents != 0) return;
    if (events[1].revents != 0) accept();
    for (std::size_t i = 2; i < events.size(); ++i) {
      if (events[i].revents == 0) continue;
      const auto connection = connections_.find(events[i].fd);
      if (!serve(connection->second)) connections_.erase(connection);
    }
  }
}

void SegmentServer::accept() {
  auto accepted = accept_from(listening_.fd());
  if (!accepted.ok()) return;
  if (connections_.size() >= limits::kSegmentConnectionsMax) return;  // closed at once: the client is told by that
  const int fd = accepted->socket.get();
  connections_.emplace(fd, Connection{std::move(accepted->socket), {accepted->uid}, {}});
}

bool SegmentServer::serve(Connection& connection) {
  auto message = receive_message(connection.socket.get(), limits::kSegmentMessageBytesMax);
  if (!message.ok()) return message.error().message == "nothing to receive";
  auto request = segment_socket::decode_request(message->bytes);
  if (!request.ok() || segment_socket::descriptors_of(request->request) != message->descriptors.size()) return false;
  const Answer told = answer(connection, std::move(request->request), std::move(message->descriptors));
  std::vector<int> descriptors;
  for (const Fd& descriptor : told.descriptors) descriptors.push_back(descriptor.get());
  return send_message(connection.socket.get(), segment_socket::encode({request->tag, told.reply}), descriptors).ok();
}

SegmentServer::Answer SegmentServer::answer(Connection& connection, segment_socket::Request request,
                                            std::vector<Fd> descriptors) {
  if (const auto* const wanted = std::get_if<segment_socket::Put>(&request)) {
    return put(connection, *wanted, std::move(descriptors));
  }
  if (const auto* const wanted = std::get_if<segment_socket::Get>(&request)) return get(connection, *wanted);
  if (const auto* const wanted = std::get_if<segment_socket::GetResult>(&request)) {
    return result_part(connection, *wanted);
  }
  const SegmentId segment = std::get<segment_socket::Drop>(request).segment;
  if (connection.hold.drop(segment)) return {segment_socket::Dropped{}, {}};
  return {Refused{{ErrorCode::kNotFound, "this connection holds no segment " + std::to_string(segment.value)}}, {}};
}

SegmentServer::Answer SegmentServer::put(Connection& connection, const segment_socket::Put& put,
                                         std::vector<Fd> descriptors) {
  auto segment = adopt_segment(std::move(descriptors.front()));
  if (!segment.ok()) return {Refused{segment.error()}, {}};
  if (segment->size != put.size) {
    return {Refused{{ErrorCode::kInvalidArgument, "the segment has " + std::to_string(segment->size) +
                                                      " bytes, the message says " + std::to_string(put.size)}},
            {}};
  }
  auto id = front_.segments.put(connection.who.uid, std::move(*segment), put.content_type, connection.hold);
  if (!id.ok()) return {Refused{id.error()}, {}};
  return {segment_socket::Stored{*id}, {}};
}

SegmentServer::Answer SegmentServer::get(Connection& connection, const segment_socket::Get& get) {
  Answer answer;
  Found found;
  for (const SegmentId id : get.segments) {
    auto opened = front_.segments.open(id, connection.who.uid);
    if (!opened.ok()) return {Refused{opened.error()}, {}};
    found.entries.push_back({opened->facts.bytes, 0, opened->facts.bytes, opened->facts.content_type});
    answer.descriptors.push_back(std::move(opened->descriptor));
  }
  answer.reply = std::move(found);
  return answer;
}

// A part that is a segment is handed over as it is; an inline one is copied into memory of its own.
SegmentServer::Answer SegmentServer::result_part(Connection& connection, const segment_socket::GetResult& wanted) {
  const auto result = result_of(front_, wanted.job);
  if (!result.ok()) return {Refused{result.error()}, {}};
  const auto parts = decode_parts(*result);
  if (!parts.ok()) return {Refused{parts.error()}, {}};
  if (wanted.part >= parts->size()) {
    return {Refused{{ErrorCode::kNotFound, "the result has " + std::to_string(parts->size()) + " parts"}}, {}};
  }
  const Part& part = (*parts)[wanted.part];
  Answer answer;
  FoundEntry entry;
  entry.content_type = std::string(part.content_type);
  if (part.kind == PartKind::kSegment) {
    auto opened = front_.segments.open(part.segment, connection.who.uid);
    if (!opened.ok()) return {Refused{{ErrorCode::kDataLoss, "the result is lost: " + opened.error().message}}, {}};
    entry.size = opened->facts.bytes;
    entry.begin = part.begin;
    entry.end = part.end;
    answer.descriptors.push_back(std::move(opened->descriptor));
  } else {
    auto segment = make_segment("futured-result", std::as_bytes(std::span(part.bytes)));
    if (!segment.ok()) return {Refused{segment.error()}, {}};
    entry.size = entry.end = part.bytes.size();
    answer.descriptors.push_back(std::move(segment->descriptor));
  }
  answer.reply = Found{{std::move(entry)}};
  return answer;
}

}  // namespace futured::rpc
