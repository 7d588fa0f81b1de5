// fut worker: who does the work.
#include <memory>

#include "base/time.h"
#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

Json json_of(const client::WorkerInfo& worker) {
  return {{"pool", worker.pool},
          {"slot", worker.slot},
          {"generation", worker.generation},
          {"pid", worker.pid},
          {"state", worker.state},
          {"job_ids", worker.job_ids},
          {"jobs_run", worker.jobs_run},
          {"rss_bytes", worker.rss_bytes},
          {"pss_bytes", worker.pss_bytes},
          {"started_us", worker.started_us},
          {"offers", worker.offers}};
}

std::string jobs_of(const client::WorkerInfo& worker) {
  std::string text;
  for (const std::uint64_t id : worker.job_ids) text += (text.empty() ? "" : " ") + std::to_string(id);
  return text;
}

int list(const std::string& pool, const Globals& globals) {
  require_utf8("--pool", pool);
  const std::vector<client::WorkerInfo> workers = connect(globals).workers(pool);
  Table table({"WORKER", "PID", "STATE", "JOB", "RUN", "RSS", "PSS", "AGE"});
  const std::int64_t now_us = wall_now().us;
  for (const client::WorkerInfo& worker : workers) {
    if (globals.json) {
      print_json(json_of(worker));
      continue;
    }
    table.add({worker.pool + "/" + std::to_string(worker.slot), std::to_string(worker.pid), worker.state,
               jobs_of(worker), std::to_string(worker.jobs_run), bytes_text(worker.rss_bytes),
               bytes_text(worker.pss_bytes), worker.started_us == 0 ? "" : duration_text(now_us - worker.started_us)});
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
  CLI::App& ls = *worker.add_subcommand("ls", "List workers, with what they do and the memory they take");
  ls.add_option("--pool", *pool, "Of this pool");
  ls.callback([&globals, pool] { globals.action = [&globals, pool] { return list(*pool, globals); }; });
  constexpr const char* kExamples = "Examples:\n  fut worker ls\n  fut worker ls --pool command --json\n";
  worker.footer(kExamples);
  ls.footer(kExamples);
}

}  // namespace futured::cli
