// PoolTerms: what a pool's workers are and what they may do, as settings say it and as its zygote is told.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace futured {

enum class PoolMode : std::uint8_t {
  kProcess,  // one task at a time in a warm, reused process
  kFresh,    // every task in a fork of its own, of a process that has run none
  kThread,   // many tasks at once on threads of one process
  kAsync,    // thousands of coroutine tasks at once on one thread of one process
  kCommand,  // a command line per job
};

// What becomes of a worker whose task left it changed: its directory, environment, mask, signals, descriptors, threads
// or limits.
enum class Leaks : std::uint8_t { kReplace, kWarn, kIgnore };

struct PoolTerms {
  PoolMode mode = PoolMode::kProcess;
  std::vector<std::string> plugins;
  std::uint32_t jobs_at_once = 1;  // per worker; kThread, kAsync

  // When a worker is replaced, between two jobs. 0: never.
  std::uint64_t jobs_per_worker_max = 0;
  std::uint64_t rss_bytes_max = 0;
  Leaks leaks = Leaks::kReplace;

  // What a worker and all that it starts may do.
  std::string user;                             // empty: the spawner's
  std::vector<std::string> env_allow;           // names of variables that it inherits; {"*"}: all
  std::map<std::string, std::uint64_t> limits;  // rlimits: "nofile", "core", … in their own units
  std::int32_t nice = 0;                        // -20 to 19
  bool no_new_privileges = false;               // no setuid program gains anything
  bool no_network = false;                      // a network namespace with a loopback of its own
  bool private_directory = false;               // each attempt has an empty working directory, removed behind it
  std::uint64_t memory_bytes_max = 0;           // of a worker with its tree; 0: no limit
  std::uint32_t processes_max = 0;              // of a worker with its tree; 0: no limit

  bool operator==(const PoolTerms&) const = default;

  // A worker's jobs at once: each in a slot of its own, or all of them in one.
  [[nodiscard]] std::uint32_t slots_per_worker() const { return mode == PoolMode::kThread ? jobs_at_once : 1; }
  [[nodiscard]] std::uint32_t runs_per_slot() const { return mode == PoolMode::kAsync ? jobs_at_once : 1; }
  [[nodiscard]] bool shares_process() const { return mode == PoolMode::kThread || mode == PoolMode::kAsync; }
};

[[nodiscard]] std::string_view to_string(PoolMode mode);  // "process"
[[nodiscard]] std::string_view to_string(Leaks leaks);    // "replace", "warn", "ignore"
[[nodiscard]] Result<PoolMode> parse_pool_mode(std::string_view word);
[[nodiscard]] Result<Leaks> parse_leaks(std::string_view word);

// As arguments of a zygote: --NAME VALUE pairs, only those that differ from the default, --mode always. What the
// spawner enforces (memory_bytes_max, processes_max) is among them, so that an attempt can say what it ran into.
[[nodiscard]] std::vector<std::string> to_arguments(const PoolTerms& terms);
// Reads one pair of them. kNotFound: the option is none of these.
[[nodiscard]] Status read_argument(PoolTerms& terms, std::string_view option, std::string_view value);

// jobs_at_once where nobody says it.
[[nodiscard]] std::uint32_t jobs_at_once_by_default(PoolMode mode);

// INVALID_ARGUMENT naming the setting: an unknown limit or user, a nice out of bounds, what the mode cannot do.
[[nodiscard]] Status check(const PoolTerms& terms);

// The number of the resource, as setrlimit takes it; nothing for a name that is none.
[[nodiscard]] int resource_of(std::string_view name);  // -1: no such limit

}  // namespace futured
