#include "daemon/rpc/segment_server.h"

#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/limits.h"
#include "daemon/rpc/bytes_source.h"
#include "segment/array_type.h"

namespace futured::rpc {

namespace {

using segment_socket::FoundEntry;

constexpr int kAcceptPauseMs = 100;
constexpr std::uint64_t kListening = 0;
constexpr std::uint64_t kStop = 1;
constexpr std::uint64_t kAnswers = 2;
constexpr std::uint64_t kFirstConnection = 3;

Error no_room() { return {ErrorCode::kResourceExhausted, "too many reads of the store wait; try again"}; }

std::string refused(std::uint64_t tag, Error error) {
  return segment_socket::encode(segment_socket::TaggedReply{tag, segment_socket::Refused{std::move(error)}});
}

Status check_type(const std::string& content_type, std::uint64_t size) {
  for (const char c : content_type) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return Error{ErrorCode::kInvalidArgument, "a content type has no control bytes"};
    }
  }
  if (!is_array_type(content_type)) return {};
  const auto array = parse_array_type(content_type);
  if (!array.ok()) return array.error();
  const auto bytes = array_bytes(*array);
  if (!bytes.ok()) return bytes.error();
  if (*bytes == size) return {};
  return Error{ErrorCode::kInvalidArgument,
               "the array takes " + std::to_string(*bytes) + " bytes, and the segment has " + std::to_string(size)};
}

// What does not lie in a segment yet is copied into one.
Result<Fd> segment_of(const BytesSource& source) {
  auto writer = SegmentWriter::create("futured-result", source.size());
  if (!writer.ok()) return writer.error();
  std::string piece;
  for (std::uint64_t done = 0; done < source.size(); done += piece.size()) {
    const std::size_t count = std::min<std::uint64_t>(source.size() - done, limits::kPieceBytesMax);
    if (const Status read = source.read(done, count, piece); !read.ok()) return read.error();
    std::ranges::copy(std::as_bytes(std::span(piece)), writer->bytes().begin() + static_cast<std::ptrdiff_t>(done));
  }
  auto segment = std::move(*writer).seal();
  if (!segment.ok()) return segment.error();
  return std::move(segment->descriptor);
}

struct FoundPart {
  FoundEntry entry;
  Fd descriptor;
};

Result<FoundPart> find_part(const Part& part, SegmentTable& table, const std::string& spool_directory) {
  if (part.kind == PartKind::kSegment) {
    auto opened = table.open(part.segment, 0);
    if (!opened.ok()) return opened.error().in("RESULT_LOST");
    return FoundPart{{opened->facts.bytes, part.begin, part.end, std::string(part.content_type)},
                     std::move(opened->descriptor)};
  }
  const auto source = BytesSource::of(part, table, spool_directory);
  if (!source.ok()) return source.error();
  auto descriptor = segment_of(*source);
  if (!descriptor.ok()) return descriptor.error();
  return FoundPart{{source->size(), 0, source->size(), std::string(part.content_type)}, std::move(*descriptor)};
}

Result<FoundPart> find_result(StoreReader& reader, const segment_socket::GetResult& asked, SegmentTable& table,
                              const std::string& spool_directory) {
  const std::string job = "job " + std::to_string(asked.job.value);
  const auto record = reader.get(asked.job, false);
  if (!record.ok()) return record.error();
  if (!*record) return Error{ErrorCode::kNotFound, "no " + job};
  const Ending& ending = (*record)->ending;
  if (!is_terminal(ending.state)) return Error{ErrorCode::kFailedPrecondition, job + " has not ended"};
  const auto parts = decode_parts(ending.result);
  if (!parts.ok()) return parts.error().in("result of " + job);
  if (asked.part >= parts->size()) {
    return Error{ErrorCode::kNotFound, "the result of " + job + " has " + std::to_string(parts->size()) +
                                           " parts; there is no part " + std::to_string(asked.part)};
  }
  return find_part((*parts)[asked.part], table, spool_directory);
}

}  // namespace

Result<std::unique_ptr<SegmentServer>> SegmentServer::start(const SocketLock& lock, Setup setup, SegmentTable& table,
                                                            ReaderThread& reader) {
  auto listening = ListeningSocket::open(lock, setup.socket_path, SOCK_SEQPACKET);
  if (!listening.ok()) return listening.error();
  std::unique_ptr<SegmentServer> server(new SegmentServer(std::move(setup), std::move(*listening), table, reader));
  if (const Status prepared = server->prepare(); !prepared.ok()) return prepared.error();
  server->thread_ = std::thread([raw = server.get()] { raw->run(); });
  return server;
}

SegmentServer::SegmentServer(Setup setup, ListeningSocket listening, SegmentTable& table, ReaderThread& reader)
    : setup_(std::move(setup)),
      listening_(std::move(listening)),
      table_(table),
      reader_(reader),
      next_id_(kFirstConnection) {}

