// fut: submits jobs to futured and looks after them.
#include <algorithm>
#include <csignal>
#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "client/cli/cli.h"
#include "client/cli/flag_names.h"
#include "client/cli/output.h"

namespace futured::cli {

namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  fut run -- make -j4                 run a command as a job; its output, its exit code\n"
    "  fut map -- gzip -k {} ::: *.log     one job per argument\n"
    "  fut call sha256 @README.md          call a task\n"
    "  fut submit -- ./nightly.sh          leave a job behind; prints its number\n"
    "  fut wait 42 && fut result 42\n"
    "\n"
    "Environment: FUTURED_ADDRESS names the daemon; FUTURED_IDLE_EXIT is how long a daemon that fut starts stays\n"
    "without work (10m; 0: for ever).\n"
    "\n"
    "Exit codes: 0 ok, 1 a job failed, 2 usage, 3 daemon unreachable, 4 not found or refused, or standard output\n"
    "takes no more, 124 timed out, 130 interrupted. `fut run` exits with the command's own code, 127 when it could\n"
    "not be started.\n";

int exit_code_of(const client::Error& error) {
  switch (error.kind()) {
    case client::ErrorKind::kUnavailable:
      return kUnreachable;
    case client::ErrorKind::kTimeout:
      return kTimedOut;
    case client::ErrorKind::kJobFailed:
      return kJobFailed;
    case client::ErrorKind::kInvalidArgument:
    case client::ErrorKind::kNotFound:
    case client::ErrorKind::kAlreadyExists:
    case client::ErrorKind::kPermissionDenied:
    case client::ErrorKind::kFailedPrecondition:
    case client::ErrorKind::kResourceExhausted:
    case client::ErrorKind::kUnimplemented:
    case client::ErrorKind::kDataLoss:
    case client::ErrorKind::kInternal:
      return kRefused;
  }
  return kRefused;
}

// Whether the verb was told this option.
bool is_given(const CLI::App& app, const std::string& option) {
  const CLI::App* verb = &app;
  while (!verb->get_subcommands().empty()) verb = verb->get_subcommands().back();
  const CLI::Option* const found = verb->get_option_no_throw(option);
  return found != nullptr && found->count() > 0;
}

int guarded(const CLI::App& app, const std::function<int()>& action) {
  try {
    return action();
  } catch (const WriteError& error) {
    if (!error.reader_is_gone()) complain(error.what());
    return kRefused;
  } catch (const client::JobFailed& error) {  // in the words of its task
    complain(error.what());
    return exit_code_of(error);
  } catch (const client::Error& error) {
    complain(with_flag_names(error.what(), [&](const std::string& option) { return is_given(app, option); }));
    return exit_code_of(error);
  } catch (const UsageError& error) {
    complain(error.what());
    return kUsage;
  } catch (const std::exception& error) {
    complain(error.what());
    return kRefused;
  }
}

void add_verbs(CLI::App& app, Globals& globals) {
  add_run(app, globals);
  add_attach(app, globals);
  add_submit(app, globals);
  add_call(app, globals);
  add_map(app, globals);
  add_wait(app, globals);
  add_result(app, globals);
  add_dump(app, globals);
  add_load(app, globals);
  add_upload(app, globals);
  add_logs(app, globals);
  add_watch(app, globals);
  add_find(app, globals);
  add_ls(app, globals);
  add_show(app, globals);
  add_why(app, globals);
  add_cancel(app, globals);
  add_retry(app, globals);
  add_move(app, globals);
  add_callback(app, globals);
  add_schedule(app, globals);
  add_queue(app, globals);
  add_semaphore(app, globals);
  add_cache(app, globals);
  add_event(app, globals);
  add_pool(app, globals);
  add_worker(app, globals);
  add_task(app, globals);
  add_stats(app, globals);
  add_debug(app, globals);
  add_bench(app, globals);
  add_doctor(app, globals);
  add_shutdown(app, globals);
  add_version(app, globals);
}

// Takes what no options are looked for in off the end: behind "--", and from ":::" on. From "++" on as well, which
// would end a verb for CLI11, and be lost.
std::vector<std::string> take_words(int argc, char** argv, Globals& globals) {
  std::vector<std::string> words(argv + 1, argv + argc);
  const auto end = std::find_if(words.begin(), words.end(),
                                [](const auto& word) { return word == "--" || word == ":::" || word == "++"; });
  if (end != words.end()) globals.words.assign(*end == "--" ? end + 1 : end, words.end());
  words.erase(end, words.end());
  std::reverse(words.begin(), words.end());  // as CLI11 wants them
  return words;
}

// "fut queue create": as far as the words were understood.
std::string understood(const CLI::App& app) {
  std::string words = app.get_name();
  for (const CLI::App* verb = &app; !verb->get_subcommands().empty();) {
    verb = verb->get_subcommands().back();
    words += " " + verb->get_name();
  }
  return words;
}

int print_help(const CLI::App& app, const CLI::ParseError& asked) {
  std::ostringstream text;
  app.exit(asked, text, text);
  print(text.str());
  return kOk;
}

// What was not understood, by its own name.
std::string describe(const CLI::ParseError& error, const CLI::App& app) {
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  if (!unknown.empty() && error.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError)) {
    return "\"" + unknown.front() + "\" is no verb of fut";
  }
  return error.what();
}

int main(int argc, char** argv) {
  // A reader that goes away (fut ls | head) ends us by an error of write, not by a signal in the midst of gRPC.
  std::signal(SIGPIPE, SIG_IGN);
  occupy_closed_streams();
  CLI::App app("fut: submits jobs to futured and looks after them", "fut");
  Globals globals;
  app.add_option("--address", globals.address, "Daemon: unix:/path, /path or host:port (also: FUTURED_ADDRESS)");
  app.add_flag("--no-start", globals.no_start, "Do not start a daemon of my own when there is none");
  app.add_flag("--json", globals.json, "Print JSON");
  app.footer(kFooter);
  app.fallthrough();
  app.require_subcommand(1);
  add_verbs(app, globals);
  try {
    app.parse(take_words(argc, argv, globals));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return guarded(app, [&] { return print_help(app, error); });
    complain(describe(error, app) + ": see " + understood(app) + " --help");
    return kUsage;
  } catch (const UsageError& error) {
    complain(error.what());
    return kUsage;
  }
  return guarded(app, globals.action);
}

}  // namespace

}  // namespace futured::cli

int main(int argc, char** argv) { return futured::cli::main(argc, argv); }
