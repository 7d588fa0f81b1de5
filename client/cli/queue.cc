// fut queue: list, make, pause, resume.
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::string name;
  std::string discipline = "fifo";
  std::uint32_t concurrency = 0;
};

Json json_of(const client::QueueInfo& queue) {
  return {{"name", queue.name},
          {"discipline", queue.discipline},
          {"paused", queue.paused},
          {"draining", queue.draining},
          {"concurrency_max", queue.concurrency_max},
          {"scheduled", queue.scheduled},
          {"blocked", queue.blocked},
          {"queued", queue.queued},
          {"running", queue.running},
          {"succeeded", queue.succeeded},
          {"failed", queue.failed},
          {"cancelled", queue.cancelled},
          {"timed_out", queue.timed_out}};
}

void print_queues(const std::vector<client::QueueInfo>& queues, bool json) {
  Table table({"QUEUE", "ORDER", "STATE", "QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "TIMED OUT"});
  for (const client::QueueInfo& queue : queues) {
    if (json) {
      print_json(json_of(queue));
      continue;
    }
    table.add({queue.name, queue.discipline,
               queue.paused     ? "paused"
               : queue.draining ? "draining"
                                : "open",
               std::to_string(queue.queued), std::to_string(queue.running), std::to_string(queue.succeeded),
               std::to_string(queue.failed), std::to_string(queue.cancelled), std::to_string(queue.timed_out)});
  }
  if (!json) table.print();
}

void add_verb(CLI::App& queue, Globals& globals, const char* name, const char* what,
              client::QueueInfo (client::Client::*call)(const std::string&) const) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *queue.add_subcommand(name, what);
  verb.add_option("name", options->name, "Name of the queue")->required();
  verb.callback([&globals, options, call] {
    globals.action = [&globals, options, call] {
      print_queues({(connect(globals).*call)(options->name)}, globals.json);
      return kOk;
    };
  });
}

}  // namespace

void add_queue(CLI::App& app, Globals& globals) {
  CLI::App& queue = *app.add_subcommand("queue", "List, make, pause and resume queues");
  queue.require_subcommand(1);
  queue.fallthrough();
  CLI::App& list = *queue.add_subcommand("ls", "List queues; the counts of ended jobs are since the daemon's start");
  list.callback([&globals] {
    globals.action = [&globals] {
      print_queues(connect(globals).queues(), globals.json);
      return kOk;
    };
  });
  const auto options = std::make_shared<Options>();
  CLI::App& create = *queue.add_subcommand("create", "Make a queue");
  create.add_option("name", options->name, "Its name")->required();
  create.add_option("--discipline", options->discipline, "fifo, lifo or priority (default: fifo)");
  create.add_option("--concurrency", options->concurrency, "Jobs running at once (default: no limit)");
  create.callback([&globals, options] {
    globals.action = [&globals, options] {
      print_queues({connect(globals).create_queue(options->name, options->discipline, options->concurrency)},
                   globals.json);
      return kOk;
    };
  });
  add_verb(queue, globals, "pause", "Start nothing of this queue; running jobs go on", &client::Client::pause_queue);
  add_verb(queue, globals, "resume", "Start jobs of this queue again", &client::Client::resume_queue);
  queue.footer(
      "Examples:\n"
      "  fut queue ls\n"
      "  fut queue create urgent --discipline priority\n"
      "  fut queue pause default\n");
}

}  // namespace futured::cli
