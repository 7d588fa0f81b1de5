#include <fcntl.h>
#include <linux/memfd.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <new>
#include <vector>

#include "base/fd.h"
#include "tests/bench/limits/limits.h"
#include "tests/bench/peers/connection.h"
#include "tests/bench/sum.h"
#include "tests/bench/timing.h"

namespace futured::bench {

namespace {

// One direction: fixed slots, one writer, one reader, indices on lines of their own.
struct Ring {
  static constexpr std::uint64_t kSlots = 4096;
  struct Message {
    std::array<std::uint64_t, 16> words;
  };
  alignas(64) std::atomic<std::uint64_t> written{0};
  alignas(64) std::atomic<std::uint64_t> read{0};
  alignas(64) std::array<Message, kSlots> slots;
};
static_assert(sizeof(Ring::Message) == 128);

void* shared_memory(std::size_t bytes, int descriptor) {
  const int flags = MAP_SHARED | (descriptor < 0 ? MAP_ANONYMOUS : 0);
  const int protection = descriptor < 0 ? PROT_READ | PROT_WRITE : PROT_READ;
  void* const at = ::mmap(nullptr, bytes, protection, flags, descriptor, 0);
  if (at == MAP_FAILED) give_up("mmap failed");
  return at;
}

// Moves as many messages as there are and room is for. Returns the sum of their first words.
std::uint64_t take(Ring& ring, std::uint64_t& count) {
  const std::uint64_t from = ring.read.load(std::memory_order_relaxed);
  const std::uint64_t until = ring.written.load(std::memory_order_acquire);
  std::uint64_t sum = 0;
  for (std::uint64_t i = from; i < until; ++i) sum += ring.slots[i % Ring::kSlots].words[0];
  ring.read.store(until, std::memory_order_release);
  count += until - from;
  return sum;
}

std::uint64_t put(Ring& ring, std::uint64_t first, std::uint64_t count_max) {
  const std::uint64_t from = ring.written.load(std::memory_order_relaxed);
  const std::uint64_t room = Ring::kSlots - (from - ring.read.load(std::memory_order_acquire));
  const std::uint64_t count = std::min(room, count_max);
  for (std::uint64_t i = 0; i < count; ++i) ring.slots[(from + i) % Ring::kSlots].words.fill(first + i);
  ring.written.store(from + count, std::memory_order_release);
  return count;
}

void run_commands(std::uint64_t count) {
  char name[] = "/bin/true";
  std::array<char*, 2> arguments{name, nullptr};
  for (std::uint64_t i = 0; i < count; ++i) {
    pid_t child = 0;
    int status = 0;
    if (::posix_spawn(&child, name, nullptr, nullptr, arguments.data(), environ) != 0) give_up("cannot run /bin/true");
    if (::waitpid(child, &status, 0) != child || status != 0) give_up("/bin/true did not end well");
  }
}

template <typename Work>
pid_t in_child(const Work& work) {
  const pid_t child = ::fork();
  if (child < 0) give_up("fork failed");
  if (child == 0) {
    work();
    ::_exit(0);
  }
  return child;
}

void await_child(pid_t child) {
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) give_up("a measuring process failed");
}

Fd sealed_array(std::size_t bytes) {
  Fd memory(::memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.is_open() || ::ftruncate(memory.get(), static_cast<off_t>(bytes)) != 0) give_up("memfd failed");
  void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (at == MAP_FAILED) give_up("mmap failed");
  auto* const numbers = static_cast<double*>(at);
  for (std::size_t i = 0; i < bytes / sizeof(double); ++i) numbers[i] = static_cast<double>(i % 1000);
  ::munmap(at, bytes);
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
    give_up("sealing failed");
  }
  return memory;
}

}  // namespace

void measure_ring(std::uint64_t messages) {
  auto* const there = new (shared_memory(sizeof(Ring), -1)) Ring;
  auto* const back = new (shared_memory(sizeof(Ring), -1)) Ring;
  const std::uint64_t expected = messages * (messages - 1) / 2;
  const pid_t echo = in_child([&] {
    std::uint64_t sum = 0;
    for (std::uint64_t taken = 0, sent = 0; sent < messages;) {
      sum += take(*there, taken);
      sent += put(*back, sent, taken - sent);
    }
    if (sum != expected) ::_exit(1);
  });
  const Stopwatch watch;
  std::uint64_t sum = 0;
  for (std::uint64_t sent = 0, taken = 0; taken < messages;) {
    sent += put(*there, sent, messages - sent);
    sum += take(*back, taken);
  }
  const double seconds = watch.seconds();
  await_child(echo);
  if (sum != expected) give_up("the ring lost messages");
  print_rate(messages, seconds);
}

template <typename Work>
void measure_two_at_a_time(std::uint64_t count, const Work& work) {
  const Stopwatch watch;
  const pid_t first = in_child([&] { work(count / 2); });
  const pid_t second = in_child([&] { work(count - count / 2); });
  await_child(first);
  await_child(second);
  print_rate(count, watch.seconds());
}

void measure_spawn(std::uint64_t commands) { measure_two_at_a_time(commands, run_commands); }

void measure_fork(std::uint64_t forks) {
  measure_two_at_a_time(forks, [](std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) await_child(in_child([] {}));
  });
}

// The loop of the task `sum_squares`.
void sum_squares(std::uint64_t n) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < n; ++i) {
    sum += i * i;
    asm volatile("" : "+r"(sum));  // the compiler knows the closed formula
  }
}

void measure_compute(std::uint64_t calls, std::uint64_t n, int processes) {
  const Stopwatch watch;
  std::vector<pid_t> children;
  for (int process = 0; process < processes; ++process) {
    const std::uint64_t share = calls * (process + 1) / processes - calls * process / processes;
    children.push_back(in_child([&] {
      if (::setsid() < 0) ::_exit(1);  // as a worker does: the kernel may share the cores out by session
      for (std::uint64_t call = 0; call < share; ++call) sum_squares(n);
    }));
  }
  for (const pid_t child : children) await_child(child);
  print_rate(calls, watch.seconds());
}

void measure_array(std::uint64_t mebibytes, int rounds) {
  const std::size_t bytes = mebibytes << 20;
  constexpr int kWarmSums = 25;
  constexpr int kSums = 1 + kWarmSums;
  const auto times = static_cast<double*>(shared_memory(kSums * sizeof(double) * static_cast<std::size_t>(rounds), -1));
  for (int round = 0; round < rounds; ++round) {
    const Fd array = sealed_array(bytes);
    await_child(in_child([&] {
      const Stopwatch fresh;
      const auto* const numbers = static_cast<const double*>(shared_memory(bytes, array.get()));
      const double first = sum_of(numbers, bytes / sizeof(double));
      times[kSums * round] = fresh.seconds();
      for (int again = 1; again < kSums; ++again) {
        const Stopwatch warm;
        const double sum = sum_of(numbers, bytes / sizeof(double));
        times[kSums * round + again] = warm.seconds();
        if (sum != first) ::_exit(1);
      }
    }));
  }
  std::vector<double> fresh;
  std::vector<double> warm;
  for (int round = 0; round < rounds; ++round) {
    fresh.push_back(times[kSums * round]);
    warm.insert(warm.end(), times + kSums * round + 1, times + kSums * (round + 1));
  }
  std::sort(fresh.begin(), fresh.end());
  std::sort(warm.begin(), warm.end());
  std::printf("{\"fresh_ms\": %.3f, \"warm_ms\": %.3f, \"rounds\": %d}\n", fresh[fresh.size() / 2] * 1e3,
              warm[warm.size() / 2] * 1e3, rounds);
}

}  // namespace futured::bench
