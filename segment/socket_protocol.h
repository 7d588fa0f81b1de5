// Messages of the segment socket, as bytes and as values: docs/formats/segment.md. No I/O, no threads.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/id.h"
#include "base/result.h"

namespace futured::segment_socket {

// What is appended to the path of the gRPC socket.
inline constexpr std::string_view kPathSuffix = ".segments";

// Hands over one segment; its descriptor travels beside the message.
struct Put {
  std::uint64_t size = 0;
  std::string content_type;
};
// Asks for segments; answered by one Found with as many entries and descriptors, in this order, or by one Refused.
struct Get {
  std::vector<SegmentId> segments;
};
// Asks for one part of a job's result as memory; answered by Found with one entry.
struct GetResult {
  JobId job;
  std::uint32_t part = 0;
};
// Gives up this connection's share in a segment.
struct Drop {
  SegmentId segment;
};
using Request = std::variant<Put, Get, GetResult, Drop>;

struct Stored {
  SegmentId segment;
};
struct FoundEntry {
  std::uint64_t size = 0;   // of the segment whose descriptor travels beside
  std::uint64_t begin = 0;  // the bytes that were asked for, half-open
  std::uint64_t end = 0;
  std::string content_type;
};
struct Found {
  std::vector<FoundEntry> entries;
};
struct Dropped {};
struct Refused {
  Error error;
};
using Reply = std::variant<Stored, Found, Dropped, Refused>;

// `tag` is chosen by the client and comes back with the reply; replies come in the order of the requests.
struct TaggedRequest {
  std::uint64_t tag = 0;
  Request request;
};
struct TaggedReply {
  std::uint64_t tag = 0;
  Reply reply;
};

// How many descriptors must travel beside the message.
[[nodiscard]] std::size_t descriptors_of(const Request& request);
[[nodiscard]] std::size_t descriptors_of(const Reply& reply);

[[nodiscard]] std::string encode(const TaggedRequest& request);
[[nodiscard]] std::string encode(const TaggedReply& reply);

// Refuse whatever is damaged, of another version, or over a bound. A refused request cannot be answered by its tag: the
// server closes the connection.
[[nodiscard]] Result<TaggedRequest> decode_request(std::string_view bytes);
[[nodiscard]] Result<TaggedReply> decode_reply(std::string_view bytes);

}  // namespace futured::segment_socket
