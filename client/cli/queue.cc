// fut queue: list, make, change, pause, drain, purge and delete queues. What moves jobs is in move.cc.
#include <cstdio>
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/options_text.h"
#include "client/cli/queue_flags.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::string name;
  std::string discipline;
  QueueFlags flags;
};

Json rate_json(const client::RateLimit& rate) {
  if (rate.starts == 0) return nullptr;
  return {{"starts", rate.starts}, {"per_ms", rate.per.count()}, {"burst", rate.burst}};
}

Json options_json(const client::QueueOptions& options) {
  const client::Retries& retries = options.retries;
  const client::Timeouts& timeouts = options.timeouts;
  return {{"concurrency_max", options.concurrency_max},
          {"concurrency_per_key_max", options.concurrency_per_key_max},
          {"rate", rate_json(options.rate)},
          {"rate_per_key", rate_json(options.rate_per_key)},
          {"queued_jobs_max", options.queued_jobs_max},
          {"queued_bytes_max", options.queued_bytes_max},
          {"pools", options.pools},
          {"weight", options.weight},
          {"fair", options.fair},
          {"ageing_ms", options.ageing.count()},
          {"default_retries",
           {{"max_attempts", retries.max_attempts},
            {"backoff_ms", retries.backoff.count()},
            {"factor", retries.factor},
            {"backoff_ms_max", retries.backoff_max.count()},
            {"jitter", retries.jitter},
            {"only_classes", retries.only_classes},
            {"except_classes", retries.except_classes},
            {"memory_factor", retries.memory_factor},
            {"memory_bytes_max", retries.memory_bytes_max}}},
          {"default_timeouts",
           {{"queue_ms", timeouts.queue.count()},
            {"soft_ms", timeouts.soft.count()},
            {"run_ms", timeouts.run.count()},
            {"heartbeat_ms", timeouts.heartbeat.count()},
            {"total_ms", timeouts.total.count()},
            {"grace_ms", timeouts.grace.count()}}},
          {"default_retention_ms", options.retention.count()}};
}

Json json_of(const client::QueueInfo& queue) {
  return {{"name", queue.name},
          {"discipline", queue.discipline},
          {"paused", queue.paused},
          {"draining", queue.draining},
          {"scheduled", queue.scheduled},
          {"blocked", queue.blocked},
          {"queued", queue.queued},
          {"running", queue.running},
          {"queued_bytes", queue.queued_bytes},
          {"succeeded", queue.succeeded},
          {"failed", queue.failed},
          {"cancelled", queue.cancelled},
          {"timed_out", queue.timed_out},
          {"starts_per_second", queue.starts_per_second},
          {"wait_p50_us", queue.wait_p50_us},
          {"wait_p99_us", queue.wait_p99_us},
          {"created_us", queue.created_us},
          {"options", options_json(queue.options)}};
}

std::string state_of(const client::QueueInfo& queue) {
  if (queue.paused) return queue.draining ? "paused, draining" : "paused";
  return queue.draining ? "draining" : "open";
}

void print_queues(const std::vector<client::QueueInfo>& queues, bool json) {
  Table table({"QUEUE", "ORDER", "STATE", "SCHEDULED", "BLOCKED", "QUEUED", "RUNNING"});
  for (const client::QueueInfo& queue : queues) {
    if (json) {
      print_json(json_of(queue));
      continue;
    }
    table.add({queue.name, queue.discipline, state_of(queue), std::to_string(queue.scheduled),
               std::to_string(queue.blocked), std::to_string(queue.queued), std::to_string(queue.running)});
  }
  if (!json) table.print();
}

std::string counted(std::uint64_t value) { return value != 0 ? std::to_string(value) : ""; }

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + one_line(word);
  return text;
}

std::string pools_text(const std::vector<std::string>& pools) {
  std::string text;
  for (const std::string& pool : pools) text += (text.empty() ? "" : ", ") + (pool.empty() ? "(by kind)" : pool);
  return text;
}

