// fut worker: who does the work.
#include <cmath>
#include <memory>

#include "base/time.h"
#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

bool is_measured(const client::WorkerInfo& worker) { return worker.processes != 0; }

// Cores that it has kept busy on average since it began.
double cpu_share(const client::WorkerInfo& worker, std::int64_t now_us) {
  const std::int64_t age_us = now_us - worker.started_us;
  return age_us <= 0 ? 0 : static_cast<double>(worker.cpu_us) / static_cast<double>(age_us);
}

Json json_of(const client::WorkerInfo& worker, std::int64_t now_us) {
  Json json = {{"pool", worker.pool},
               {"slot", worker.slot},
               {"generation", worker.generation},
               {"pid", worker.pid},
               {"state", worker.state},
               {"jobs_running", worker.jobs_running},
               {"jobs_max", worker.jobs_max},
               {"job_ids", worker.job_ids},
               {"jobs_run", worker.jobs_run},
               {"rss_bytes", worker.rss_bytes},
               {"pss_bytes", worker.pss_bytes},
               {"started_us", worker.started_us},
               {"offers", worker.offers}};
  if (!is_measured(worker)) return json;
  json["cpu_us"] = worker.cpu_us;
  json["cpu_share"] = std::round(cpu_share(worker, now_us) * 1e4) / 1e4;
  json["processes"] = worker.processes;
  json["tree_rss_bytes"] = worker.tree_rss_bytes;
  return json;
}

std::vector<std::string> row_of(const client::WorkerInfo& worker, std::int64_t now_us) {
  const auto measured = [&](std::string text) { return is_measured(worker) ? std::move(text) : "-"; };
  const std::string share = std::to_string(std::lround(cpu_share(worker, now_us) * 100)) + "%";
  return {worker.pool + "/" + std::to_string(worker.slot),
          worker.pid == 0 ? "-" : std::to_string(worker.pid),
          worker.state,
          jobs_of_worker(worker),
          std::to_string(worker.jobs_run),
          measured(duration_text(worker.cpu_us)),
          measured(share),
          measured(bytes_text(worker.rss_bytes)),
          worker.pss_bytes == 0 ? "-" : bytes_text(worker.pss_bytes),
          measured(bytes_text(worker.tree_rss_bytes)),
          worker.started_us == 0 ? "" : duration_text(now_us - worker.started_us)};
}

int list(const std::string& pool, const Globals& globals) {
  require_utf8("--pool", pool);
  const std::vector<client::WorkerInfo> workers = connect(globals).workers(pool);
  Table table({"WORKER", "PID", "STATE", "JOBS", "RUN", "CPU", "SHARE", "RSS", "PSS", "TREE", "AGE"});
  const std::int64_t now_us = wall_now().us;
  for (const client::WorkerInfo& worker : workers) {
    if (globals.json) {
      print_json(json_of(worker, now_us));
    } else {
      table.add(row_of(worker, now_us));
    }
  }
  if (!globals.json) table.print();
  return kOk;
}

}  // namespace

void add_worker(CLI::App& app, Globals& globals) {
  CLI::App& worker = *app.add_subcommand("worker", "Look at the workers");
  worker.require_subcommand(1);
  worker.fallthrough();
  const auto pool = std::make_shared<std::string>();
  CLI::App& ls = *worker.add_subcommand("ls", "List workers, with what they do, the time and the memory they take");
  ls.add_option("--pool", *pool, "Of this pool");
  ls.callback([&globals, pool] { globals.action = [&globals, pool] { return list(*pool, globals); }; });
  constexpr const char* kExamples = "Examples:\n  fut worker ls\n  fut worker ls --pool command --json\n";
  worker.footer(kExamples);
  ls.footer(
      std::string("JOBS: how many it runs of how many it may at once, and the first of them; --json has up to\n"
                  "1024. RUN: how many it has run. CPU: time of a worker and of all that it has started;\n"
                  "SHARE: how much of one core that was since it began. RSS and PSS: the worker's own memory,\n"
                  "PSS with its share of shared pages only; TREE: the RSS of it and of all that runs below it.\n\n") +
      kExamples);
}

}  // namespace futured::cli
