// fut map: one job per argument; outputs in the order of the arguments.
#include <poll.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/result.h"
#include "client/cli/acceptance.h"
#include "client/cli/cli.h"
#include "client/cli/flag_names.h"
#include "client/cli/follow.h"
#include "client/cli/input.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_flags.h"
#include "client/cli/output.h"
#include "client/cli/progress.h"
#include "client/cli/text.h"
#include "client/cli/wait_notices.h"

namespace futured::cli {

namespace {

constexpr std::size_t kLookAhead = 4'096;   // jobs submitted and not yet printed
constexpr std::size_t kArgumentShown = 60;  // characters of it, where it only says which job is meant

struct Options {
  JobFlags job;
  CommandFlags command;
  std::string task;
  bool files = false;
  bool null_separated = false;
  bool no_progress = false;
  std::optional<std::uint64_t> max_failures;
  std::vector<std::string> words;                     // of the command
  std::optional<std::vector<std::string>> arguments;  // nothing: from standard input
};

// What stands behind the options: COMMAND… [::: ARGUMENT…].
void take_words(Options& options, const Globals& globals) {
  std::vector<std::string> words = options.words;
  words.insert(words.end(), globals.words.begin(), globals.words.end());
  const auto colons = std::find(words.begin(), words.end(), ":::");
  if (colons != words.end()) options.arguments.emplace(colons + 1, words.end());
  options.words.assign(words.begin(), colons);
  if (options.task.empty() && options.words.empty()) {
    throw UsageError(
        "map: no command: write fut map -- COMMAND {} ::: ARGUMENT…, or fut map --task NAME ::: ARGUMENT…");
  }
  if (!options.task.empty() && !options.words.empty()) {
    throw UsageError("map: --task and a command (" + options.words.front() + "): give one of them");
  }
}

// The arguments one after the other, from the command line or from standard input. Throws UsageError when that cannot
// be read.
class Arguments {
 public:
  explicit Arguments(const Options& options) : options_(options) {}
  std::optional<std::string> next() {
    if (options_.arguments) {
      if (next_ == options_.arguments->size()) return std::nullopt;
      return (*options_.arguments)[next_++];
    }
    std::string line;
    if (std::getline(std::cin, line, options_.null_separated ? '\0' : '\n')) return line;
    if (std::cin.bad()) throw UsageError("map: " + system_error("standard input").message);
    return std::nullopt;
  }

 private:
  const Options& options_;
  std::size_t next_ = 0;
};

struct Call {
  std::string argument;
  client::Future future;       // or
  std::exception_ptr problem;  // it could not even be submitted
};

// Submits from a thread of its own, so that results are printed while standard input is awaited.
class Submitter {
 public:
  Submitter(const Options& options, bool has_private_directory, client::Executor executor, Progress& progress)
      : options_(options),
        has_private_directory_(has_private_directory),
        executor_(std::move(executor)),
        progress_(progress),
        thread_([this] { run(); }) {}
  ~Submitter() {
    stop();
    thread_.join();
  }
  Submitter(const Submitter&) = delete;
  Submitter& operator=(const Submitter&) = delete;

  // Throws what ended the arguments before their end, when all calls before it have been taken.
  std::optional<Call> next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !calls_.empty() || ended_; });
    if (calls_.empty() && problem_) std::rethrow_exception(problem_);
    if (calls_.empty()) return std::nullopt;
    Call call = std::move(calls_.front());
    calls_.pop_front();
    changed_.notify_all();
    return call;
  }
  void stop() {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }

 private:
  client::Future submit(const std::string& argument) const {
    if (options_.task.empty()) {
      client::CommandLine command = options_.command.command(fill_in(options_.words, argument));
      if (has_private_directory_) command.cwd.clear();
      return executor_.submit(command);
    }
    if (options_.files) return executor_.submit(options_.task, read_payload_file(argument));
    return executor_.submit(options_.task, std::vector<client::Part>{parse_argument(argument)});
  }
  void run() {
    std::exception_ptr problem;
    try {
      submit_each();
    } catch (const UsageError&) {
      problem = std::current_exception();
    }
    progress_.all_submitted();
    const std::lock_guard guard(mutex_);
    problem_ = problem;
    ended_ = true;
    changed_.notify_all();
  }
  void submit_each() {
    Arguments arguments(options_);
    while (wait_for_room()) {
      const std::optional<std::string> argument = arguments.next();
      if (!argument) break;
      Call call{.argument = *argument};
      try {
        call.future = submit(*argument);
        progress_.submitted(call.future);
      } catch (...) {
        call.problem = std::current_exception();
      }
      const std::lock_guard guard(mutex_);
      calls_.push_back(std::move(call));
      changed_.notify_all();
    }
  }
  bool wait_for_room() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return calls_.size() < kLookAhead || stopping_; });
    return !stopping_ && (options_.arguments || wait_for_input(lock));
  }
  // Ctrl-C must not wait for the next line of standard input. What the stream has buffered already needs no waiting.
  bool wait_for_input(std::unique_lock<std::mutex>& lock) {
    if (std::cin.rdbuf()->in_avail() > 0) return true;
    while (!stopping_) {
      lock.unlock();
      pollfd input = {STDIN_FILENO, POLLIN, 0};
      const bool there = ::poll(&input, 1, 200) != 0;
      lock.lock();
      if (there) break;
    }
    return !stopping_;
  }

  const Options& options_;
  const bool has_private_directory_;  // of commands
  client::Executor executor_;
  Progress& progress_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Call> calls_;
  std::exception_ptr problem_;  // with ended_
  bool ended_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