void print_queue(const client::QueueInfo& queue) {
  Table table({"QUEUE", queue.name});
  const auto add = [&](const char* what, const std::string& value) {
    if (!value.empty()) table.add({what, value});
  };
  const client::QueueOptions& options = queue.options;
  const client::Retries& retries = options.retries;
  add("order", queue.discipline);
  add("state", state_of(queue));
  add("made", time_text(queue.created_us));
  add("scheduled", std::to_string(queue.scheduled));
  add("blocked", std::to_string(queue.blocked));
  add("queued", std::to_string(queue.queued));
  add("running", std::to_string(queue.running));
  add("payloads", bytes_text(static_cast<std::int64_t>(queue.queued_bytes)));
  add("since the daemon began", std::to_string(queue.succeeded) + " succeeded, " + std::to_string(queue.failed) +
                                    " failed, " + std::to_string(queue.cancelled) + " cancelled, " +
                                    std::to_string(queue.timed_out) + " timed out");
  char starts[32];
  std::snprintf(starts, sizeof starts, "%.1f", queue.starts_per_second);
  add("starts a second", starts);
  if (queue.wait_p99_us != 0) {
    add("waits", "half under " + duration_text(queue.wait_p50_us) + ", 99 % under " + duration_text(queue.wait_p99_us));
  }
  add("concurrency", counted(options.concurrency_max));
  add("concurrency by key", counted(options.concurrency_per_key_max));
  add("rate", rate_text(options.rate));
  add("rate by key", rate_text(options.rate_per_key));
  add("jobs at most", counted(options.queued_jobs_max));
  if (options.queued_bytes_max != 0)
    add("bytes at most", bytes_text(static_cast<std::int64_t>(options.queued_bytes_max)));
  add("pools", pools_text(options.pools));
  if (options.weight > 1) add("weight", std::to_string(options.weight));
  if (options.fair) add("fair", "by fairness key");
  if (options.ageing.count() != 0) add("ageing", exact_duration_text(options.ageing));
  add("retries by default", retries_text(retries));
  add("retry only by default", joined(retries.only_classes));
  add("retry except by default", joined(retries.except_classes));
  add("timeouts by default", timeouts_text(options.timeouts));
  if (options.retention.count() != 0) add("kept by default", exact_duration_text(options.retention));
  table.print();
}

CLI::App& add_named(CLI::App& queue, const char* name, const char* what, const std::shared_ptr<Options>& options) {
  CLI::App& verb = *queue.add_subcommand(name, what);
  verb.add_option("name", options->name, "Name of the queue")->required();
  return verb;
}

void add_verb(CLI::App& queue, Globals& globals, const char* name, const char* what,
              client::QueueInfo (client::Client::*call)(const std::string&) const) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = add_named(queue, name, what, options);
  verb.footer("Examples:\n  fut queue " + std::string(name) + " default\n");
  verb.callback([&globals, options, call] {
    globals.action = [&globals, options, call] {
      require_utf8("name", options->name);
      print_queues({(connect(globals).*call)(options->name)}, globals.json);
      return kOk;
    };
  });
}

void add_list(CLI::App& queue, Globals& globals) {
  CLI::App& list = *queue.add_subcommand("ls", "List queues");
  list.footer("Examples:\n  fut queue ls\n  fut queue ls --json | jq .queued\n");
  list.callback([&globals] {
    globals.action = [&globals] {
      print_queues(connect(globals).queues(), globals.json);
      return kOk;
    };
  });
}

void add_show_queue(CLI::App& queue, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& show = add_named(queue, "show", "What a queue allows, gives its jobs and has done", options);
  show.footer("Examples:\n  fut queue show default\n  fut queue show default --json | jq .options\n");
  show.callback([&globals, options] {
    globals.action = [&globals, options] {
      require_utf8("name", options->name);
      const client::QueueInfo info = connect(globals).queue(options->name);
      globals.json ? print_json(json_of(info)) : print_queue(info);
      return kOk;
    };
  });
}

