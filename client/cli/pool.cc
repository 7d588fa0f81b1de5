// fut pool: the pools, how they are set, and what they can run.
#include <memory>
#include <utility>

#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

using client::PoolInfo;
using client::PoolSettings;

constexpr std::string_view kCommands = "COMMAND";  // the mode whose pools have no tasks

Json json_of(const PoolSettings& settings) {
  return {{"jobs_at_once", settings.jobs_at_once},
          {"jobs_per_worker_max", settings.jobs_per_worker_max},
          {"rss_bytes_max", settings.rss_bytes_max},
          {"leaks", settings.leaks},
          {"user", settings.user},
          {"env_allow", settings.env_allow},
          {"limits", Json(settings.limits)},
          {"nice", settings.nice},
          {"no_new_privileges", settings.no_new_privileges},
          {"no_network", settings.no_network},
          {"private_directory", settings.private_directory},
          {"memory_bytes_max", settings.memory_bytes_max},
          {"processes_max", settings.processes_max},
          {"plugins", settings.plugins}};
}

Json json_of(const PoolInfo& pool) {
  Json json = {{"name", pool.name},
               {"mode", pool.mode},
               {"workers", pool.workers},
               {"workers_min", pool.workers_min},
               {"workers_max", pool.workers_max},
               {"worker_idle_ms", pool.worker_idle_ms},
               {"workers_busy", pool.workers_busy},
               {"jobs_running", pool.jobs_running},
               {"jobs_max", pool.jobs_max},
               {"jobs_run", pool.jobs_run},
               {"settings", json_of(pool.settings)},
               {"tasks", Json::array()}};
  for (const client::TaskInfo& task : pool.tasks) {
    json["tasks"].push_back({{"name", task.name}, {"version", task.version}});
  }
  if (pool.zygote_start_us != 0) json["zygote_start_us"] = pool.zygote_start_us;
  if (pool.fork_us != 0) json["fork_us"] = pool.fork_us;
  if (!pool.problem.empty()) json["problem"] = pool.problem;
  return json;
}

Json json_of(const client::WorkerInfo& worker) {
  return {{"slot", worker.slot},         {"pid", worker.pid},
          {"state", worker.state},       {"jobs_running", worker.jobs_running},
          {"jobs_max", worker.jobs_max}, {"job_ids", worker.job_ids}};
}

// As the configuration takes it: "512MiB", exact.
std::string toml_bytes(std::uint64_t bytes) {
  static constexpr std::pair<int, const char*> kUnits[] = {{40, "TiB"}, {30, "GiB"}, {20, "MiB"}, {10, "KiB"}};
  for (const auto& [shift, unit] : kUnits) {
    if (bytes % (std::uint64_t{1} << shift) == 0) return "\"" + std::to_string(bytes >> shift) + unit + "\"";
  }
  return std::to_string(bytes);
}

std::string toml_table(const std::map<std::string, std::uint64_t>& values) {
  std::string text;
  for (const auto& [name, value] : values) {
    text += (text.empty() ? "" : ", ") + name + " = " + std::to_string(value);
  }
  return "{ " + text + " }";
}

// What is not as it would be by itself, line for line as it stands in the configuration. A JSON string is one of TOML.
std::vector<std::string> toml_lines(const PoolSettings& settings) {
  const PoolSettings standard;
  std::vector<std::string> lines;
  const auto add = [&](const char* key, const std::string& value) { lines.push_back(key + (" = " + value)); };
  const auto add_json = [&](const char* key, const auto& value, const auto& usual) {
    if (value != usual) add(key, Json(value).dump());
  };
  add_json("jobs_at_once", settings.jobs_at_once, standard.jobs_at_once);
  add_json("jobs_per_worker_max", settings.jobs_per_worker_max, standard.jobs_per_worker_max);
  if (settings.rss_bytes_max != 0) add("rss_max", toml_bytes(settings.rss_bytes_max));
  add_json("leaks", settings.leaks, standard.leaks);
  add_json("user", settings.user, standard.user);
  add_json("env_allow", settings.env_allow, standard.env_allow);
  if (!settings.limits.empty()) add("limits", toml_table(settings.limits));
  add_json("nice", settings.nice, standard.nice);
  add_json("no_new_privileges", settings.no_new_privileges, standard.no_new_privileges);
  add_json("no_network", settings.no_network, standard.no_network);
  add_json("private_directory", settings.private_directory, standard.private_directory);
  if (settings.memory_bytes_max != 0) add("memory_max", toml_bytes(settings.memory_bytes_max));
  add_json("processes_max", settings.processes_max, standard.processes_max);
  add_json("plugins", settings.plugins, standard.plugins);
  return lines;
}

std::string known(std::int64_t duration_us) { return duration_us == 0 ? "-" : duration_text(duration_us); }

int list(const Globals& globals) {
  Table table({"POOL", "MODE", "WORKERS", "BUSY", "RUN", "TASKS", "FORK", "PROBLEM"});
  for (const PoolInfo& pool : connect(globals).pools()) {
    if (globals.json) {
      print_json(json_of(pool));
      continue;
    }
    table.add({pool.name, pool.mode, std::to_string(pool.workers) + "/" + std::to_string(pool.workers_max),
               std::to_string(pool.workers_busy), std::to_string(pool.jobs_run),
               pool.mode == kCommands ? "-" : std::to_string(pool.tasks.size()), known(pool.fork_us),
               pool.problem.empty() ? "-" : pool.problem});
  }
  if (!globals.json) table.print();
  return kOk;
}

