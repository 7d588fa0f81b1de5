// Tasks that do what no task should, for tests/system/test_bad_workers.py: each takes its worker down in its own way.
#include <futured/task.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "tests/system/plugin/mappings.h"
#include "worker/channel/layout.h"

namespace {

constexpr int kDescriptorsMax = 1024;

void report(const std::string& gate) { std::ofstream(gate) << getpid() << std::endl; }

[[noreturn]] void wait_for_ever() {
  for (;;) pause();
}

// A process in a session of its own, orphaned, that would outlive everything; returns once it runs.
pid_t leave_sleeper() {
  int ends[2];
  if (pipe(ends) != 0) throw futured::TaskError("NoPipe", "pipe");
  if (fork() == 0) {
    setsid();
    if (fork() != 0) _exit(0);
    const pid_t self = getpid();
    if (write(ends[1], &self, sizeof self) != sizeof self) _exit(1);
    wait_for_ever();
  }
  pid_t left = 0;
  if (read(ends[0], &left, sizeof left) != sizeof left) throw futured::TaskError("NoSleeper", "it did not start");
  close(ends[0]);
  close(ends[1]);
  return left;
}

// Not inlined: their names are looked for in the stacks.
[[gnu::noinline]] void spins_for_ever(volatile std::uint64_t& counter) {
  for (;;) counter = counter + 1;
}
[[gnu::noinline]] void waits_for_ever(int descriptor) {
  char byte = 0;
  while (read(descriptor, &byte, 1) <= 0) {
  }
}

// Of a worker that has reported nothing yet.
void forge_done(const futured::channel::WireFence& fence, const std::string& result) {
  using futured::channel::DoneRecord;
  using futured::channel::Header;
  std::uint8_t* channel = nullptr;
  std::vector<int> wake_ups;
  for (int descriptor = 0; descriptor < kDescriptorsMax; ++descriptor) {
    std::error_code none;
    const std::string name = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(descriptor), none);
    if (name.starts_with("anon_inode:[eventfd")) wake_ups.push_back(descriptor);
    if (!name.starts_with("/memfd:futured-channel")) continue;
    const std::size_t bytes = std::filesystem::file_size("/proc/self/fd/" + std::to_string(descriptor));
    channel = static_cast<std::uint8_t*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0));
  }
  if (channel == nullptr || channel == MAP_FAILED) throw futured::TaskError("NoChannel", "it is not among descriptors");
  auto& header = *reinterpret_cast<Header*>(channel);
  std::uint8_t* const at = channel + futured::channel::kHeaderBytes + futured::channel::table_bytes(header.run_places) +
                           header.request_ring_bytes;
  DoneRecord record{};
  const std::size_t bytes = (sizeof record + result.size() + 7) / 8 * 8;
  record.header = {static_cast<std::uint32_t>(bytes), static_cast<std::uint16_t>(futured::channel::RecordType::kDone),
                   0};
  record.fence = fence;
  record.status = static_cast<std::uint32_t>(futured::channel::DoneStatus::kSucceeded);
  record.result_bytes = static_cast<std::uint32_t>(result.size());
  std::memcpy(at, &record, sizeof record);
  std::memcpy(at + sizeof record, result.data(), result.size());
  header.response_published.store(bytes);
  const std::uint64_t one = 1;
  for (const int descriptor : wake_ups) (void)!write(descriptor, &one, sizeof one);
}

}  // namespace

FUTURED_TASK("test.flaky", [](futured::Context& context, std::int64_t succeeds_at) {
  if (context.attempt() < static_cast<std::uint32_t>(succeeds_at)) throw futured::TaskError("Flaky", "not this time");
  return static_cast<std::int64_t>(context.attempt());
});

FUTURED_TASK("test.hopeless", []() { throw futured::TaskError("Hopeless", "never", futured::Retry::kPointless); });

FUTURED_TASK("test.do_not_retry", []() { throw futured::DoNotRetry("NoSuchUser", "bob is gone"); });

