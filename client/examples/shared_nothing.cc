// Workers share a queue, which gives each the next piece, and an array that nobody can change any more. There is
// nothing to lock. The pool has as many workers as cores and memory allow (size "auto").
#include <futured/client.h>

#include <cmath>
#include <cstdio>
#include <numeric>
#include <span>
#include <vector>

using namespace futured::client;

int main() {
  const Client client = Client::connect();
  SegmentBuffer buffer(32 << 20);
  const std::span<double> elements = buffer.as<double>();
  std::iota(elements.begin(), elements.end(), 0.0);
  const double own = std::accumulate(elements.begin(), elements.end(), 0.0);
  const Segment array = client.put_array<double>(std::move(buffer));  // sealed: it stays as it is

  const Executor executor = client.executor();
  const std::int64_t rows = array.shape.front();
  constexpr int kPieces = 64;
  std::vector<Future> pieces;
  for (std::int64_t i = 0; i < kPieces; ++i) {
    pieces.push_back(executor.submit("sum", {part_of(rows_of(array, rows * i / kPieces, rows * (i + 1) / kPieces))}));
  }
  double sum = 0;
  for (const Future& piece : as_completed(pieces)) sum += std::stod(piece.result());

  for (const WorkerInfo& worker : client.workers("default")) {
    std::printf("worker %u: %llu jobs\n", worker.slot, static_cast<unsigned long long>(worker.jobs_run));
  }
  std::printf("sum of %d pieces: %.17g, all at once: %.17g\n", kPieces, sum, own);
  return std::abs(sum - own) <= own * 1e-9 ? 0 : 1;
}