Status SegmentServer::prepare() {
  epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
  stop_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  answers_->wake = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_.is_open() || !stop_.is_open() || !answers_->wake.is_open()) return system_error("segment socket");
  const std::pair<int, std::uint64_t> watched[] = {
      {listening_.fd(), kListening}, {stop_.get(), kStop}, {answers_->wake.get(), kAnswers}};
  for (const auto& [fd, id] : watched) {
    epoll_event interest{.events = EPOLLIN, .data = {.u64 = id}};
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &interest) != 0) return system_error("epoll_ctl");
  }
  return {};
}

SegmentServer::~SegmentServer() {
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  (void)!write(stop_.get(), &one, sizeof one);
  thread_.join();
}

void SegmentServer::run() {
  for (;;) {
    epoll_event events[64];
    const int count = epoll_wait(epoll_.get(), events, std::size(events), accepting_paused_ ? kAcceptPauseMs : -1);
    gauge_->begin(monotonic_now());
    if (!turn({events, static_cast<std::size_t>(std::max(count, 0))})) return connections_.clear();
    gauge_->set_connections(static_cast<std::uint32_t>(connections_.size()));
    gauge_->set_timers(accepting_paused_ ? 1 : 0);
    gauge_->end(monotonic_now(), "requests");
  }
}

bool SegmentServer::turn(std::span<const epoll_event> events) {
  if (accepting_paused_) pause_accepting(false);
  for (const epoll_event& event : events) {
    const std::uint64_t id = event.data.u64;
    if (id == kStop) return false;
    if (id == kListening) {
      accept_all();
    } else if (id == kAnswers) {
      take_answers();
    } else if (const auto found = connections_.find(id); found != connections_.end()) {
      if (serve(id, found->second, event.events)) continue;
      if (--per_user_[found->second.uid] == 0) per_user_.erase(found->second.uid);
      connections_.erase(found);
    }
  }
  return true;
}

void SegmentServer::accept_all() {
  for (;;) {
    auto accepted = accept_from(listening_.fd());
    if (!accepted.ok()) {
      if (accepted.error().code == ErrorCode::kUnavailable) return;
      setup_.log("segment socket: " + accepted.error().message);
      return pause_accepting(true);
    }
    if (connections_.size() >= setup_.connections_max) continue;  // closes it
    std::size_t& open = per_user_[accepted->uid];
    if (open >= limits::kSegmentConnectionsPerUserMax) continue;
    const std::uint64_t id = next_id_++;
    epoll_event interest{.events = EPOLLIN, .data = {.u64 = id}};
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, accepted->socket.get(), &interest) != 0) continue;
    ++open;
    Connection& connection = connections_[id];
    connection.socket = std::move(accepted->socket);
    connection.uid = accepted->uid;
  }
}

// While the system has no descriptor left, the connection that waits would wake us without end.
void SegmentServer::pause_accepting(bool pause) {
  accepting_paused_ = pause;
  epoll_event interest{.events = pause ? 0U : EPOLLIN, .data = {.u64 = kListening}};
  (void)epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listening_.fd(), &interest);
}

// Requests are read while no reply is owed. A connection that owes one is watched for room to write, or not at all.
void SegmentServer::watch(std::uint64_t id, const Connection& connection) {
  const std::uint32_t wanted = connection.reply ? EPOLLOUT : connection.asking ? 0U : EPOLLIN;
  epoll_event interest{.events = wanted, .data = {.u64 = id}};
  (void)epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.socket.get(), &interest);
}

bool SegmentServer::serve(std::uint64_t id, Connection& connection, std::uint32_t events) {
  bool open = true;
  if (connection.reply) {
    open = send(connection, std::move(*std::exchange(connection.reply, nullptr)));
  } else if (connection.asking) {
    open = (events & (EPOLLHUP | EPOLLERR)) == 0;
  } else {
    open = take_request(id, connection);
  }
  if (open) watch(id, connection);
  return open;
}