void add_create(CLI::App& queue, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& create = add_named(queue, "create", "Make a queue, or find one that is the same", options);
  create.add_option("--discipline", options->discipline, "fifo, lifo or priority (default: fifo)");
  options->flags.add_to(create);
  create.footer(
      "Examples:\n"
      "  fut queue create urgent --discipline priority\n"
      "  fut queue create mail --rate 10/s --burst 5 --retries 3 --backoff 1s\n"
      "  fut queue create bulk --max-jobs 100000 --max-bytes 1GiB --run-timeout 30s\n"
      "  fut queue create reports --discipline priority --ageing 10s\n");
  create.callback([&globals, options] {
    globals.action = [&globals, options] {
      require_utf8("name", options->name);
      require_utf8("--discipline", options->discipline);
      client::QueueOptions wanted{.discipline = options->discipline};
      options->flags.apply(wanted);
      print_queues({connect(globals).create_queue(options->name, wanted)}, globals.json);
      return kOk;
    };
  });
}

void add_set(CLI::App& queue, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& set = add_named(queue, "set", "Change options of a queue; the others stay", options);
  options->flags.add_to(set);
  set.footer(
      "Defaults for jobs are those of jobs submitted from now on.\n\n"
      "Examples:\n"
      "  fut queue set mail --rate 20/s\n"
      "  fut queue set mail --rate none --max-jobs 0\n");
  set.callback([&globals, options] {
    globals.action = [&globals, options] {
      require_utf8("name", options->name);
      const std::vector<std::string> fields = options->flags.fields();
      if (fields.empty()) throw UsageError("say what to change, such as --max-jobs 1000; --help lists the options");
      const client::Client client = connect(globals);
      client::QueueOptions wanted = client.queue(options->name).options;
      options->flags.apply(wanted);
      print_queues({client.update_queue(options->name, only(wanted, fields), fields)}, globals.json);
      return kOk;
    };
  });
}

void add_purge(CLI::App& queue, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& purge =
      add_named(queue, "purge", "Cancel all jobs of this queue that are queued; running jobs go on", options);
  purge.footer(
      "For root and the daemon's own user. Until it is done nothing of the queue starts and new jobs wait. When the\n"
      "daemon ends meanwhile, the rest is still queued: purge again.\n\n"
      "Examples:\n  fut queue purge nightly\n");
  purge.callback([&globals, options] {
    globals.action = [&globals, options] {
      require_utf8("name", options->name);
      const std::uint64_t cancelled = connect(globals).purge_queue(options->name);
      if (globals.json) {
        print_json({{"name", options->name}, {"cancelled", cancelled}});
      } else {
        Table table({"QUEUE", "CANCELLED"});
        table.add({options->name, std::to_string(cancelled)});
        table.print();
      }
      return kOk;
    };
  });
}

void add_remove(CLI::App& queue, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& remove = add_named(queue, "rm", "Delete a queue that has no unfinished jobs", options);
  remove.footer(
      "Jobs that have ended are still listed. One of the daemon's configuration comes back with its next start.\n\n"
      "Examples:\n  fut queue rm nightly\n");
  remove.callback([&globals, options] {
    globals.action = [&globals, options] {
      require_utf8("name", options->name);
      connect(globals).delete_queue(options->name);
      if (globals.json) print_json({{"name", options->name}, {"deleted", true}});
      return kOk;
    };
  });
}

}  // namespace

void add_queue(CLI::App& app, Globals& globals) {
  CLI::App& queue = *app.add_subcommand("queue", "List, make, change, pause, drain, purge, move and delete queues");
  queue.require_subcommand(1);
  queue.fallthrough();
  add_list(queue, globals);
  add_show_queue(queue, globals);
  add_create(queue, globals);
  add_set(queue, globals);
  add_verb(queue, globals, "pause", "Start nothing of this queue; running jobs go on", &client::Client::pause_queue);
  add_verb(queue, globals, "resume", "Start jobs of this queue again, and take new ones",
           &client::Client::resume_queue);
  add_verb(queue, globals, "drain", "Refuse new jobs, finish those that are there", &client::Client::drain_queue);
  add_purge(queue, globals);
  add_move_of_queue(queue, globals);
  add_remove(queue, globals);
  queue.footer(
      "Examples:\n"
      "  fut queue ls\n"
      "  fut queue create urgent --discipline priority\n"
      "  fut queue set urgent --max-jobs 1000\n"
      "  fut queue pause default\n");
}

}  // namespace futured::cli
