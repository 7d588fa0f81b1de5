// fut cache: what is kept of outcomes, how well that goes, and forgetting it.
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::string task;
  std::string key;
  std::uint64_t job = 0;
  bool commands = false;
};

std::string key_text(const client::CacheEntryInfo& entry) {
  return entry.given_key.empty() ? entry.key.substr(0, 12) : cut_to(entry.given_key, 40);
}

Json json_of(const client::CacheEntryInfo& entry) {
  return {{"task", entry.task},
          {"task_version", entry.task_version},
          {"key", entry.key},
          {"job_id", entry.job_id},
          {"bytes", entry.bytes},
          {"hits", entry.hits},
          {"created_us", entry.created_us},
          {"expires_us", entry.expires_us},
          {"given_key", entry.given_key}};
}

void print_entries(const std::vector<client::CacheEntryInfo>& entries, bool json) {
  Table table({"JOB", "TASK", "VERSION", "KEY", "BYTES", "HITS", "CREATED", "EXPIRES"});
  for (const client::CacheEntryInfo& entry : entries) {
    if (json) {
      print_json(json_of(entry));
      continue;
    }
    const auto or_dash = [](const std::string& text) { return text.empty() ? std::string("-") : text; };
    table.add({std::to_string(entry.job_id), entry.task.empty() ? "(command)" : entry.task, or_dash(entry.task_version),
               key_text(entry), bytes_text(static_cast<std::int64_t>(entry.bytes)), std::to_string(entry.hits),
               time_text(entry.created_us), or_dash(time_text(entry.expires_us))});
  }
  if (!json) table.print();
}

void add_task_option(CLI::App& verb, Options& options, const char* what) {
  verb.add_option("--task", options.task, what)->check([](const std::string& task) {
    return task.empty() ? "it is empty; leave it out for all, or name one" : "";
  });
}

void add_cache_ls(CLI::App& cache, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& list = *cache.add_subcommand("ls", "List what is kept, newest first");
  add_task_option(list, *options, "Of this task only");
  list.footer(
      "KEY is that of --cache-key, or the first digits of the hash of the arguments.\n\n"
      "Examples:\n  fut cache ls\n  fut cache ls --task sum --json | jq .hits\n");
  list.callback([&globals, options] {
    globals.action = [&globals, options] {
      require_utf8("--task", options->task);
      print_entries(connect(globals).cache_entries(options->task), globals.json);
      return kOk;
    };
  });
}

void add_cache_stats(CLI::App& cache, Globals& globals) {
  CLI::App& stats = *cache.add_subcommand("stats", "Tell how much is kept, and how often it was of use");
  stats.footer(
      "Entries and bytes are yours; for root and the daemon's own user, everybody's. The other counts are of all jobs "
      "of\n"
      "the daemon since its start.\n\nExamples:\n  fut cache stats\n  fut cache stats --json | jq .hits\n");
  stats.callback([&globals] {
    globals.action = [&globals] {
      const client::CacheStatsInfo told = connect(globals).cache_stats();
      const std::pair<const char*, std::uint64_t> counts[] = {
          {"entries", told.entries}, {"bytes", told.bytes},   {"bytes_max", told.bytes_max}, {"hits", told.hits},
          {"misses", told.misses},   {"joined", told.joined}, {"evicted", told.evicted}};
      Json json;
      Table table({"WHAT", "COUNT"});
      for (const auto& [name, count] : counts) {
        json[name] = count;
        table.add({name, std::to_string(count)});
      }
      if (globals.json) {
        print_json(json);
      } else {
        table.print();
      }
      return kOk;
    };
  });
}

void add_cache_clear(CLI::App& cache, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& clear = *cache.add_subcommand("clear", "Forget what is kept, and what is being computed");
  add_task_option(clear, *options, "Of this task only");
  CLI::Option* const commands = clear.add_flag("--commands", options->commands, "Of command lines only");
  commands->excludes(clear.get_option("--task"));
  clear.add_option("--key", options->key, "What was kept under this --cache-key")->check([](const std::string& word) {
    return word.empty() ? "it is empty; leave it out for all, or name one" : "";
  });
  clear.add_option("--job", options->job, "The outcome of this job, as fut cache ls names it")->check(at_least_one());
  clear.footer(
      "Only what all of the options are true of. What is being computed is not kept either, unless --job names what "
      "is.\n"
      "Exits 4 when there is nothing that --key or --job name.\n\n"
      "Examples:\n"
      "  fut cache clear --key nightly-report\n"
      "  fut cache clear --job 42\n"
      "  fut cache clear --task sum\n"
      "  fut cache clear --commands\n"
      "  fut cache clear\n");
  clear.callback([&globals, options] {
    globals.action = [&globals, options] {
      require_utf8("--task", options->task);
      require_utf8("--key", options->key);
      const std::uint64_t removed = connect(globals).clear_cache(client::CacheSelection{
          .task = options->task, .commands = options->commands, .key = options->key, .job_id = options->job});
      if (globals.json) {
        print_json(Json{{"removed", removed}});
      } else {
        print("removed " + std::to_string(removed) + "\n");
      }
      const bool names_one = !options->key.empty() || options->job != 0;
      if (names_one && removed == 0) complain("nothing of yours is kept under that: fut cache ls shows what is");
      return names_one && removed == 0 ? kRefused : kOk;
    };
  });
}

}  // namespace

void add_cache(CLI::App& app, Globals& globals) {
  CLI::App& cache = *app.add_subcommand("cache", "Outcomes kept for jobs that ask the same: list, count and forget");
  cache.require_subcommand(1);
  cache.fallthrough();
  add_cache_ls(cache, globals);
  add_cache_stats(cache, globals);
  add_cache_clear(cache, globals);
  cache.footer(
      "Examples:\n"
      "  fut call --cache sum '[1, 2]'\n"
      "  fut run --cache-key nightly-report --cache-ttl 12h -- ./report.sh\n"
      "  fut cache ls\n"
      "  fut cache clear --task sum\n");
}

}  // namespace futured::cli
