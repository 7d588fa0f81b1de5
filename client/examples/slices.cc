// Slices of an array: each job is given its rows, and maps only those.
#include <futured/client.h>

#include <cmath>
#include <cstdio>
#include <numeric>
#include <span>
#include <vector>

using namespace futured::client;

int main() {
  const Client client = Client::connect();
  SegmentBuffer buffer(8 << 20);
  const std::span<double> elements = buffer.as<double>();
  std::iota(elements.begin(), elements.end(), 0.0);
  const double own = std::accumulate(elements.begin(), elements.end(), 0.0);
  const Segment array = client.put_array<double>(std::move(buffer));

  const Executor executor = client.executor();
  const std::int64_t rows = array.shape.front();
  std::vector<Future> parts;
  for (std::int64_t i = 0; i < 8; ++i) {
    parts.push_back(executor.submit("sum", {part_of(rows_of(array, rows * i / 8, rows * (i + 1) / 8))}));
  }
  double sum = 0;
  for (const Future& part : parts) sum += std::stod(part.result());
  std::printf("sum of 8 slices: %.17g, all at once: %.17g\n", sum, own);
  return std::abs(sum - own) <= own * 1e-9 ? 0 : 1;
}
