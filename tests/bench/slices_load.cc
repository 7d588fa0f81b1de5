// bench-slices: slices of one large array, summed by two bare processes and then by the workers of a running daemon,
// from the same sealed memory. tests/bench/run.py runs it; it prints one JSON object.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "futured/client.h"
#include "segment/array_type.h"
#include "segment/memory.h"
#include "segment/socket_client.h"
#include "tests/bench/sum.h"
#include "tests/bench/timing.h"

namespace futured::bench {
namespace {

constexpr int kProcesses = 2;
constexpr std::uint64_t kSlicesMax = 10'000;

template <typename T>
T checked(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

// Whole numbers: their sums are exact, in whatever order they are added.
Segment filled(std::uint64_t bytes) {
  SegmentWriter writer = checked(SegmentWriter::create("bench-slices", bytes));
  auto* const numbers = reinterpret_cast<double*>(writer.bytes().data());
  for (std::size_t i = 0; i < bytes / sizeof(double); ++i) numbers[i] = static_cast<double>(i % 1000);
  return checked(std::move(writer).seal());
}

struct Slices {
  std::uint64_t elements;
  std::uint64_t count;

  [[nodiscard]] std::uint64_t begin(std::uint64_t slice) const { return elements * slice / count; }
};

// What the processes share: which slice is next, and what each came to.
struct Board {
  std::atomic<std::uint64_t> next{0};
  double sums[kSlicesMax]{};
};

Board* shared_board() {
  void* const at = ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) throw std::runtime_error("mmap failed");
  return new (at) Board;
}

// In a child: waits for a byte, then sums the slices that nobody else has taken. In a session of its own, as a worker
// is: the kernel may share the cores out by session.
[[noreturn]] void sum_when_told(int start, const Segment& array, const Slices& slices, Board& board) {
  char byte = 0;
  if (::setsid() < 0 || ::read(start, &byte, 1) != 1) ::_exit(1);
  const Result<Mapping> mapping = map_segment(array);
  if (!mapping.ok()) ::_exit(1);
  const auto* const numbers = reinterpret_cast<const double*>(mapping->bytes().data());
  for (std::uint64_t slice = board.next++; slice < slices.count; slice = board.next++) {
    const std::uint64_t begin = slices.begin(slice);
    board.sums[slice] = sum_of(numbers + begin, slices.begin(slice + 1) - begin);
  }
  ::_exit(0);
}

// The processes are there before the clock starts, as a pool's workers are. To be called while there are no threads.
double seconds_of_processes(const Segment& array, const Slices& slices, Board& board) {
  int start[2];
  if (::pipe(start) != 0) throw std::runtime_error("pipe failed");
  pid_t children[kProcesses];
  for (pid_t& child : children) {
    child = ::fork();
    if (child < 0) throw std::runtime_error("fork failed");
    if (child == 0) sum_when_told(start[0], array, slices, board);
  }
  const Stopwatch watch;
  if (::write(start[1], "go", kProcesses) != kProcesses) throw std::runtime_error("write failed");
  bool all_well = true;
  for (const pid_t child : children) {
    int status = 0;
    all_well = ::waitpid(child, &status, 0) == child && status == 0 && all_well;
  }
  const double seconds = watch.seconds();
  if (!all_well) throw std::runtime_error("a bare process failed");
  return seconds;
}

double seconds_of_daemon(const std::string& address, const Segment& array, const Slices& slices, const Board& board) {
  const client::Client daemon = client::Client::connect(address);
  const client::Executor executor = daemon.executor();
  static_cast<void>(executor.submit("noop", "").result());  // a worker is there
  SegmentClient socket = checked(SegmentClient::connect(address));
  const SegmentId id = checked(socket.put(array, format_array_type({"float64", {slices.elements}})));
  const auto rows = static_cast<std::int64_t>(slices.elements);
  const client::Segment whole{.id = id.value, .begin = 0, .end = array.size, .dtype = "float64", .shape = {rows}};

  std::vector<client::Future> futures;
  const Stopwatch watch;
  for (std::uint64_t slice = 0; slice < slices.count; ++slice) {
    const auto begin = static_cast<std::int64_t>(slices.begin(slice));
    const auto end = static_cast<std::int64_t>(slices.begin(slice + 1));
    futures.push_back(executor.submit("sum", {client::part_of(client::rows_of(whole, begin, end))}));
  }
  bool all_right = true;
  for (std::uint64_t slice = 0; slice < slices.count; ++slice) {
    all_right = std::stod(futures[slice].result()) == board.sums[slice] && all_right;
  }
  const double seconds = watch.seconds();
  if (!all_right) throw std::runtime_error("a sum is wrong");
  return seconds;
}

int run(int argc, char** argv) {
  const std::uint64_t mebibytes = argc == 4 ? std::strtoull(argv[2], nullptr, 10) : 0;
  const std::uint64_t count = argc == 4 ? std::strtoull(argv[3], nullptr, 10) : 0;
  if (mebibytes == 0 || count == 0 || count > kSlicesMax) {
    std::fprintf(stderr, "usage: bench-slices SOCKET MEBIBYTES SLICES, at most %llu of them\n",
                 static_cast<unsigned long long>(kSlicesMax));
    return 2;
  }
  const Segment array = filled(mebibytes << 20);
  const Slices slices{array.size / sizeof(double), count};
  Board& board = *shared_board();
  const double bare = seconds_of_processes(array, slices, board);
  const double futured = seconds_of_daemon(argv[1], array, slices, board);
  std::printf("{\"futured_ms\": %.3f, \"bare_ms\": %.3f, \"slices\": %llu}\n", futured * 1e3, bare * 1e3,
              static_cast<unsigned long long>(count));
  return 0;
}

}  // namespace
}  // namespace futured::bench

int main(int argc, char** argv) {
  try {
    return futured::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench: %s\n", error.what());
    return 1;
  }
}