// Fails as it is told, and then, at its third attempt, succeeds.
FUTURED_TASK("test.fails_as", [](futured::Context& context, std::string error_class) {
  if (context.attempt() < 3) throw futured::TaskError(error_class, "as asked");
  return static_cast<std::int64_t>(context.attempt());
});

// Asks for a delay, in milliseconds, once.
FUTURED_TASK("test.retry_after", [](futured::Context& context, std::int64_t delay_ms) {
  if (context.attempt() < 2) throw futured::RetryAfter(std::chrono::milliseconds(delay_ms), "Busy", "come back");
  return static_cast<std::int64_t>(context.attempt());
});

FUTURED_TASK("test.too_large", []() { return std::string(300 * 1024 * 1024, 'x'); });

// More than the machine has addresses for.
FUTURED_TASK("test.no_memory", [](futured::Context& context) {
  return context.make_array<double>({std::uint64_t{1} << 40, std::uint64_t{1} << 40});
});

// As if it had never been taken: writes OFFERED over TAKEN in its own place of the run table, once it was asked to
// stop.
FUTURED_TASK("test.untake", [](futured::Context& context, std::string gate) {
  report(gate);
  while (context.wait_for(std::chrono::seconds(60))) {
  }
  const std::uint64_t job = context.job_id();
  for (const Mapping& mapping : shared_mappings()) {
    for (std::size_t at = 4096; at + 64 <= mapping.bytes; at += 64) {  // docs/formats/channel.md: the run table
      auto* const place = reinterpret_cast<volatile std::uint32_t*>(mapping.from + at);
      const bool is_mine = place[0] == static_cast<std::uint32_t>(job) && place[1] == 0 &&
                           place[2] == context.epoch() && place[3] == context.attempt();
      if (is_mine && place[6] == 2) place[6] = 1;
    }
  }
  wait_for_ever();
});

FUTURED_TASK("test.crash", []() { std::abort(); });

FUTURED_TASK("test.exit", [](std::int64_t code) { _exit(static_cast<int>(code)); });

// Crashes once, then works: `proof` is a file that the first attempt leaves.
FUTURED_TASK("test.crash_once", [](std::string proof) {
  if (access(proof.c_str(), F_OK) != 0) {
    std::ofstream(proof) << "was here\n";
    std::abort();
  }
  return std::string("second time");
});

FUTURED_TASK("test.hang", [](std::string gate) {
  signal(SIGTERM, SIG_IGN);
  report(gate);
  wait_for_ever();
});

// Emits its first argument, tells the gate, and waits for its stop.
FUTURED_TASK("test.stream", [](futured::Context& context, std::string text, std::string gate) {
  context.emit(text);
  report(gate);
  while (context.wait_for(std::chrono::seconds(60))) {
  }
  context.emit("stopped;");
  context.throw_if_stopped();
});

FUTURED_TASK("test.emit_and_throw", [](futured::Context& context, std::string text) {
  context.emit(text);
  context.log(futured::LogLevel::kError, "cannot go on");
  throw futured::TaskError("Failed", "on purpose");
});

// So many MiB, each of bytes of its own number.
FUTURED_TASK("test.emit_much", [](futured::Context& context, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) context.emit(std::string(1 << 20, static_cast<char>(i)));
});

FUTURED_TASK("test.progress", [](futured::Context& context, double fraction, std::string message, std::string gate) {
  context.progress(fraction, message);
  report(gate);
  while (context.wait_for(std::chrono::seconds(60))) {
  }
  context.throw_if_stopped();
});

FUTURED_TASK("test.talk", [](futured::Context& context, std::string text) {
  context.log(futured::LogLevel::kWarning, text);
  context.emit(text);
});

FUTURED_TASK("test.partial", [](futured::Context& context) {
  while (context.wait_for(std::chrono::seconds(60))) {
  }
  return std::string(context.stop_reason() == futured::StopReason::kSoftTimeout ? "half of it" : "nothing");
});

