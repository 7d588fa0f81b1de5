#include "worker/runtime/stacks.h"

#include <cxxabi.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/limits.h"
#include "worker/runtime/proc_reader.h"
#include "worker/runtime/spool.h"
#include "worker/runtime/symbols.h"

namespace futured::runtime {

namespace {

// All of this runs in a signal handler, on top of whatever the task was in the middle of: no allocation, no lock, no
// stdio. Buffers are static; pages that are never touched cost nothing.
constexpr int kFramesMax = 64;
constexpr int kThreadsMax = 128;
constexpr long kThreadPatienceNs = 50'000'000;  // for one thread to tell its stack

struct Stack {
  pid_t thread = 0;
  int frames = 0;  // -1: it did not answer
  void* at[kFramesMax];
  char name[32] = {};
  char waits_in[64] = {};
};

pid_t g_worker = 0;  // what a task forks has our handler too, but is not the worker
std::string g_spool_directory;
struct CurrentRun {
  std::atomic<const channel::Run*> run{nullptr};
  const channel::WorkerEnd* end = nullptr;  // while there is a run
};
CurrentRun g_runs[limits::kJobsAtOnceMax];
std::atomic<std::uint32_t> g_runs_given{0};
std::atomic<bool> g_telling{false};
std::atomic<pid_t> g_asked{0};             // the thread that is to fill in g_answer
std::atomic<std::uint32_t> g_answered{0};  // futex: how many have
Stack g_stacks[kThreadsMax];
Stack* g_answer = nullptr;

pid_t thread_id() { return static_cast<pid_t>(syscall(SYS_gettid)); }

// Where the signal found the thread: what lies above it is ours.
void* interrupted_at(const void* context) {
  const auto& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return reinterpret_cast<void*>(machine.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return reinterpret_cast<void*>(machine.pc);
#else
  static_cast<void>(machine);
  return nullptr;
#endif
}

void capture(Stack& stack, const void* context) {
  const int all = backtrace(stack.at, kFramesMax);
  int first = 0;
  while (first < all && stack.at[first] != interrupted_at(context)) ++first;
  if (first == all) first = 0;
  stack.frames = all - first;
  std::memmove(stack.at, stack.at + first, static_cast<std::size_t>(stack.frames) * sizeof stack.at[0]);
}

void copy_line(std::string_view text, std::span<char> into) {
  const std::size_t size = std::min(text.substr(0, text.find('\n')).size(), into.size() - 1);
  std::memcpy(into.data(), text.data(), size);
  into[size] = '\0';
}

void describe(Stack& stack, const char* thread) {
  char buffer[128];
  copy_line(read_proc(ProcPath("/proc/self/task/", thread, "/comm").text(), buffer), stack.name);
  copy_line(read_proc(ProcPath("/proc/self/task/", thread, "/wchan").text(), buffer), stack.waits_in);
}

void ask(Stack& stack) {
  stack.frames = -1;
  const std::uint32_t before = g_answered.load();
  g_answer = &stack;
  g_asked.store(stack.thread);
  if (syscall(SYS_tgkill, getpid(), stack.thread, SIGTERM) != 0) return;
  timespec patience{0, kThreadPatienceNs};
  while (g_answered.load() == before) {
    const long woken =
        syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&g_answered), FUTEX_WAIT, before, &patience, nullptr, 0);
    if (woken != 0 && errno == ETIMEDOUT) break;
  }
  // Too late from here on.
  pid_t expected = stack.thread;
  if (!g_asked.compare_exchange_strong(expected, 0) && g_answered.load() == before) stack.frames = -1;
}

// In the thread that was asked.
void answer(const void* context) {
  pid_t expected = thread_id();
  if (!g_asked.compare_exchange_strong(expected, 0)) return;
  capture(*g_answer, context);
  g_answered.fetch_add(1);
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&g_answered), FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

// Text into a file, up to the bound.
class Writer {
 public:
  explicit Writer(int file) : file_(file) {}
  Writer& operator<<(std::string_view text) {
    text = text.substr(0, limits::kStacksBytesMax - std::min(limits::kStacksBytesMax, total_));
    total_ += text.size();
    while (!text.empty()) {
      if (size_ == sizeof buffer_) flush();
      const std::size_t piece = std::min(text.size(), sizeof buffer_ - size_);
      std::memcpy(buffer_ + size_, text.data(), piece);
      size_ += piece;
      text.remove_prefix(piece);
    }
    return *this;
  }
  Writer& number(std::uint64_t value, unsigned base = 10) {
    char digits[24];
    std::size_t at = sizeof digits;
    do {
      digits[--at] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value != 0);
    return *this << std::string_view(digits + at, sizeof digits - at);
  }
  void flush() {
    for (std::size_t done = 0; done < size_;) {
      const ssize_t written = write(file_, buffer_ + done, size_ - done);
      if (written < 0 && errno != EINTR) break;
      done += written > 0 ? static_cast<std::size_t>(written) : 0;
    }
    size_ = 0;
  }