void line(const char* name, const std::string& value) {
  if (value.empty()) return;
  std::string text = name;
  text.resize(12, ' ');
  print(text + one_line(value) + "\n");
}

void show_workers(const std::vector<client::WorkerInfo>& workers) {
  if (workers.empty()) return;
  Table table({"WORKER", "PID", "STATE", "JOBS"});
  for (const client::WorkerInfo& worker : workers) {
    table.add({worker.pool + "/" + std::to_string(worker.slot), worker.pid == 0 ? "-" : std::to_string(worker.pid),
               worker.state, jobs_of_worker(worker)});
  }
  table.print();
}

void show(const PoolInfo& pool, const std::vector<client::WorkerInfo>& workers) {
  line("pool", pool.name);
  line("mode", pool.mode);
  line("problem", pool.problem);
  line("workers", std::to_string(pool.workers) + " of " + std::to_string(pool.workers_max) + " ready, " +
                      std::to_string(pool.workers_busy) + " busy");
  if (pool.workers_min < pool.workers_max) {
    line("size", std::to_string(pool.workers_min) + " to " + std::to_string(pool.workers_max) +
                     "; more come while jobs wait, and go when idle for " + duration_text(pool.worker_idle_ms * 1000));
  }
  line("jobs", std::to_string(pool.jobs_running) + " of " + std::to_string(pool.jobs_max) + " running");
  line("jobs run", std::to_string(pool.jobs_run));
  if (pool.zygote_start_us != 0) line("loaded in", duration_text(pool.zygote_start_us));
  if (pool.fork_us != 0) line("last fork", duration_text(pool.fork_us));
  const char* name = "settings";
  for (const std::string& setting : toml_lines(pool.settings)) line(std::exchange(name, ""), setting);
  show_workers(workers);
  if (pool.tasks.empty()) return;
  Table table({"TASK", "VERSION"});
  for (const client::TaskInfo& task : pool.tasks) table.add({task.name, task.version.empty() ? "-" : task.version});
  table.print();
}

int show_one(const std::string& name, const Globals& globals) {
  require_utf8("name", name);
  const client::Client client = connect(globals);
  const PoolInfo pool = client.pool(name);
  const std::vector<client::WorkerInfo> workers = client.workers(name, /*measure_memory=*/false);
  if (globals.json) {
    Json json = json_of(pool);
    json["worker_list"] = Json::array();
    for (const client::WorkerInfo& worker : workers) json["worker_list"].push_back(json_of(worker));
    print_json(json);
  } else {
    show(pool, workers);
  }
  return kOk;
}

int reload(const std::string& name, const Globals& globals) {
  require_utf8("name", name);
  const PoolInfo pool = connect(globals).reload_pool(name);
  if (globals.json) {
    print_json(json_of(pool));
  } else {
    print("pool " + one_line(pool.name) + ": " + std::to_string(pool.tasks.size()) +
          " tasks loaded; running jobs end on " + "the workers of before\n");
  }
  return kOk;
}

}  // namespace

void add_pool(CLI::App& app, Globals& globals) {
  CLI::App& pool = *app.add_subcommand("pool", "List pools; show how one is set and what it can run");
  pool.require_subcommand(1);
  pool.fallthrough();
  CLI::App& ls = *pool.add_subcommand("ls", "List pools, with their workers and what they have run");
  ls.footer(
      "WORKERS: ready of all; RUN: jobs since the daemon's start; FORK: how long the last worker took to start.\n\n"
      "Examples:\n  fut pool ls\n  fut pool ls --json | jq .workers_busy\n");
  ls.callback([&globals] { globals.action = [&globals] { return list(globals); }; });
  const auto name = std::make_shared<std::string>();
  CLI::App& one = *pool.add_subcommand("show", "Show everything about a pool");
  one.add_option("name", *name, "Name of the pool")->required();
  one.footer(
      "Of the settings it shows what is not as it would be by itself, as in the daemon's configuration; with --json,\n"
      "all.\n\n"
      "Examples:\n  fut pool show default\n  fut pool show default --json | jq .settings\n");
  one.callback([&globals, name] { globals.action = [&globals, name] { return show_one(*name, globals); }; });
  const auto reloaded = std::make_shared<std::string>();
  CLI::App& again = *pool.add_subcommand("reload", "Load a pool's plugins anew");
  again.add_option("name", *reloaded, "Name of the pool")->required();
  again.footer(
      "New jobs run on the new ones at once. A job that runs ends on the old ones; its worker is replaced then. "
      "Plugins\n"
      "that do not load change nothing: that is told, and exits with 4.\n\n"
      "Examples:\n  cmake --build build && cmake --install build && fut pool reload default\n");
  again.callback(
      [&globals, reloaded] { globals.action = [&globals, reloaded] { return reload(*reloaded, globals); }; });
  pool.footer("Examples:\n  fut pool ls\n  fut pool show default\n  fut pool reload default\n");
}

}  // namespace futured::cli