FUTURED_TASK("test.spin", [](std::string gate) {
  int ends[2];
  if (pipe(ends) != 0) throw futured::TaskError("NoPipe", "pipe");
  for (int i = 0; i < 2; ++i) {
    std::thread helper([descriptor = ends[0]] {
      pthread_setname_np(pthread_self(), "helper");
      waits_for_ever(descriptor);
    });
    helper.detach();
  }
  report(gate);
  volatile std::uint64_t counter = 0;
  spins_for_ever(counter);
});

FUTURED_TASK("test.beat", [](futured::Context& context, std::string sign, std::int64_t count, double seconds) {
  const auto time = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
  for (std::int64_t i = 0; i < count; ++i) {
    if (sign == "heartbeat") context.heartbeat();
    if (sign == "progress") context.progress(0.5, "at it");
    if (sign == "emit") context.emit("x");
    if (sign == "log") context.log(futured::LogLevel::kInfo, "at it");
    if (!context.wait_for(time)) throw futured::Stopped();
  }
});

// Beats 20 times a second, and writes its pid to the gate each time, until the file is there; then it is silent.
FUTURED_TASK("test.beat_until", [](futured::Context& context, std::string file, std::string gate) {
  while (access(file.c_str(), F_OK) != 0) {
    context.heartbeat();
    report(gate);
    static_cast<void>(context.wait_for(std::chrono::milliseconds(50)));
  }
  wait_for_ever();
});

FUTURED_TASK("test.emit_and_hang", [](futured::Context& context, std::string text) {
  context.emit(text);
  wait_for_ever();
});

FUTURED_TASK("test.silent_once", [](futured::Context& context) {
  if (context.attempt() == 1) wait_for_ever();
});

// Returns the worker's pid.
// "pid jobs_run_before"
FUTURED_TASK("test.who", [](futured::Context& context) {
  return std::to_string(getpid()) + " " + std::to_string(context.jobs_run_before());
});

// "pid thread", when it has been told to go on by the file; 20 s at most.
FUTURED_TASK("test.meet", [](std::string gate, std::string go) {
  report(gate);
  for (int i = 0; i < 2000 && access(go.c_str(), F_OK) != 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return std::to_string(getpid()) + " " + std::to_string(gettid());
});

// Brings its process down, in one of the ways that there are.
FUTURED_TASK("test.bring_down", [](std::string how) {
  if (how == "abort") std::abort();
  if (how == "exit") exit(3);
  if (how == "throw") std::thread([] { throw 1; }).join();
  if (how == "segv") *reinterpret_cast<volatile int*>(8) = 1;
  if (how == "overflow") {
    const std::function<int(int)> deeper = [&](int n) {
      volatile char room[4096] = {};
      return deeper(n + 1) + room[n % 4096];
    };
    deeper(0);
  }
});

// Leaves the process changed, in one of the ways that there are.
FUTURED_TASK("test.leave_changed", [](std::string what) {
  if (what == "directory" && chdir("/tmp") != 0) throw futured::TaskError("NoDirectory", "/tmp");
  if (what == "environment") setenv("LEFT_BEHIND", "1", 1);
  if (what == "umask") umask(0);
  if (what == "descriptor" && dup(0) < 0) throw futured::TaskError("NoDescriptor", "dup");
  if (what == "thread") std::thread([] { wait_for_ever(); }).detach();
  if (what == "signals") {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &one, nullptr);
  }
  if (what == "limits") {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
  }
  static std::vector<char> grown;
  if (what == "memory") grown.assign(64 << 20, 'x');
});

// What this process may do and where it is, a line each; leaves so many files behind where it is.
FUTURED_TASK("test.look_around", [](std::int64_t files) {
  std::string text;
  rlimit descriptors{};
  getrlimit(RLIMIT_NOFILE, &descriptors);
  text += "nofile " + std::to_string(descriptors.rlim_max) + "\n";
  text += "nice " + std::to_string(getpriority(PRIO_PROCESS, 0)) + "\n";
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Uid:") || line.starts_with("NoNewPrivs:")) text += line + "\n";
  }
  const auto here = std::filesystem::current_path();
  text += "directory " + here.string() + "\n";
  std::error_code ignored;
  const auto entries = std::distance(std::filesystem::directory_iterator(here, ignored), {});
  text += "entries " + std::to_string(entries) + "\n";
  for (std::int64_t i = 0; i < files; ++i) std::ofstream(std::to_string(i)) << "left";
  return text;
});