 private:
  int file_;
  std::size_t total_ = 0;
  std::size_t size_ = 0;
  char buffer_[4096];
};

enum class Names { kMangled, kDemangled };

void write_name(Writer& out, std::string_view name, Names names) {
  static char mangled[4096];
  if (names == Names::kDemangled && name.starts_with("_Z") && name.size() < sizeof mangled) {
    std::memcpy(mangled, name.data(), name.size());
    mangled[name.size()] = '\0';
    int status = 0;
    if (const char* const readable = abi::__cxa_demangle(mangled, nullptr, nullptr, &status); status == 0) {
      out << readable;
      return;
    }
  }
  out << name;
}

void write_stack(Writer& out, const Stack& stack, Symbols& symbols, Names names) {
  (out << "thread ").number(static_cast<std::uint64_t>(stack.thread)) << " " << stack.name;
  const std::string_view waits_in = stack.waits_in;
  if (!waits_in.empty() && waits_in != "0") out << ", waits in " << waits_in;
  out << "\n";
  if (stack.frames < 0) out << "  its stack was not told: it blocks SIGTERM, or is in the kernel\n";
  for (int i = 0; i < stack.frames; ++i) {
    // All but the first are where a call returns to, which may be behind the end of the function.
    const auto address = reinterpret_cast<std::uint64_t>(stack.at[i]) - (i > 0 ? 1 : 0);
    const Symbol symbol = symbols.find(address);
    (out << "  #").number(static_cast<std::uint64_t>(i)) << " ";
    if (!symbol.name.empty()) {
      write_name(out, symbol.name, names);
      (out << "+0x").number(symbol.offset, 16) << " in " << symbol.module << "\n";
    } else if (!symbol.module.empty()) {
      (out << symbol.module << "+0x").number(symbol.offset, 16) << "\n";
    } else {
      (out << "0x").number(address, 16) << "\n";
    }
  }
}

bool write_file(const char* path, const Fence& fence, int threads, int left_out, Names names) {
  const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return false;
  Writer out(file);
  (out << "worker ").number(static_cast<std::uint64_t>(getpid())) << ", job ";
  out.number(fence.job.value) << ", attempt ";
  out.number(fence.attempt) << ": ";
  out.number(static_cast<std::uint64_t>(threads + left_out)) << (threads + left_out == 1 ? " thread\n" : " threads\n");
  Symbols symbols;
  for (int i = 0; i < threads; ++i) write_stack(out, g_stacks[i], symbols, names);
  if (left_out > 0) out.number(static_cast<std::uint64_t>(left_out)) << " more threads are left out\n";
  out.flush();
  close(file);
  return true;
}

// "<spool>/42.1.3.stacks", with `suffix` behind it.
class StacksPath {
 public:
  StacksPath(const Fence& fence, std::string_view suffix) {
    add(g_spool_directory);
    add("/");
    add(fence.job.value);
    add(".");
    add(fence.epoch.value);
    add(".");
    add(fence.attempt);
    add(".stacks");
    add(suffix);
    text_[size_] = '\0';
  }
  [[nodiscard]] const char* text() const { return text_; }

 private:
  void add(std::string_view text) {
    const std::size_t length = std::min(text.size(), sizeof text_ - 1 - size_);
    std::memcpy(text_ + size_, text.data(), length);
    size_ += length;
  }
  void add(std::uint64_t value) {
    char digits[24];
    std::size_t at = sizeof digits;
    do {
      digits[--at] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
    add(std::string_view(digits + at, sizeof digits - at));
  }

  char text_[4096];
  std::size_t size_ = 0;
};

void tell_stacks(const Fence& fence, const void* context) {
  const pid_t self = thread_id();
  int threads = 0;
  int left_out = 0;
  for_each_number_in("/proc/self/task", [&](const char* name) {
    if (threads == kThreadsMax) {
      ++left_out;
      return;
    }
    Stack& stack = g_stacks[threads++];
    std::string_view text(name);
    stack.thread = take_number(text).value;
    describe(stack, name);
    if (stack.thread == self) {
      stack.waits_in[0] = '\0';  // we are
      capture(stack, context);
    } else {
      ask(stack);
    }
  });
  const StacksPath path(fence, "");
  if (!write_file(path.text(), fence, threads, left_out, Names::kMangled)) return;
  // To make names readable memory is needed, and the task may hold the lock on it. Then we hang here until we are
  // killed, and what was written stays.
  const StacksPath readable(fence, "-readable");
  if (write_file(readable.text(), fence, threads, left_out, Names::kDemangled)) {
    (void)rename(readable.text(), path.text());
  }
}

void on_terminate(int, siginfo_t*, void* context) {
  const int saved = errno;
  if (g_telling.load() && getpid() == g_worker) {
    answer(context);
    errno = saved;
    return;
  }
  if (getpid() == g_worker && !g_spool_directory.empty()) {
    for (const CurrentRun& current : g_runs) {
      const channel::Run* const run = current.run.load(std::memory_order_acquire);
      if (run == nullptr || !current.end->is_stopped_softly(*run)) continue;
      if (g_telling.exchange(true)) return;
      tell_stacks(run->fence, context);
      _exit(0);
    }
  }
  signal(SIGTERM, SIG_DFL);
  raise(SIGTERM);
  errno = saved;
}

}  // namespace

Status watch_for_stacks(const std::string& spool_directory) {
  g_spool_directory = spool_directory;
  static const bool is_loaded = [] {
    void* warm[1];
    return backtrace(warm, 1) >= 0;  // the first one loads what it needs
  }();
  static_cast<void>(is_loaded);
  return watch_for_stacks_again();
}

Status watch_for_stacks_again() {
  g_worker = getpid();
  static const struct sigaction action = [] {
    struct sigaction telling {};
    telling.sa_sigaction = on_terminate;
    telling.sa_flags = SA_SIGINFO | SA_RESTART;
    sigemptyset(&telling.sa_mask);
    return telling;
  }();
  if (sigaction(SIGTERM, &action, nullptr) != 0) return system_error("sigaction SIGTERM");
  return {};
}

void set_current_run(const channel::WorkerEnd& end, const channel::Run* run) {
  thread_local CurrentRun& mine = g_runs[g_runs_given.fetch_add(1) % limits::kJobsAtOnceMax];
  if (run != nullptr) mine.end = &end;
  mine.run.store(run, std::memory_order_release);
}

}  // namespace futured::runtime
