// fut semaphore: make or resize, list, remove.
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::string name;
  std::uint32_t permits = 0;
};

void print_semaphores(const std::vector<client::SemaphoreInfo>& semaphores, bool json) {
  Table table({"SEMAPHORE", "PERMITS", "HELD", "WAITING"});
  for (const client::SemaphoreInfo& one : semaphores) {
    if (json) {
      print_json(
          Json{{"name", one.name}, {"permits", one.permits}, {"held", one.held}, {"waiting_jobs", one.waiting_jobs}});
      continue;
    }
    table.add({one.name, std::to_string(one.permits), std::to_string(one.held), std::to_string(one.waiting_jobs)});
  }
  if (!json) table.print();
}

void add_set(CLI::App& semaphore, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& set = *semaphore.add_subcommand("set", "Make a semaphore, or give it another size");
  set.add_option("name", options->name, "Its name")->required();
  set.add_option("permits", options->permits, "How many its jobs hold together at most")
      ->required()
      ->check(at_least_one());
  set.footer("Examples:\n  fut semaphore set gpu 2\n  fut submit --needs gpu=1 -- ./train.sh\n");
  set.callback([&globals, options] {
    globals.action = [&globals, options] {
      require_utf8("name", options->name);
      print_semaphores({connect(globals).set_semaphore(options->name, options->permits)}, globals.json);
      return kOk;
    };
  });
}

void add_semaphore_ls(CLI::App& semaphore, Globals& globals) {
  CLI::App& list = *semaphore.add_subcommand("ls", "List semaphores, and what is held of them");
  list.footer("Examples:\n  fut semaphore ls\n  fut semaphore ls --json | jq .held\n");
  list.callback([&globals] {
    globals.action = [&globals] {
      print_semaphores(connect(globals).semaphores(), globals.json);
      return kOk;
    };
  });
}

void add_rm(CLI::App& semaphore, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& remove = *semaphore.add_subcommand("rm", "Remove a semaphore that no job needs");
  remove.add_option("name", options->name, "Its name")->required();
  remove.footer("Examples:\n  fut semaphore rm gpu\n");
  remove.callback([&globals, options] {
    globals.action = [&globals, options] {
      require_utf8("name", options->name);
      connect(globals).delete_semaphore(options->name);
      return kOk;
    };
  });
}

}  // namespace

void add_semaphore(CLI::App& app, Globals& globals) {
  CLI::App& semaphore = *app.add_subcommand("semaphore", "Permits that jobs need to run: make, list and remove");
  semaphore.require_subcommand(1);
  semaphore.fallthrough();
  add_set(semaphore, globals);
  add_semaphore_ls(semaphore, globals);
  add_rm(semaphore, globals);
  semaphore.footer(
      "Examples:\n"
      "  fut semaphore set gpu 2\n"
      "  fut run --needs gpu=1,license=2 -- ./train.sh\n"
      "  fut semaphore ls\n");
}

}  // namespace futured::cli