// A thread that is joined is nothing left.
FUTURED_TASK("test.join", []() { std::thread([] {}).join(); });

FUTURED_TASK("test.close_and_return", []() {
  for (int descriptor = 3; descriptor < kDescriptorsMax; ++descriptor) close(descriptor);
  return static_cast<std::int64_t>(getpid());
});

// The sleeper's pid is the result, the message, or goes to the gate.
FUTURED_TASK("test.leave_and_return", []() { return static_cast<std::int64_t>(leave_sleeper()); });

FUTURED_TASK("test.leave_and_throw", []() { throw futured::TaskError("Left", std::to_string(leave_sleeper())); });

FUTURED_TASK("test.fork_and_return", []() { return std::string(fork() == 0 ? "child" : "parent"); });

FUTURED_TASK("test.leave_and_stop", [](futured::Context& context, std::string gate) {
  std::ofstream(gate) << leave_sleeper() << std::endl;
  while (context.wait_for(std::chrono::seconds(60))) {
  }
  context.throw_if_stopped();
});

FUTURED_TASK("test.close_and_hang", [](std::string gate) {
  report(gate);
  for (int descriptor = 0; descriptor < kDescriptorsMax; ++descriptor) close(descriptor);
  wait_for_ever();
});

// Writes random bytes over every byte of the channel, then reports a result through what is left of it.
FUTURED_TASK("test.scribble", [](std::int64_t seed) {
  std::mt19937_64 random(static_cast<std::uint64_t>(seed));
  for (const Mapping& mapping : shared_mappings()) {
    for (std::size_t i = 0; i < mapping.bytes; ++i) mapping.from[i] = static_cast<std::uint8_t>(random());
  }
  return seed;
});

// Writes one random word into the channel's header, and waits: the daemon has to see it by itself, or not be harmed.
FUTURED_TASK("test.scribble_word", [](std::int64_t seed) {
  std::mt19937_64 random(static_cast<std::uint64_t>(seed));
  for (const Mapping& mapping : shared_mappings()) {
    const std::size_t place = random() % std::min<std::size_t>(mapping.bytes / 8, 64);
    reinterpret_cast<volatile std::uint64_t*>(mapping.from)[place] = random();
  }
  return seed;
});

std::vector<std::vector<char>> eaten(std::int64_t mib) {
  std::vector<std::vector<char>> kept;
  for (std::int64_t i = 0; i < mib; ++i) kept.emplace_back(std::size_t{1} << 20, 'x');
  return kept;
}

// Reports a result of its own making, past the runtime: one part that names a segment, which does not come with it.
FUTURED_TASK("test.name_segment", [](futured::Context& context, std::uint64_t segment) {
  std::string result = {'\1', '\0'};
  for (std::uint64_t number : {segment, std::uint64_t{0}, std::uint64_t{8}}) {
    for (; number >= 0x80; number >>= 7) result += static_cast<char>(number | 0x80);
    result += static_cast<char>(number);
  }
  forge_done({context.job_id(), context.epoch(), context.attempt()}, result);
  wait_for_ever();
});

// Takes so much memory, in its own time, and keeps it.
FUTURED_TASK("test.eat", [](std::int64_t mib) {
  const auto kept = eaten(mib);
  wait_for_ever();
});

// The same, but for so long only that whoever samples has seen it.
FUTURED_TASK("test.eat_for", [](std::int64_t mib, std::int64_t ms) {
  const auto kept = eaten(mib);
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
  return mib;
});

// An array, which reaches its reader in a segment.
FUTURED_TASK("test.ones", [](futured::Context& context, std::uint64_t count) {
  auto ones = context.make_array<double>({count});
  for (double& one : ones.elements()) one = 1;
  return ones;
});
