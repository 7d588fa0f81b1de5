// Load for beanstalkd: `bench-beanstalkd worker PORT`, `… flood PORT COUNT`, `… one PORT COUNT`.
// beanstalkd keeps no results, so a worker puts each into a second tube and the client takes it from there.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/bench/peers/connection.h"
#include "tests/bench/timing.h"

namespace futured::bench {
namespace {

constexpr std::size_t kPayloadBytes = 100;
constexpr int kBatch = 500;    // puts in one write
constexpr int kCollect = 100;  // results taken in one write
constexpr int kWarmUp = 50;    // one-at-a-time jobs that do not count

void expect(Connection& peer, std::string_view answer) {
  const std::string_view line = peer.line();
  if (!line.starts_with(answer)) give_up("expected " + std::string(answer) + ", got " + std::string(line));
}

void add_put(Connection& peer, std::string_view body) {
  peer.add("put 0 0 600 " + std::to_string(body.size()) + "\r\n");
  peer.add(body);
  peer.add("\r\n");
}

// Puts go to tube `to`; reserves come from tube `from` alone.
void choose_tubes(Connection& peer, const std::string& to, const std::string& from) {
  peer.add("use " + to + "\r\nwatch " + from + "\r\nignore default\r\n");
  peer.flush();
  expect(peer, "USING");
  expect(peer, "WATCHING");
  expect(peer, "WATCHING");
}

struct Reserved {
  std::string id;
  std::string body;
};

Reserved read_reserved(Connection& peer) {
  const std::string line(peer.line());
  constexpr std::string_view kWord = "RESERVED ";
  const std::size_t space = line.find(' ', kWord.size());
  if (!line.starts_with(kWord) || space == std::string::npos) give_up("expected RESERVED, got " + line);
  Reserved job;
  job.id = line.substr(kWord.size(), space - kWord.size());
  const auto size = static_cast<std::size_t>(std::strtoull(line.c_str() + space + 1, nullptr, 10));
  job.body = std::string(peer.bytes(size + 2).substr(0, size));
  return job;
}

// The result, the end of the job and the wish for the next one leave in one write.
[[noreturn]] void work(int port) {
  Connection peer(port);
  choose_tubes(peer, "results", "jobs");
  peer.add("reserve\r\n");
  peer.flush();
  for (;;) {
    const Reserved job = read_reserved(peer);
    add_put(peer, job.body);
    peer.add("delete " + job.id + "\r\nreserve\r\n");
    peer.flush();
    expect(peer, "INSERTED");
    expect(peer, "DELETED");
  }
}

void put_all(Connection& peer, int count) {
  const std::string payload(kPayloadBytes, 'x');
  for (int done = 0; done < count; done += kBatch) {
    const int now = std::min(kBatch, count - done);
    for (int i = 0; i < now; ++i) add_put(peer, payload);
    peer.flush();
    for (int i = 0; i < now; ++i) expect(peer, "INSERTED");
  }
}

void collect(Connection& peer, int count) {
  for (int done = 0; done < count; done += kCollect) {
    const int now = std::min(kCollect, count - done);
    for (int i = 0; i < now; ++i) peer.add("reserve\r\n");
    peer.flush();
    std::vector<std::string> ids;
    for (int i = 0; i < now; ++i) ids.push_back(read_reserved(peer).id);
    for (const std::string& id : ids) peer.add("delete " + id + "\r\n");
    peer.flush();
    for (int i = 0; i < now; ++i) expect(peer, "DELETED");
  }
}

void flood(int port, int count) {
  Connection submitting(port);
  Connection collecting(port);
  choose_tubes(submitting, "jobs", "unused");
  choose_tubes(collecting, "unused", "results");
  const Stopwatch watch;
  std::thread putter([&] { put_all(submitting, count); });
  collect(collecting, count);
  putter.join();
  print_rate(static_cast<std::uint64_t>(count), watch.seconds());
}

void one_at_a_time(int port, int count) {
  Connection submitting(port);
  Connection collecting(port);
  choose_tubes(submitting, "jobs", "unused");
  choose_tubes(collecting, "unused", "results");
  const std::string payload(kPayloadBytes, 'x');
  std::vector<double> seconds;
  for (int i = 0; i < count + kWarmUp; ++i) {
    const Stopwatch watch;
    collecting.add("reserve\r\n");
    collecting.flush();
    add_put(submitting, payload);
    submitting.flush();
    expect(submitting, "INSERTED");
    const Reserved result = read_reserved(collecting);
    if (i >= kWarmUp) seconds.push_back(watch.seconds());
    collecting.add("delete " + result.id + "\r\n");
    collecting.flush();
    expect(collecting, "DELETED");
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
  std::fprintf(stderr, "usage: bench-beanstalkd worker PORT | flood PORT COUNT | one PORT COUNT\n");
  return 2;
}
