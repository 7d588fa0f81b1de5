// What a job left changed in its worker, for those that come after it.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/pool_terms.h"
#include "base/time.h"

namespace futured::runtime {

// The parts of a process that one job could leave to the next.
class ProcessImage {
 public:
  [[nodiscard]] static ProcessImage now();

  // One line for each part that is different in `later`: "umask 0022, now 0077".
  [[nodiscard]] std::vector<std::string> differences(const ProcessImage& later) const;
  [[nodiscard]] bool has_more_threads_than(const ProcessImage& other) const { return threads_ > other.threads_; }
  void take_descriptors_of(const ProcessImage& other) { next_descriptor_ = other.next_descriptor_; }
  void forget_directory() { directory_device_ = directory_ = 0; }
  bool operator==(const ProcessImage&) const = default;

 private:
  static constexpr std::size_t kLimits = RLIM_NLIMITS;

  dev_t directory_device_ = 0;  // both 0: it is gone
  ino_t directory_ = 0;
  std::uint64_t environment_ = 0;  // a digest
  mode_t umask_ = 0;
  std::uint64_t signal_mask_ = 0;
  std::array<std::uintptr_t, 4> signal_handlers_{};  // of those that a task is most likely to change
  int next_descriptor_ = 0;                          // the number that the next one would have
  std::uint32_t threads_ = 0;
  std::array<std::uint64_t, 2 * kLimits> limits_{};  // soft and hard
};

// Compares the worker with what it was before its first job. Costs some microseconds, so short jobs that follow one
// another closely share a look.
class LeakAudit {
 public:
  // Threads that run at the same time cannot be told apart: there is none in thread mode.
  explicit LeakAudit(const PoolTerms& terms)
      : policy_(terms.mode == PoolMode::kThread ? Leaks::kIgnore : terms.leaks),
        has_own_directory_(terms.private_directory) {}

  // Before a job: the first one finds the clean image.
  void begin();
  struct Job {
    Duration took{0};
    bool is_followed = false;        // another one waits already
    bool holds_descriptors = false;  // for its report: those that it left are seen with the next look
  };
  // After a job. What is different, in words, once: what was told of is how things are from then on.
  [[nodiscard]] std::optional<std::string> look(const Job& job);
  // Something was, and the worker is to be replaced for it.
  [[nodiscard]] bool is_to_be_replaced() const { return policy_ == Leaks::kReplace && has_found_; }

 private:
  [[nodiscard]] ProcessImage image_now() const;

  const Leaks policy_;
  const bool has_own_directory_;  // each attempt has: where the last one left the worker does not matter
  std::optional<ProcessImage> clean_;
  Duration unseen_{0};  // time of the jobs since the last look
  unsigned jobs_unseen_ = 0;
  bool has_found_ = false;
};

}  // namespace futured::runtime
