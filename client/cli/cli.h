// What every verb of `fut` shares: global options, exit codes, how to connect and how to speak.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "futured/client.h"

namespace futured::cli {

// docs/cli.md; `run` passes the command's own code on instead of 1.
enum Exit : int {
  kOk = 0,
  kJobFailed = 1,
  kUsage = 2,
  kUnreachable = 3,
  kRefused = 4,  // not found, refused, not in this state
  kTimedOut = 124,
  kNotStarted = 127,  // `run`: no such program
  kInterrupted = 130,
};

struct Globals {
  std::string address;
  bool no_start = false;
  bool json = false;
  std::vector<std::string> words;  // what stood behind "--", or from ":::" on: no options are looked for there
  std::function<int()> action;     // of the verb that was given; returns the exit code
};

// Something the user can mend in the command line itself.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// By the address rules of docs/cli.md; starts the user's own daemon where they say so.
[[nodiscard]] client::Client connect(const Globals& globals);
// The same, but never starts anything.
[[nodiscard]] client::Client connect_only(const Globals& globals);

// One verb each, in a file of its own.
void add_run(CLI::App& app, Globals& globals);
void add_submit(CLI::App& app, Globals& globals);
void add_call(CLI::App& app, Globals& globals);
void add_map(CLI::App& app, Globals& globals);
void add_wait(CLI::App& app, Globals& globals);
void add_watch(CLI::App& app, Globals& globals);
void add_result(CLI::App& app, Globals& globals);
void add_dump(CLI::App& app, Globals& globals);
void add_load(CLI::App& app, Globals& globals);
void add_upload(CLI::App& app, Globals& globals);
void add_logs(CLI::App& app, Globals& globals);
void add_ls(CLI::App& app, Globals& globals);
void add_show(CLI::App& app, Globals& globals);
void add_why(CLI::App& app, Globals& globals);
void add_find(CLI::App& app, Globals& globals);
void add_cancel(CLI::App& app, Globals& globals);
void add_retry(CLI::App& app, Globals& globals);
void add_move(CLI::App& app, Globals& globals);
void add_move_of_queue(CLI::App& queue, Globals& globals);  // of queue
void add_queue(CLI::App& app, Globals& globals);
void add_schedule(CLI::App& app, Globals& globals);
void add_semaphore(CLI::App& app, Globals& globals);
void add_cache(CLI::App& app, Globals& globals);
void add_event(CLI::App& app, Globals& globals);
void add_callback(CLI::App& app, Globals& globals);
void add_pool(CLI::App& app, Globals& globals);
void add_worker(CLI::App& app, Globals& globals);
void add_task(CLI::App& app, Globals& globals);
void add_stats(CLI::App& app, Globals& globals);
void add_attach(CLI::App& app, Globals& globals);
void add_bench(CLI::App& app, Globals& globals);
void add_cheatsheet(CLI::App& bench, Globals& globals);  // of bench
void add_debug(CLI::App& app, Globals& globals);
void add_doctor(CLI::App& app, Globals& globals);
void add_shutdown(CLI::App& app, Globals& globals);
void add_version(CLI::App& app, Globals& globals);

// The address that a verb would use, looked at before anybody connects: one that has none of the forms of docs/cli.md
// is refused here, in our words. Throws UsageError.
void check_address(const std::string& address);

// Throws Unavailable, naming the job, when the daemon cannot be told.
void cancel_job(const client::Client& client, std::uint64_t job, const client::CancelOptions& how);
// The connection is lost for good, and the job is not: says how to find it again.
[[noreturn]] void lose_sight(std::uint64_t job, const client::Unavailable& error);
// What `work` returns; a connection lost in it is told as above.
template <typename Work>
auto within_sight(std::uint64_t job, const Work& work) {
  try {
    return work();
  } catch (const client::Unavailable& error) {
    lose_sight(job, error);
  }
}

// A command: the words that were no options, and those behind "--". Throws UsageError when there are none.
[[nodiscard]] std::vector<std::string> command_words(const char* verb, std::vector<std::string> before,
                                                     const Globals& globals);

// "fut: <what>: <way out>" on standard error.
void complain(const std::string& message);

}  // namespace futured::cli
