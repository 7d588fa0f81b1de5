// fut call: calls a task and prints what it returns.
#include <memory>

#include "base/limits.h"
#include "client/cli/acceptance.h"
#include "client/cli/array_words.h"
#include "client/cli/cli.h"
#include "client/cli/follow.h"
#include "client/cli/input.h"
#include "client/cli/interrupt.h"
#include "client/cli/job_flags.h"
#include "client/cli/output.h"
#include "client/cli/task_progress.h"
#include "client/cli/text.h"
#include "client/cli/wait_notices.h"

namespace futured::cli {

namespace {

// Where a part of the payload comes from.
enum class From : std::uint8_t { kWord, kArray, kResult };

struct Options {
  JobFlags job;
  KeyFlag key;
  std::string task;
  std::vector<std::string> arguments;
  std::vector<std::string> arrays;
  bool durable = false;
  std::vector<std::uint64_t> results;
  std::vector<From> from;  // of each part, in the order of the command line; behind "--" all are words
  bool detach = false;
};

void print_result(const client::Outcome& outcome, bool json) {
  if (json) {
    print_json(to_json(outcome));
    return;
  }
  for (const client::Part& part : outcome.result) {
    print(part.bytes);
    const bool words = part.content_type == client::kJsonType || part.content_type == client::kTextType;
    if (words && !part.bytes.ends_with('\n')) print("\n");
  }
}

// Until the job has ended. Only the result is printed: fut logs gives what the task emits.
void show_progress(const client::Client& client, std::uint64_t id) {
  TaskProgress progress;
  if (!progress.is_shown()) return;
  client::OutputOptions how{.kind = client::OutputKind::kLog, .follow = true};
  how.on_progress = [&](const client::ProgressReport& report) { progress.draw(report); };
  how.on_heartbeat = [&](const client::Heartbeat& heartbeat) { progress.draw(heartbeat); };
  static_cast<void>(client.read_output(id, how, [](const client::OutputChunk&) { return true; }));
}

// One part of the payload. A file is opened before anybody connects, and read when there is shared memory to read it
// to.
struct Argument {
  client::Part part;
  std::optional<client::ArrayFile> array;
  Rows rows;
  std::string digest;  // of an upload; "" = none
};

Argument array_argument(const std::string& text) {
  const ArrayWord word = parse_array_word(text);
  if (word.path.starts_with("sha256:")) return {{}, {}, word.rows, word.path};
  try {
    return {{}, client::ArrayFile(word.path), word.rows, {}};
  } catch (const client::Error& error) {
    throw UsageError("--array: " + std::string(error.what()));
  }
}

std::vector<Argument> arguments_of(const Options& options) {
  require_utf8("task", options.task);
  std::vector<Argument> all;
  std::size_t bytes = 0;
  auto argument = options.arguments.begin();
  auto array = options.arrays.begin();
  auto result = options.results.begin();
  const std::size_t count = options.arguments.size() + options.arrays.size() + options.results.size();
  while (all.size() < count) {
    switch (all.size() < options.from.size() ? options.from[all.size()] : From::kWord) {
      case From::kWord:
        all.push_back({parse_argument(*argument++), {}, {}, {}});
        break;
      case From::kArray:
        all.push_back(array_argument(*array++));
        break;
      case From::kResult:
        all.push_back({client::Part{.result_of = *result++}, {}, {}, {}});
        break;
    }
    bytes += all.back().part.bytes.size();
  }
  if (bytes > limits::kPayloadBytesMax) {
    throw UsageError("the arguments: " + bytes_text(static_cast<std::int64_t>(bytes)) + " together, over the " +
                     bytes_text(limits::kPayloadBytesMax) + " that a job is given: split them over several calls");
  }
  return all;
}

client::Segment stored_rows(const client::Client& client, const std::string& digest, const Rows& rows) {
  client::Segment array = client.find_stored(digest).segment;
  if (rows == Rows()) return array;
  if (array.shape.empty()) throw UsageError("--array: " + digest + " is no array, and has no rows");
  const auto end = rows.end ? static_cast<std::int64_t>(*rows.end) : array.shape[0];
  return client::rows_of(array, static_cast<std::int64_t>(rows.begin), end);
}

// Arrays are shared with the daemon here. The job has its own share in them from its acceptance on.
std::vector<client::Part> payload_of(const client::Client& client, std::vector<Argument> arguments) {
  std::vector<client::Part> payload;
  for (Argument& argument : arguments) {
    if (!argument.digest.empty()) {
      payload.push_back(client::part_of(stored_rows(client, argument.digest, argument.rows)));
      continue;
    }
    payload.push_back(argument.array
                          ? client::part_of(client.put(*argument.array, argument.rows.begin, argument.rows.end))
                          : std::move(argument.part));
  }
  return payload;
}

int call(const Options& options, const Globals& globals) {
  std::vector<Argument> arguments = arguments_of(options);
  client::JobOptions job = options.job.options();
  job.follow = !options.detach;
  job.durable_segments = options.durable;
  Interrupt interrupt;
  const client::Client client = connect(globals);
  const std::vector<client::Part> payload = payload_of(client, std::move(arguments));
  interrupt.hold();
  const client::Future future = client.executor(job).submit(options.task, payload, options.key.options());
  const std::uint64_t id = AcceptanceWatch().id_of(future);
  if (options.detach) {
    interrupt.release();
    if (globals.json) {
      print_json({{"id", id}});
    } else {
      print(std::to_string(id) + "\n");
    }
    return kOk;
  }
  cancel_at_interrupt(interrupt, client, id);
  const WaitNotices notices(client.address(), {id});
  const client::Outcome outcome = within_sight(id, [&] {
    show_progress(client, id);
    return whole_outcome(client, future);
  });
  if (globals.json || outcome.succeeded()) print_result(outcome, globals.json);
  tell_cache_note(job, outcome);
  if (interrupt.interrupted()) return kInterrupted;
  if (outcome.succeeded()) return kOk;
  complain(ended_text(outcome));
  return outcome.state == client::JobState::kTimedOut ? kTimedOut : kJobFailed;
}

}  // namespace

void add_call(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("call", "Call a task and print what it returns");
  options->job.add_to(verb);
  options->key.add_to(verb);
  verb.add_flag("--detach", options->detach, "Do not wait; print the job's number");
  verb.add_option("task", options->task, "Name of the task")->required();
  const CLI::Option* const arguments =
      add_words(verb, "arguments", options->arguments, "Each is one part of the payload");
  const CLI::Option* const arrays =
      verb.add_option("--array", options->arrays,
                      "FILE or FILE[BEGIN:END]: an array, or these rows of it, in shared memory; or, for FILE, the "
                      "digest of fut upload; may be given again")
          ->allow_extra_args(false);
  verb.add_flag("--durable-arrays", options->durable,
                "Accepted only once its arrays are on the daemon's disk: it outlives the machine with them");
  const CLI::Option* const results =
      verb.add_option("--result-of", options->results,
                      "The result of this job, when it has succeeded; may be given again")
          ->allow_extra_args(false)
          ->check(at_least_one());
  verb.footer(
      "An argument that parses as JSON is sent as application/json, \"@file\" as the file's bytes, all else as\n"
      "text/plain; 4 MiB in all. Write -- before arguments that begin with a dash.\n"
      "--array takes a file of fut dump or NumPy's (.npy), of any size; it is an argument like the others, at its "
      "place.\n"
      "--result-of takes what another job returns, all its parts, at their place, and waits for that job.\n"
      "Ctrl-C cancels the job; a second one leaves at once. Exits 0 when it succeeded, 1 when it did not, 124 when it\n"
      "timed out, 130 when interrupted.\n\n"
      "Examples:\n"
      "  fut call sha256 @README.md\n"
      "  fut call sum_squares 1000\n"
      "  fut call sum --array x.npy\n"
      "  fut call scale --array 'x.fut[0:1000]' 0.5\n"
      "  fut call sum --array x.npy --durable-arrays --detach\n"
      "  fut call sum --array sha256:…               what fut upload has printed\n"
      "  id=$(fut call --detach sum_squares 1000); fut call echo --result-of $id\n"
      "  fut call --timeout 1s sleep 0.2\n");
  verb.callback([&globals, options, &verb, arguments, arrays, results] {
    for (const CLI::Option* const given : verb.parse_order()) {
      if (given == arguments) options->from.push_back(From::kWord);
      if (given == arrays) options->from.push_back(From::kArray);
      if (given == results) options->from.push_back(From::kResult);
    }
    options->arguments.insert(options->arguments.end(), globals.words.begin(), globals.words.end());
    globals.action = [&globals, options] { return call(*options, globals); };
  });
}

}  // namespace futured::cli
