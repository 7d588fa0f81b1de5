#include "worker/runtime/leak_audit.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <utility>

#include "worker/runtime/proc_reader.h"

extern char** environ;

namespace futured::runtime {

namespace {

// Jobs that together took less share a look.
constexpr Duration kSharedLook = std::chrono::microseconds(100);
constexpr int kThreadLooks = 20;

// FNV-1a, over the strings in their order: setenv of the same value changes nothing.
std::uint64_t digest_of_environment() {
  std::uint64_t digest = 14695981039346656037ULL;
  for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
    for (const char* c = *variable;; ++c) {
      digest = (digest ^ static_cast<unsigned char>(*c)) * 1099511628211ULL;
      if (*c == '\0') break;
    }
  }
  return digest;
}

std::uint64_t signal_mask() {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  std::uint64_t bits = 0;
  for (int signal = 1; signal <= 64; ++signal) {
    if (sigismember(&mask, signal) == 1) bits |= std::uint64_t{1} << (signal - 1);
  }
  return bits;
}

int next_descriptor() {
  const int probe = fcntl(0, F_DUPFD_CLOEXEC, 0);
  if (probe >= 0) close(probe);
  return probe;  // -1: 0 is closed, or there is no room
}

std::string octal(mode_t mode) {
  char text[8];
  std::snprintf(text, sizeof text, "%04o", static_cast<unsigned>(mode));
  return text;
}

}  // namespace

ProcessImage ProcessImage::now() {
  ProcessImage image;
  struct stat directory {};
  if (stat(".", &directory) == 0) {
    image.directory_device_ = directory.st_dev;
    image.directory_ = directory.st_ino;
  }
  image.environment_ = digest_of_environment();
  image.umask_ = umask(0);
  (void)umask(image.umask_);
  image.signal_mask_ = signal_mask();
  std::size_t next_handler = 0;
  for (const int signal : {SIGTERM, SIGCHLD, SIGPIPE, SIGIO}) {
    struct sigaction action {};
    if (sigaction(signal, nullptr, &action) == 0) {
      image.signal_handlers_[next_handler] = reinterpret_cast<std::uintptr_t>(action.sa_handler);
    }
    ++next_handler;
  }
  image.next_descriptor_ = next_descriptor();
  image.threads_ = count_threads();
  for (std::size_t i = 0; i < kLimits; ++i) {
    rlimit limit{};
    if (getrlimit(static_cast<__rlimit_resource>(i), &limit) != 0) continue;
    image.limits_[2 * i] = limit.rlim_cur;
    image.limits_[2 * i + 1] = limit.rlim_max;
  }
  return image;
}

std::vector<std::string> ProcessImage::differences(const ProcessImage& later) const {
  std::vector<std::string> found;
  if (directory_device_ != later.directory_device_ || directory_ != later.directory_) {
    char path[4096];
    found.push_back(std::string("working directory, now ") +
                    (getcwd(path, sizeof path) != nullptr ? path : std::strerror(errno)));
  }
  if (environment_ != later.environment_) found.emplace_back("environment variables");
  if (umask_ != later.umask_) found.push_back("umask " + octal(umask_) + ", now " + octal(later.umask_));
  if (signal_mask_ != later.signal_mask_) found.emplace_back("blocked signals");
  if (signal_handlers_ != later.signal_handlers_) found.emplace_back("signal handlers");
  if (next_descriptor_ != later.next_descriptor_) {
    found.push_back("open descriptors: the lowest free one was " + std::to_string(next_descriptor_) + ", now " +
                    std::to_string(later.next_descriptor_));
  }
  if (threads_ != later.threads_) {
    found.push_back("threads: " + std::to_string(threads_) + ", now " + std::to_string(later.threads_));
  }
  if (limits_ != later.limits_) found.emplace_back("resource limits");
  return found;
}

void LeakAudit::begin() {
  if (policy_ != Leaks::kIgnore && !clean_) clean_ = image_now();
}

ProcessImage LeakAudit::image_now() const {
  ProcessImage image = ProcessImage::now();
  if (has_own_directory_) image.forget_directory();
  return image;
}

std::optional<std::string> LeakAudit::look(const Job& job) {
  if (!clean_) return std::nullopt;
  unseen_ += job.took;
  ++jobs_unseen_;
  if (unseen_ < kSharedLook && job.is_followed) return std::nullopt;
  unseen_ = Duration(0);
  const unsigned jobs = std::exchange(jobs_unseen_, 0);
  ProcessImage image = image_now();
  // A thread that was joined is counted for a moment longer.
  for (int again = 0; again < kThreadLooks && image.has_more_threads_than(*clean_); ++again) {
    usleep(100);
    image = image_now();
  }
  if (job.holds_descriptors) image.take_descriptors_of(*clean_);
  if (image == *clean_) return std::nullopt;
  std::string text = jobs == 1 ? "this job" : "this job, or one of " + std::to_string(jobs - 1) + " just before it,";
  text += " left its worker changed: ";
  const char* between = "";
  for (const std::string& each : clean_->differences(image)) text += std::exchange(between, "; ") + each;
  clean_ = image;
  has_found_ = true;
  return text + (is_to_be_replaced() ? "; the worker is replaced" : "");
}

}  // namespace futured::runtime
