// A payload goes into shared memory once. A job that is given it gets a descriptor, so its size does not matter, and
// nothing is encoded or copied again.
#include <futured/client.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

using namespace futured::client;

namespace {

double milliseconds_a_job(const Executor& executor, const std::vector<Part>& payload) {
  constexpr int kJobs = 20;
  const auto begin = std::chrono::steady_clock::now();
  for (int job = 0; job < kJobs; ++job) static_cast<void>(executor.submit("noop", payload).parts());
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count() / kJobs;
}

}  // namespace

int main() {
  const Client client = Client::connect();
  const Executor executor = client.executor();

  SegmentBuffer buffer(256 << 20);
  std::ranges::fill(buffer.bytes(), std::byte{'x'});
  const Segment large = client.put(std::move(buffer));
  static_cast<void>(executor.submit("noop", "").parts());  // a worker is there
  std::printf("a job on 16 bytes: %.2f ms\n", milliseconds_a_job(executor, {Part{.bytes = std::string(16, 'x')}}));
  std::printf("a job on 256 MiB:  %.2f ms\n", milliseconds_a_job(executor, {part_of(large)}));

  // They are the same bytes, there and here.
  constexpr std::size_t kMebibyte = std::size_t{1} << 20;
  Segment stretch = large;
  stretch.end = stretch.begin + kMebibyte;
  const std::string there = executor.submit("sha256", {part_of(stretch)}).result();
  const std::string here = executor.submit("sha256", std::string(kMebibyte, 'x')).result();
  std::printf("the first of them hash to %s\n", there.c_str());
  return there == here ? 0 : 1;
}