void print_outcome(const Call& call, const client::Outcome& outcome, bool json) {
  if (json) {
    Json line;
    put_bytes(line, "argument", call.argument);
    line.update(to_json(outcome));
    print_json(line);
    return;
  }
  for (const client::Part& part : outcome.result) {
    if (is_stderr(part)) {
      print_to_stderr(part.bytes);
      continue;
    }
    print(part.bytes);
    const bool line = !is_stdout(part) && !part.bytes.ends_with('\n');
    if (line) print("\n");
  }
}

// A reason that names the argument itself, as of a file that cannot be read: once is enough, and it may be long.
std::string without(const std::string& argument, std::string why) {
  const std::size_t at = argument.empty() ? std::string::npos : why.find(argument);
  if (at == 0 && why.compare(argument.size(), 2, ": ") == 0) return why.substr(argument.size() + 2);
  if (at != std::string::npos) why.replace(at, argument.size(), shortened(argument, kArgumentShown));
  return why;
}

// Takes the calls in their order, prints what became of each, and counts.
class Printer {
 public:
  Printer(const client::Client& client, Progress& progress, WaitNotices& notices, AcceptanceWatch& acceptance,
          bool explains_cache, bool json)
      : client_(client),
        progress_(progress),
        notices_(notices),
        acceptance_(acceptance),
        explains_(explains_cache),
        json_(json) {}

  // Throws when the daemon is gone, for then the others fail as well, and WriteError.
  void take(const Call& call);
  [[nodiscard]] std::uint64_t failed() const { return failed_ + refused_; }
  // Says how many went wrong; the exit code.
  int conclude() const;

 private:
  void finish(const Call& call, std::uint64_t id);
  void fail(const Call& call, std::uint64_t id, const std::string& why, bool is_told);
  void complain_of(const Call& call, const std::string& why) {
    progress_.clear();
    complain("map: " + shortened(quoted({call.argument}), kArgumentShown) + ": " + without(call.argument, why));
  }

  const client::Client& client_;
  Progress& progress_;
  WaitNotices& notices_;
  AcceptanceWatch& acceptance_;
  const bool explains_;
  const bool json_;
  std::uint64_t done_ = 0;
  std::uint64_t failed_ = 0;
  std::uint64_t refused_ = 0;  // not even submitted, or not accepted
  std::string last_refusal_;
  std::uint64_t incomplete_ = 0;  // succeeded, but some of the output is gone
};

void Printer::take(const Call& call) {
  ++done_;
  std::uint64_t id = 0;  // not a job yet
  try {
    if (call.problem) std::rethrow_exception(call.problem);
    id = acceptance_.id_of(call.future);
    within_sight(id, [&] { finish(call, id); });
  } catch (const client::Unavailable&) {
    throw;
  } catch (const client::Error& error) {
    const std::string why = with_flag_names(error.what());
    // What the daemon refuses of one job, such as an unknown task, it mostly refuses of all.
    const bool is_told = id == 0 && why == last_refusal_;
    if (id == 0) last_refusal_ = why;
    fail(call, id, why, is_told);
  } catch (const UsageError& error) {
    fail(call, id, error.what(), /*is_told=*/false);
  }
}

void Printer::finish(const Call& call, std::uint64_t id) {
  notices_.turn_to(id);
  progress_.wait_for(call.future);
  const client::Outcome outcome = whole_outcome(client_, call.future);
  progress_.clear();
  print_outcome(call, outcome, json_);
  if (explains_ && !outcome.cache_note.empty()) complain_of(call, "cache " + outcome.cache_note);
  const std::uint64_t missed_bytes = dropped_bytes(outcome);
  if (missed_bytes != 0) complain_of(call, undelivered_text(id, missed_bytes));
  if (!outcome.succeeded()) {
    ++failed_;
    complain_of(call, ended_text(outcome));
  } else if (missed_bytes != 0) {
    ++incomplete_;
  }
}

void Printer::fail(const Call& call, std::uint64_t id, const std::string& why, bool is_told) {
  ++(id == 0 ? refused_ : failed_);
  progress_.clear();
  if (json_) {
    Json line;
    put_bytes(line, "argument", call.argument);
    if (id != 0) line["id"] = id;
    line["error"] = why;
    print_json(line);
  }
  if (!is_told) complain_of(call, why);
}

