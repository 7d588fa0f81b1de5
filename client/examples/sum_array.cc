// An array in shared memory: filled in place, summed by a worker that maps the same memory. Nothing is copied.
#include <futured/client.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <span>

using namespace futured::client;

namespace {

double milliseconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

int main() {
  const Client client = Client::connect();
  SegmentBuffer buffer(64 << 20);
  const std::span<double> elements = buffer.as<double>();
  std::iota(elements.begin(), elements.end(), 0.0);
  const double own = std::accumulate(elements.begin(), elements.end(), 0.0);

  auto begin = std::chrono::steady_clock::now();
  const Segment array = client.put_array<double>(std::move(buffer));
  std::printf("handed over %llu MiB in %.2f ms\n", static_cast<unsigned long long>(array.bytes() >> 20),
              milliseconds_since(begin));

  double sum = 0;
  for (const char* const when : {"first", "again"}) {
    begin = std::chrono::steady_clock::now();
    sum = std::stod(client.executor().submit("sum", {part_of(array)}).result());
    std::printf("%s: the worker's sum is %.17g, after %.2f ms\n", when, sum, milliseconds_since(begin));
  }
  std::printf("the client's own sum is %.17g\n", own);
  // The worker may add in another order, so the last digits may differ.
  return std::abs(sum - own) <= own * 1e-9 ? 0 : 1;
}
