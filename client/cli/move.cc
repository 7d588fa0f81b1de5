// fut mv and fut queue move: jobs that have not begun go to another queue.
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"
#include "client/cli/wait_notices.h"

namespace futured::cli {

namespace {

struct Options {
  std::vector<std::string> ids;
  std::string from;
  std::string to;
};

std::string_view word_of(client::MoveDisposition disposition) {
  switch (disposition) {
    case client::MoveDisposition::kAlreadyThere:
      return "is there already";
    case client::MoveDisposition::kRunning:
      return "has begun, and stays where it is";
    case client::MoveDisposition::kAlreadyEnded:
      return "had ended";
    case client::MoveDisposition::kNotFound:
      return "not found";
    case client::MoveDisposition::kUnknown:
      break;
  }
  return "unknown";
}

void print_report(const client::MoveReport& report, bool json) {
  if (json) {
    Json left = Json::array();
    for (const client::MoveEntry& entry : report.left) {
      left.push_back({{"id", entry.id}, {"why", word_of(entry.disposition)}});
    }
    print_json({{"moved", report.moved},
                {"already_there", report.already_there},
                {"running", report.running},
                {"already_ended", report.already_ended},
                {"not_found", report.not_found},
                {"left", left},
                {"refused", report.refused}});
    return;
  }
  for (const client::MoveEntry& entry : report.left) {
    complain("job " + std::to_string(entry.id) + ": " + std::string(word_of(entry.disposition)));
  }
  std::string text = std::to_string(report.moved) + " moved";
  if (report.running > 0) text += ", " + std::to_string(report.running) + " had begun";
  print(text + "\n");
}

int told(const client::MoveReport& report, const Globals& globals) {
  print_report(report, globals.json);
  if (report.refused.empty()) return kOk;
  complain("the others were not moved: " + report.refused);
  return kRefused;
}

int move_named(const Options& options, const Globals& globals) {
  const std::vector<std::uint64_t> ids = parse_ids(options.ids);
  require_utf8("--to", options.to);
  const client::Client client = connect(globals);
  const WaitNotices notices(client.address());
  const client::MoveReport report = client.move_jobs(ids, options.to);
  const int code = told(report, globals);
  const bool all = report.running + report.already_ended + report.not_found == 0;
  return all ? code : kRefused;
}

int move_all(const Options& options, const Globals& globals) {
  require_utf8("from", options.from);
  require_utf8("to", options.to);
  const client::Client client = connect(globals);
  const WaitNotices notices(client.address());
  return told(client.move_queue(options.from, options.to), globals);
}

}  // namespace

void add_move(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("mv", "Move jobs that have not begun to another queue");
  verb.add_option("ids", options->ids, "Numbers of jobs, or ranges such as 3-10")->required();
  verb.add_option("--to", options->to, "Name of the queue that they go to")->required();
  verb.footer(
      "They keep their numbers and the retries and timeouts that they have, and stand in that queue where their "
      "submit\n"
      "would have put them. Exits 4 when one of them had begun or ended, or is not known.\n\n"
      "Examples:\n"
      "  fut mv 42 --to urgent\n"
      "  fut mv 50-60 70 --to nightly\n");
  verb.callback(
      [&globals, options] { globals.action = [&globals, options] { return move_named(*options, globals); }; });
}

void add_move_of_queue(CLI::App& queue, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *queue.add_subcommand("move", "Move all jobs of a queue that have not begun to another one");
  verb.add_option("from", options->from, "Name of the queue that they leave")->required();
  verb.add_option("to", options->to, "Name of the queue that they go to")->required();
  verb.footer(
      "For root and the daemon's own user; fut mv moves jobs of your own. What comes in meanwhile may stay: fut queue\n"
      "drain first keeps it out.\n\n"
      "Examples:\n"
      "  fut queue move nightly bulk\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return move_all(*options, globals); }; });
}

}  // namespace futured::cli
