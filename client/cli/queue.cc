// fut queue: list, make, pause, resume.
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::string name;
  std::string discipline = "fifo";
};

Json json_of(const client::QueueInfo& queue) {
  return {{"name", queue.name},           {"discipline", queue.discipline}, {"paused", queue.paused},
          {"scheduled", queue.scheduled}, {"queued", queue.queued},         {"running", queue.running}};
}

void print_queues(const std::vector<client::QueueInfo>& queues, bool json) {
  Table table({"QUEUE", "ORDER", "STATE", "SCHEDULED", "QUEUED", "RUNNING"});
  for (const client::QueueInfo& queue : queues) {
    if (json) {
      print_json(json_of(queue));
      continue;
    }
    table.add({queue.name, queue.discipline, queue.paused ? "paused" : "open", std::to_string(queue.scheduled),
               std::to_string(queue.queued), std::to_string(queue.running)});
  }
  if (!json) table.print();
}

void add_verb(CLI::App& queue, Globals& globals, const char* name, const char* what,
              client::QueueInfo (client::Client::*call)(const std::string&) const) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *queue.add_subcommand(name, what);
  verb.add_option("name", options->name, "Name of the queue")->required();
  verb.footer("Examples:\n  fut queue " + std::string(name) + " default\n");
  verb.callback([&globals, options, call] {
    globals.action = [&globals, options, call] {
      require_utf8("name", options->name);
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
  CLI::App& list = *queue.add_subcommand("ls", "List queues");
  list.footer("Examples:\n  fut queue ls\n  fut queue ls --json | jq .queued\n");
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
  create.footer(
      "Examples:\n  fut queue create urgent --discipline priority\n  fut queue create stack --discipline lifo\n");
  create.callback([&globals, options] {
    globals.action = [&globals, options] {
      require_utf8("name", options->name);
      require_utf8("--discipline", options->discipline);
      print_queues({connect(globals).create_queue(options->name, options->discipline, /*concurrency_max=*/0)},
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