int Printer::conclude() const {
  const std::string of_all = " of " + std::to_string(done_) + " jobs ";
  if (refused_ != 0) {
    complain("map: " + std::to_string(refused_) + " of " + std::to_string(done_) + " arguments became no job");
  }
  if (failed_ != 0) complain("map: " + std::to_string(failed_) + of_all + "failed: see fut ls --state failed");
  if (incomplete_ != 0) complain("map: " + std::to_string(incomplete_) + of_all + "wrote more than is kept");
  if (refused_ != 0) return kRefused;  // as wait does of jobs that there are not
  return failed_ + incomplete_ == 0 ? kOk : kJobFailed;
}

// What the action of Ctrl-C uses must outlive it.
struct Disarm {
  Interrupt& interrupt;
  ~Disarm() { interrupt.on_first(nullptr); }
};

void cancel_rest(Submitter& submitter, const client::Executor& executor) {
  submitter.stop();
  try {
    executor.shutdown(/*wait=*/false, /*cancel_futures=*/true);
  } catch (const client::Unavailable& error) {
    throw client::Unavailable(std::string(error.what()) +
                              ": jobs of this map were not cancelled: fut ls --mine, fut cancel ID");
  }
}

// To cancel, the numbers of all that was submitted must be known: a daemon that accepts nothing would never tell them.
void cancel_at_interrupt(AcceptanceWatch& acceptance, Submitter& submitter, const client::Executor& executor) {
  if (!acceptance.settled_within(kAcceptanceGrace)) leave_unaccepted();
  complain("cancelling: press Ctrl-C again to leave at once");
  cancel_rest(submitter, executor);
}

int map(const Options& options, const Globals& globals) {
  if (!options.arguments && !has_standard_input()) {
    throw UsageError("map: no arguments, and standard input is closed: write them behind :::");
  }
  const client::JobOptions job = options.job.options();
  require_utf8("--task", options.task);
  std::ios::sync_with_stdio(false);  // so that the stream can say what it holds: see wait_for_input()
  Interrupt interrupt;
  const client::Client client = connect(globals);
  const client::Executor executor = client.executor(job);
  Progress progress(!options.no_progress && ::isatty(STDERR_FILENO) != 0,
                    options.arguments ? options.arguments->size() : 0);
  const bool has_private_directory = options.task.empty() && options.command.has_private_directory(client, job.pool);
  WaitNotices notices(client.address(), {}, [&](const std::string& message) { progress.tell(message); });
  AcceptanceWatch acceptance;
  Printer printer(client, progress, notices, acceptance, job.caching.explain, globals.json);
  {
    Submitter submitter(options, has_private_directory, executor, progress);
    interrupt.on_first([&] { cancel_at_interrupt(acceptance, submitter, executor); });
    const Disarm disarm{interrupt};
    try {
      bool has_given_up = false;
      while (const std::optional<Call> call = submitter.next()) {
        printer.take(*call);
        if (has_given_up || !options.max_failures || printer.failed() <= *options.max_failures) continue;
        has_given_up = true;
        progress.clear();
        complain("map: more than " + std::to_string(*options.max_failures) + " failed: cancelling the others");
        cancel_rest(submitter, executor);
      }
    } catch (const WriteError&) {
      progress.clear();
      cancel_rest(submitter, executor);
      throw;
    } catch (const UsageError&) {
      progress.clear();
      throw;
    }
  }
  progress.clear();
  return interrupt.interrupted() ? kInterrupted : printer.conclude();
}

}  // namespace

void add_map(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("map", "Run one job per argument; print outputs in the order of arguments");
  options->job.add_to(verb);
  options->command.add_to(verb);
  verb.add_option("--task", options->task, "Call this task instead of a command");
  verb.add_flag("--files", options->files, "With --task: arguments are files; their bytes are the payload");
  verb.add_flag("-0,--null", options->null_separated, "Arguments on standard input end with NUL, not newline");
  verb.add_option("--max-failures", options->max_failures,
                  "When more than so many have failed, cancel all that are left")
      ->check(at_least_zero());
  verb.add_flag("--no-progress", options->no_progress, "No progress bar, not even on a terminal");
  add_words(verb, "command", options->words, "Words of the command; write -- before them when they have options");
  verb.footer(
      "{} in the command stands for the argument; without it, the argument is added as the last word. Arguments\n"
      "stand behind \":::\", or else come from standard input, one a line. Exits 1 when some jobs failed, or wrote\n"
      "more than the 64 MiB of each of standard output and standard error that are kept, and says how many.\n"
      "Ctrl-C cancels all that are left; a second one leaves at once.\n\n"
      "Examples:\n"
      "  fut map -- gzip -k {} ::: *.log\n"
      "  git ls-files | fut map --task sha256 --files\n"
      "  seq 100 | fut map --timeout 10s --attempts 3 -- ./work.sh\n"
      "  seq 10000 | fut map --max-failures 10 -- ./work.sh\n");
  verb.callback([&globals, options] {
    take_words(*options, globals);
    globals.action = [&globals, options] { return map(*options, globals); };
  });
}

}  // namespace futured::cli
