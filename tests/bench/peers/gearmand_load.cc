// Load for gearmand, in its binary protocol: `bench-gearmand worker PORT`, `… flood PORT COUNT`, `… one PORT COUNT`.
// Foreground jobs, whose results come back to the client that submitted them; gearmand keeps none of it.
#include <arpa/inet.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tests/bench/peers/connection.h"
#include "tests/bench/timing.h"

namespace futured::bench {
namespace {

constexpr std::size_t kPayloadBytes = 100;
constexpr int kInFlight = 500;
constexpr int kWarmUp = 50;
constexpr std::string_view kFunction = "noop";

// Packet types of the protocol.
enum Type : std::uint32_t {
  kCanDo = 1,
  kPreSleep = 4,
  kNoop = 6,
  kSubmitJob = 7,
  kJobCreated = 8,
  kGrabJob = 9,
  kNoJob = 10,
  kJobAssign = 11,
  kWorkComplete = 13,
};

struct Packet {
  std::uint32_t type = 0;
  std::string body;
};

void add_packet(Connection& peer, Type type, std::string_view body) {
  std::string header("\0REQ", 4);
  for (const std::uint32_t word : {static_cast<std::uint32_t>(type), static_cast<std::uint32_t>(body.size())}) {
    const std::uint32_t big_endian = htonl(word);
    header.append(reinterpret_cast<const char*>(&big_endian), sizeof big_endian);
  }
  peer.add(header);
  peer.add(body);
}

Packet read_packet(Connection& peer) {
  const std::string header(peer.bytes(12));
  if (std::memcmp(header.data(), "\0RES", 4) != 0) give_up("gearmand sent no response packet");
  std::uint32_t type = 0;
  std::uint32_t size = 0;
  std::memcpy(&type, header.data() + 4, 4);
  std::memcpy(&size, header.data() + 8, 4);
  return {ntohl(type), std::string(peer.bytes(ntohl(size)))};
}

[[noreturn]] void work(int port) {
  Connection peer(port);
  add_packet(peer, kCanDo, kFunction);
  add_packet(peer, kGrabJob, "");
  peer.flush();
  for (;;) {
    const Packet packet = read_packet(peer);
    if (packet.type == kNoJob) {
      add_packet(peer, kPreSleep, "");
    } else if (packet.type == kJobAssign) {  // handle, function, payload, NUL between them
      const std::size_t handle = packet.body.find('\0');
      const std::size_t function = packet.body.find('\0', handle + 1);
      add_packet(peer, kWorkComplete, packet.body.substr(0, handle + 1) + packet.body.substr(function + 1));
      add_packet(peer, kGrabJob, "");
    } else if (packet.type == kNoop) {
      add_packet(peer, kGrabJob, "");
    }
    peer.flush();
  }
}

void add_job(Connection& peer, std::string_view payload) {
  std::string body(kFunction);
  body.append(2, '\0');  // no unique id
  body.append(payload);
  add_packet(peer, kSubmitJob, body);
}

void await_completions(Connection& peer, int count) {
  while (count > 0) {
    const Packet packet = read_packet(peer);
    if (packet.type == kWorkComplete) {
      --count;
    } else if (packet.type != kJobCreated) {
      give_up("gearmand answered with packet type " + std::to_string(packet.type));
    }
  }
}

void flood(int port, int count) {
  Connection peer(port);
  const std::string payload(kPayloadBytes, 'x');
  const Stopwatch watch;
  for (int done = 0; done < count; done += kInFlight) {
    const int now = std::min(kInFlight, count - done);
    for (int i = 0; i < now; ++i) add_job(peer, payload);
    peer.flush();
    await_completions(peer, now);
  }
  print_rate(static_cast<std::uint64_t>(count), watch.seconds());
}

void one_at_a_time(int port, int count) {
  Connection peer(port);
  const std::string payload(kPayloadBytes, 'x');
  std::vector<double> seconds;
  for (int i = 0; i < count + kWarmUp; ++i) {
    const Stopwatch watch;
    add_job(peer, payload);
    peer.flush();
    await_completions(peer, 1);
    if (i >= kWarmUp) seconds.push_back(watch.seconds());
  }
  print_latency(std::move(seconds));
}

}  // namespace
}  // namespace futured::bench

int main(int argc, char** argv) {
  using namespace futured::bench;
  const std::string role = argc > 2 ? argv[1] : "";
  const int port = argc > 2 ? std::atoi(argv[2]) : 0;
  const int count = argc > 3 ? std::atoi(argv[3]) : 0;
  if (role == "worker") work(port);
  if (role == "flood" && count > 0) return flood(port, count), 0;
  if (role == "one" && count > 0) return one_at_a_time(port, count), 0;
  std::fprintf(stderr, "usage: bench-gearmand worker PORT | flood PORT COUNT | one PORT COUNT\n");
  return 2;
}
