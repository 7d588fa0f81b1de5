// Arrays in files: dumped compressed, loaded in part, and worked on by a task straight from the file.
#include <futured/client.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <numeric>

using namespace futured::client;

int main() {
  char pattern[] = "/tmp/dump-load-XXXXXX";
  const std::filesystem::path folder = ::mkdtemp(pattern);
  const std::string path = folder / "numbers.fut";

  const auto numbers = futured::Array<double>::zeros({1000, 1000});
  std::iota(numbers.begin(), numbers.end(), 0.0);
  dump(path, numbers, {.compression = 3});
  const ArrayFile file(path);
  std::printf("%llu bytes in %llu\n", static_cast<unsigned long long>(file.bytes()),
              static_cast<unsigned long long>(file.file_bytes()));

  const MappedBytes rows = load(path, 100, 200);
  const futured::Array<const double> loaded = rows.array<double>();
  const double own = std::accumulate(loaded.begin(), loaded.end(), 0.0);

  const Client client = Client::connect();
  const Segment segment = client.put(file, 100, 200);
  const double sum = std::stod(client.executor().submit("sum", {part_of(segment)}).result());
  std::printf("sum of 100 rows: %.17g, the worker's: %.17g\n", own, sum);

  std::filesystem::remove_all(folder);
  return std::abs(sum - own) <= own * 1e-9 ? 0 : 1;
}
