// fut task: what can be called.
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

int list(const std::string& pool_name, const Globals& globals) {
  require_utf8("--pool", pool_name);
  const client::Client client = connect(globals);
  const std::vector<client::PoolInfo> pools =
      pool_name.empty() ? client.pools() : std::vector<client::PoolInfo>{client.pool(pool_name)};
  Table table({"TASK", "VERSION", "POOL"});
  for (const client::PoolInfo& pool : pools) {
    for (const client::TaskInfo& task : pool.tasks) {
      if (globals.json) {
        print_json({{"name", task.name}, {"version", task.version}, {"pool", pool.name}});
      } else {
        table.add({task.name, task.version.empty() ? "-" : task.version, pool.name});
      }
    }
  }
  if (!globals.json) table.print();
  return kOk;
}

}  // namespace

void add_task(CLI::App& app, Globals& globals) {
  CLI::App& task = *app.add_subcommand("task", "Look at the tasks that can be called");
  task.require_subcommand(1);
  task.fallthrough();
  const auto pool = std::make_shared<std::string>();
  CLI::App& ls = *task.add_subcommand("ls", "List the tasks of each pool, with their versions");
  ls.add_option("--pool", *pool, "Of this pool");
  ls.callback([&globals, pool] { globals.action = [&globals, pool] { return list(*pool, globals); }; });
  constexpr const char* kExamples = "Examples:\n  fut task ls\n  fut task ls --pool default --json | jq -r .name\n";
  task.footer(kExamples);
  ls.footer(kExamples);
}

}  // namespace futured::cli
