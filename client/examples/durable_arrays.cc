// Arrays that outlive the machine: one is sent once and named by many jobs, the other comes with its job, which is
// accepted when the array is on disk.
#include <futured/client.h>

#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

using namespace futured::client;

int main() {
  const Client client = Client::connect();
  std::vector<double> numbers(100'000);
  std::iota(numbers.begin(), numbers.end(), 0.0);
  const std::int64_t rows = 100'000;

  // Sent once. Whoever knows the digest finds it again, after a restart of everything, too.
  const StoredSegment sent = client.store(std::as_bytes(std::span(numbers)), "float64", {rows});
  std::printf("%s\n", sent.digest.c_str());
  const Segment array = client.find_stored(sent.digest).segment;
  const Executor executor = client.executor();
  const double first = std::stod(executor.submit("sum", {part_of(rows_of(array, 0, rows / 2))}).result());
  const double second = std::stod(executor.submit("sum", {part_of(rows_of(array, rows / 2, rows))}).result());

  // Handed in with a job that must not be lost.
  const Segment shared = client.put(std::as_bytes(std::span(numbers)), "float64", {rows});
  const Executor careful = client.executor({.durable_segments = true});
  const double all = std::stod(careful.submit("sum", {part_of(shared)}).result());

  client.drop(sent.segment);  // jobs that name it keep it
  std::printf("%.17g + %.17g = %.17g\n", first, second, all);
  return first + second == all ? 0 : 1;
}
