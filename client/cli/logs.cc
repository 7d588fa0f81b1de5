// fut logs: a job's output, also while it is produced.
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/follow.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::uint64_t id = 0;
  bool follow = false;
  bool only_stdout = false;
  bool only_stderr = false;
  bool only_emitted = false;
  bool only_log = false;
  std::uint32_t attempt = 0;
  std::uint64_t tail_bytes = 0;
};

const char* name_of(client::OutputKind kind) {
  switch (kind) {
    case client::OutputKind::kStderr:
      return "stderr";
    case client::OutputKind::kEmitted:
      return "emitted";
    case client::OutputKind::kLog:
      return "log";
    case client::OutputKind::kAll:
    case client::OutputKind::kStdout:
      break;
  }
  return "stdout";
}

void print_as_json(const client::OutputChunk& chunk) {
  Json line = {{"attempt", chunk.attempt}, {"stream", name_of(chunk.kind)}, {"offset", chunk.offset}};
  if (chunk.dropped_bytes != 0) line["dropped_bytes"] = chunk.dropped_bytes;
  put_bytes(line, "data", chunk.bytes);
  print_json(line);
}

void print_as_json(const client::ProgressReport& report) {
  print_json({{"progress", report.fraction}, {"message", report.message}, {"attempt", report.attempt}});
}

void print_as_json(const client::Heartbeat& heartbeat) {
  print_json({{"alive_us", heartbeat.alive_us}, {"attempt", heartbeat.attempt}});
}

void print_as_text(const client::OutputChunk& chunk) {
  if (chunk.dropped_bytes != 0) {
    complain("[" + bytes_text(static_cast<std::int64_t>(chunk.dropped_bytes)) + " of output missing]");
  }
  print_chunk(chunk);
}

int logs(const Options& options, const Globals& globals) {
  const client::Client client = connect(globals);
  client::OutputOptions how{.attempt = options.attempt, .follow = options.follow, .tail_bytes = options.tail_bytes};
  if (options.only_stdout) how.kind = client::OutputKind::kStdout;
  if (options.only_stderr) how.kind = client::OutputKind::kStderr;
  if (options.only_emitted) how.kind = client::OutputKind::kEmitted;
  if (options.only_log) how.kind = client::OutputKind::kLog;
  if (options.follow && globals.json) {
    how.on_progress = [](const auto& report) { print_as_json(report); };
    how.on_heartbeat = [](const auto& heartbeat) { print_as_json(heartbeat); };
  }
  within_sight(options.id, [&] {
    read_output(client, options.id, how, [&](const client::OutputChunk& chunk) {
      if (globals.json) {
        print_as_json(chunk);
      } else {
        print_as_text(chunk);
      }
    });
  });
  return kOk;
}

}  // namespace

void add_logs(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("logs", "Print a job's output; -f follows it");
  verb.add_option("id", options->id, "Number of the job")->required()->check(at_least_one());
  verb.add_flag("-f,--follow", options->follow, "Until the job has ended");
  CLI::Option* const only_stdout = verb.add_flag("--stdout", options->only_stdout, "Standard output only");
  CLI::Option* const only_stderr = verb.add_flag("--stderr", options->only_stderr, "Standard error only");
  CLI::Option* const only_emitted = verb.add_flag("--emitted", options->only_emitted, "What a task emits only");
  CLI::Option* const only_log = verb.add_flag("--log", options->only_log, "A task's log only");
  only_stderr->excludes(only_stdout);
  only_emitted->excludes(only_stdout)->excludes(only_stderr);
  only_log->excludes(only_stdout)->excludes(only_stderr)->excludes(only_emitted);
  verb.add_option("--attempt", options->attempt, "Of this attempt (default: the last); with -f, of later ones too");
  verb.add_option("--tail", options->tail_bytes, "Begin so many bytes before the end");
  verb.footer(
      "Standard output, and what a task emits, goes to standard output; standard error, and a task's log, to standard\n"
      "error. With -f, a terminal shows how far the task says it is, and when a job with --heartbeat-timeout was "
      "alive;\n"
      "--json has a line for each.\n\n"
      "Examples:\n"
      "  fut logs -f 42\n"
      "  fut logs --stderr --tail 2000 42\n"
      "  fut logs -f $(fut call --detach count 10 0.5)\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return logs(*options, globals); }; });
}

}  // namespace futured::cli