bool SegmentServer::take_request(std::uint64_t id, Connection& connection) {
  char byte = 0;
  const ssize_t there = recv(connection.socket.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (there < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (there <= 0) return false;
  auto message = receive_message(connection.socket.get(), limits::kSegmentMessageBytesMax);
  if (!message.ok()) return false;
  const auto request = segment_socket::decode_request(message->bytes);
  if (!request.ok()) return false;
  if (message->descriptors.size() != segment_socket::descriptors_of(request->request)) return false;
  const std::uint64_t tag = request->tag;
  if (const auto* const asked = std::get_if<segment_socket::GetResult>(&request->request)) {
    ask_for_result(id, connection, tag, *asked);
    return true;
  }
  if (const auto* const put = std::get_if<segment_socket::Put>(&request->request)) {
    return send(connection, handle(connection, tag, *put, std::move(message->descriptors[0])));
  }
  if (const auto* const get = std::get_if<segment_socket::Get>(&request->request)) {
    return send(connection, handle(connection, tag, *get));
  }
  return send(connection, handle(connection, tag, std::get<segment_socket::Drop>(request->request)));
}

bool SegmentServer::send(Connection& connection, Reply reply) {
  std::vector<int> descriptors;
  for (const Fd& descriptor : reply.descriptors) descriptors.push_back(descriptor.get());
  const Status sent = send_message(connection.socket.get(), reply.bytes, descriptors);
  if (sent.ok()) return true;
  if (sent.error().code != ErrorCode::kUnavailable) return false;
  connection.reply = std::make_unique<Reply>(std::move(reply));
  return true;
}

SegmentServer::Reply SegmentServer::handle(Connection& connection, std::uint64_t tag, const segment_socket::Put& put,
                                           Fd descriptor) {
  auto segment = adopt_segment(std::move(descriptor));
  if (!segment.ok()) return {refused(tag, segment.error()), {}};
  if (segment->size != put.size) {
    return {refused(tag, {ErrorCode::kInvalidArgument, "the segment has " + std::to_string(segment->size) +
                                                           " bytes, not " + std::to_string(put.size)}),
            {}};
  }
  if (const Status sound = check_type(put.content_type, put.size); !sound.ok())
    return {refused(tag, sound.error()), {}};
  const auto id = table_.put(connection.uid, std::move(*segment), put.content_type, connection.hold);
  if (!id.ok()) return {refused(tag, id.error()), {}};
  return {segment_socket::encode(segment_socket::TaggedReply{tag, segment_socket::Stored{*id}}), {}};
}

SegmentServer::Reply SegmentServer::handle(const Connection& connection, std::uint64_t tag,
                                           const segment_socket::Get& get) {
  segment_socket::Found found;
  Reply reply;
  for (const SegmentId id : get.segments) {
    auto opened = table_.open(id, connection.uid);
    if (!opened.ok()) return {refused(tag, opened.error()), {}};
    found.entries.push_back({opened->facts.bytes, 0, opened->facts.bytes, opened->facts.content_type});
    reply.descriptors.push_back(std::move(opened->descriptor));
  }
  reply.bytes = segment_socket::encode(segment_socket::TaggedReply{tag, std::move(found)});
  return reply;
}

SegmentServer::Reply SegmentServer::handle(Connection& connection, std::uint64_t tag,
                                           const segment_socket::Drop& drop) {
  if (connection.hold.drop(drop.segment)) {
    return {segment_socket::encode(segment_socket::TaggedReply{tag, segment_socket::Dropped{}}), {}};
  }
  return {refused(tag, {ErrorCode::kNotFound,
                        "this connection has no share in segment " + std::to_string(drop.segment.value)}),
          {}};
}

void SegmentServer::ask_for_result(std::uint64_t id, Connection& connection, std::uint64_t tag,
                                   const segment_socket::GetResult& asked) {
  const bool taken = reader_.ask(
      [id, tag, asked, answers = answers_, &table = table_, spool = setup_.spool_directory](StoreReader& reader) {
        Reply reply;
        auto found = find_result(reader, asked, table, spool);
        if (found.ok()) {
          reply.descriptors.push_back(std::move(found->descriptor));
          segment_socket::Found told;
          told.entries.push_back(std::move(found->entry));
          reply.bytes = segment_socket::encode(segment_socket::TaggedReply{tag, std::move(told)});
        } else {
          reply.bytes = refused(tag, found.error());
        }
        const std::lock_guard lock(answers->mutex);
        if (answers->ready.empty()) answers->since = monotonic_now();
        answers->ready.emplace_back(id, std::move(reply));
        const std::uint64_t one = 1;
        (void)!write(answers->wake.get(), &one, sizeof one);
      });
  if (taken) {
    connection.asking = true;
  } else {
    connection.reply = std::make_unique<Reply>(Reply{refused(tag, no_room()), {}});
  }
}

void SegmentServer::take_answers() {
  std::uint64_t count = 0;
  (void)!read(answers_->wake.get(), &count, sizeof count);
  std::vector<std::pair<std::uint64_t, Reply>> ready;
  {
    const std::lock_guard lock(answers_->mutex);
    ready.swap(answers_->ready);
    if (!ready.empty()) gauge_->due(answers_->since);
  }
  for (auto& [id, reply] : ready) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) continue;
    found->second.asking = false;
    found->second.reply = std::make_unique<Reply>(std::move(reply));
    watch(id, found->second);  // it is sent when there is room, which is at once
  }
}

}  // namespace futured::rpc
