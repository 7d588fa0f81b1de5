// The flags of every verb that submits, and what becomes of them.
#pragma once

#include <string>
#include <vector>

#include "client/cli/cache_flags.h"
#include "client/cli/callback_flags.h"
#include "client/cli/cli.h"
#include "client/cli/dependency_flags.h"
#include "client/cli/start_flags.h"

namespace futured::cli {

// A class is the error's own word and may be anything; but what begins as a command's end must be one that there is.
// Throws UsageError naming `option`.
void check_retry_class(const char* option, const std::string& word);

struct JobFlags {
  std::string queue;
  std::string pool;
  int priority = 0;
  bool front = false;
  std::uint32_t attempts = 0;
  std::string backoff;
  std::vector<std::string> retry_only;
  std::vector<std::string> retry_except;
  double retry_memory = 0;
  std::string retry_memory_max;
  std::uint32_t crashes = 0;
  std::string timeout;
  std::string soft_timeout;
  std::string heartbeat_timeout;
  std::string queue_timeout;
  std::string total_timeout;
  std::string grace;
  std::string retention;
  bool at_most_once = false;
  std::string name;
  StartFlags start;
  DependencyFlags dependencies;
  std::vector<std::string> needs;
  std::string limit_key;
  std::string fairness_key;
  CacheFlags cache;
  CallbackFlags callbacks;

  void add_to(CLI::App& verb);
  // Those that mean something of jobs which are made again and again: not when it starts, what it waits for, or whose
  // outcome it may have.
  void add_lasting_to(CLI::App& verb);
  [[nodiscard]] client::JobOptions options() const;  // throws UsageError

 private:
  [[nodiscard]] std::int64_t retry_memory_limit() const;
};

// An idempotency key, of verbs that submit one job.
struct KeyFlag {
  std::string key;

  void add_to(CLI::App& verb);
  [[nodiscard]] client::SubmitOptions options() const;  // throws UsageError
};

// Where and with what a command runs.
struct CommandFlags {
  std::vector<std::string> env;
  std::string cwd;
  std::uint64_t stdin_result_of = 0;

  void add_to(CLI::App& verb);
  // argv with these; the directory is the caller's own unless --cwd says otherwise.
  [[nodiscard]] client::CommandLine command(std::vector<std::string> argv) const;
  // Whether its cwd is to be left out after all: --cwd says nothing, and the pool that commands go to, "" = the
  // daemon's choice, gives each attempt a directory of its own.
  [[nodiscard]] bool has_private_directory(const client::Client& client, const std::string& pool) const;
};

}  // namespace futured::cli
