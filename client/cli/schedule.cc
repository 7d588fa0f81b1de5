// fut schedule: jobs that the daemon makes by itself, again and again.
#include <algorithm>
#include <charconv>
#include <iterator>
#include <memory>
#include <utility>

#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/job_flags.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

constexpr const char* kCatchUps[] = {"skip", "one", "all"};
constexpr const char* kOverlaps[] = {"allow", "skip", "queue", "replace"};

template <std::size_t kCount, typename Value>
std::string word_of(const char* const (&words)[kCount], Value value) {
  const auto index = static_cast<std::size_t>(value);
  return index < kCount ? words[index] : std::to_string(index);
}

struct Options {
  std::string name;
  std::string cron;
  std::string every;
  std::string zone;
  std::string catch_up = "skip";
  std::string overlap = "allow";
  std::string jitter;
  bool paused = false;
  JobFlags job;
  CommandFlags command;
  std::string task;
  std::vector<std::string> words;
};

void put_catch_up(const std::string& word, client::Schedule& schedule) {
  if (word == "skip") return;
  if (word == "one") {
    schedule.catch_up = client::CatchUp::kOne;
    return;
  }
  const auto [end, problem] = std::from_chars(word.data(), word.data() + word.size(), schedule.catch_up_max);
  if (problem != std::errc() || end != word.data() + word.size() || schedule.catch_up_max == 0) {
    throw UsageError("--catch-up: \"" + word + "\" is not skip, one or a number of firings, such as 10");
  }
  schedule.catch_up = client::CatchUp::kAll;
}

client::Overlap overlap_of(const std::string& word) {
  const auto found = std::ranges::find(kOverlaps, word);
  if (found == std::end(kOverlaps)) {
    throw UsageError("--overlap: \"" + word + "\" is not allow, skip, queue or replace");
  }
  return static_cast<client::Overlap>(found - std::begin(kOverlaps));
}

client::Schedule schedule_of(const Options& options) {
  require_utf8("name", options.name);
  require_utf8("--cron", options.cron);
  require_utf8("--tz", options.zone);
  require_utf8("--call", options.task);
  if (options.cron.empty() == options.every.empty()) {
    throw UsageError("say when it fires: --cron '0 8 * * *' or --every 5m, one of the two");
  }
  client::Schedule schedule;
  schedule.name = options.name;
  schedule.cron = options.cron;
  if (!options.every.empty()) schedule.every = parse_duration(options.every, "--every");
  schedule.time_zone = options.zone;
  put_catch_up(options.catch_up, schedule);
  schedule.overlap = overlap_of(options.overlap);
  if (!options.jitter.empty()) schedule.jitter = parse_duration(options.jitter, "--jitter");
  schedule.paused = options.paused;
  schedule.job = options.job.options();
  schedule.task = options.task;
  if (options.task.empty()) {
    schedule.command = options.command.command(options.words);
  } else {
    for (const std::string& word : options.words) schedule.payload.push_back(parse_argument(word));
  }
  return schedule;
}

std::string when_text(const client::Schedule& schedule) {
  if (schedule.cron.empty()) return "every " + exact_duration_text(schedule.every);
  return schedule.cron + (schedule.time_zone.empty() ? "" : " " + schedule.time_zone);
}

std::string what_text(const client::Schedule& schedule) {
  return schedule.task.empty() ? quoted(schedule.command.argv) : schedule.task;
}

Json json_of(const client::Schedule& schedule) {
  Json json = {{"name", schedule.name}, {"paused", schedule.paused}};
  if (!schedule.cron.empty()) json["cron"] = schedule.cron;
  if (schedule.every.count() != 0) json["every_ms"] = schedule.every.count();
  if (!schedule.time_zone.empty()) json["time_zone"] = schedule.time_zone;
  json["catch_up"] = word_of(kCatchUps, schedule.catch_up);
  if (schedule.catch_up_max != 0) json["catch_up_max"] = schedule.catch_up_max;
  json["overlap"] = word_of(kOverlaps, schedule.overlap);
  if (schedule.jitter.count() != 0) json["jitter_ms"] = schedule.jitter.count();
  json["queue"] = schedule.queue;
  if (schedule.task.empty()) {
    for (const std::string& word : schedule.command.argv) json["argv"].push_back(word);
  } else {
    json["task"] = schedule.task;
  }
  if (schedule.last_us != 0) json["last_us"] = schedule.last_us;
  if (schedule.last_job_id != 0) json["last_job_id"] = schedule.last_job_id;
  if (schedule.next_us != 0) json["next_us"] = schedule.next_us;
  return json;
}

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

void print_schedules(const std::vector<client::Schedule>& schedules, bool json) {
  Table table({"SCHEDULE", "WHEN", "NEXT", "LAST", "JOB", "WHAT"});
  for (const client::Schedule& schedule : schedules) {
    if (json) {
      print_json(json_of(schedule));
      continue;
    }
    table.add({schedule.name, when_text(schedule), schedule.paused ? "paused" : or_dash(time_text(schedule.next_us)),
               or_dash(time_text(schedule.last_us)),
               schedule.last_job_id == 0 ? "-" : std::to_string(schedule.last_job_id), what_text(schedule)});
  }
  if (!json) table.print();
}

void line(const char* name, const std::string& value) {
  if (value.empty()) return;
  std::string text = name;
  text.resize(12, ' ');
  print(text + one_line(value) + "\n");
}

void show(const client::Schedule& schedule) {
  line("schedule", schedule.name);
  line("fires", when_text(schedule));
  if (!schedule.cron.empty() && schedule.time_zone.empty()) line("time zone", "UTC");
  line("state", schedule.paused ? "paused" : "open");
  line("next", time_text(schedule.next_us));
  line("last", time_text(schedule.last_us));
  if (schedule.last_job_id != 0) line("last job", std::to_string(schedule.last_job_id));
  line("catch up", word_of(kCatchUps, schedule.catch_up) +
                       (schedule.catch_up_max != 0 ? ", at most " + std::to_string(schedule.catch_up_max) : ""));
  line("overlap", word_of(kOverlaps, schedule.overlap));
  if (schedule.jitter.count() != 0) line("jitter", exact_duration_text(schedule.jitter));
  line("queue", schedule.queue);
  line(schedule.task.empty() ? "command" : "task", what_text(schedule));
  line("directory", schedule.command.cwd);
}

// Verbs that take a name and nothing else.
template <typename Act>
CLI::App& add_verb(CLI::App& schedule, Globals& globals, const char* name, const char* what, Act act) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *schedule.add_subcommand(name, what);
  verb.add_option("name", options->name, "Name of the schedule")->required();
  verb.footer("Examples:\n  fut schedule " + std::string(name) + " nightly\n");
  verb.callback([&globals, options, act] {
    globals.action = [&globals, options, act] {
      require_utf8("name", options->name);
      act(connect(globals), options->name);
      return kOk;
    };
  });
  return verb;
}

void add_add(CLI::App& schedule, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *schedule.add_subcommand("add", "Make a schedule, or put another in the place of one");
  verb.add_option("name", options->name, "Its name")->required();
  verb.add_option("--cron", options->cron,
                  "Minute, hour, day of month, month, day of week; with a second in front, six fields");
  verb.add_option("--every", options->every, "From now on, so long apart, such as 5m; at least 1s");
  verb.add_option("--tz", options->zone, "Whose clocks --cron means, such as Europe/Berlin (default: UTC)");
  verb.add_option("--catch-up", options->catch_up,
                  "Firings missed while the daemon was away: skip, one, or at most so many (default: skip)");
  verb.add_option("--overlap", options->overlap,
                  "While the last job goes on: allow, skip, queue or replace (default: allow)");
  verb.add_option("--jitter", options->jitter, "Fire up to so long after the time");
  verb.add_flag("--paused", options->paused, "Do not fire until it is resumed");
  verb.add_option("--call", options->task, "Call this task with the words, as fut call does, and run no command");
  options->job.add_lasting_to(verb);
  options->command.add_to(verb);
  add_words(verb, "words", options->words, "Words of the command, or arguments of --call; write -- before them");
  verb.footer(
      "A time that clocks are put forward over fires right after it; one that they show twice fires the first time.\n"
      "docs/schedules.md has the rest.\n\n"
      "Examples:\n"
      "  fut schedule add nightly --cron '0 2 * * *' --tz Europe/Berlin --catch-up one -- ./backup.sh\n"
      "  fut schedule add poll --every 5m --overlap skip --jitter 30s -- ./poll.sh\n"
      "  fut schedule add report --cron '0 8 * * mon-fri' --call make_report '{\"kind\": \"daily\"}'\n");
  verb.callback([&globals, options] {
    if (options->task.empty()) {
      options->words = command_words("schedule add", options->words, globals);
    } else {
      options->words.insert(options->words.end(), globals.words.begin(), globals.words.end());
    }
    globals.action = [&globals, options] {
      client::Schedule wanted = schedule_of(*options);
      const client::Client client = connect(globals);
      if (wanted.task.empty() && options->command.has_private_directory(client, wanted.job.pool)) {
        wanted.command.cwd.clear();
      }
      print_schedules({client.put_schedule(wanted)}, globals.json);
      return kOk;
    };
  });
}

void add_next(CLI::App& schedule, Globals& globals) {
  const auto count = std::make_shared<std::uint32_t>(5);
  CLI::App& verb = add_verb(schedule, globals, "next", "Say when it fires next",
                            [&globals, count](const client::Client& client, const std::string& name) {
                              for (const std::int64_t at_us : client.next_firings(name, *count)) {
                                if (globals.json) {
                                  print_json({{"firing_us", at_us}});
                                } else {
                                  print(time_text(at_us) + "\n");
                                }
                              }
                            });
  verb.add_option("-n", *count, "So many times (default: 5)")->check(at_least_one());
  verb.footer(
      "By this machine's clock, whatever the zone of the schedule.\n\nExamples:\n  fut schedule next nightly -n 3\n");
}

}  // namespace

void add_schedule(CLI::App& app, Globals& globals) {
  CLI::App& schedule = *app.add_subcommand("schedule", "Make jobs again and again, by the clock");
  schedule.require_subcommand(1);
  schedule.fallthrough();
  add_add(schedule, globals);
  CLI::App& list = *schedule.add_subcommand("ls", "List schedules");
  list.footer("Examples:\n  fut schedule ls\n  fut schedule ls --json | jq .next_us\n");
  list.callback([&globals] {
    globals.action = [&globals] {
      print_schedules(connect(globals).schedules(), globals.json);
      return kOk;
    };
  });
  add_verb(schedule, globals, "show", "Show everything about a schedule",
           [&globals](const client::Client& client, const std::string& name) {
             const client::Schedule found = client.schedule(name);
             if (globals.json) {
               print_json(json_of(found));
             } else {
               show(found);
             }
           });
  add_verb(schedule, globals, "pause", "Fire no more; what it has made goes on",
           [&globals](const client::Client& client, const std::string& name) {
             print_schedules({client.pause_schedule(name)}, globals.json);
           });
  add_verb(schedule, globals, "resume", "Fire again from now on",
           [&globals](const client::Client& client, const std::string& name) {
             print_schedules({client.resume_schedule(name)}, globals.json);
           });
  add_verb(schedule, globals, "rm", "Remove a schedule; what it has made goes on",
           [](const client::Client& client, const std::string& name) { client.delete_schedule(name); });
  add_next(schedule, globals);
  schedule.footer(
      "Examples:\n"
      "  fut schedule add nightly --cron '0 2 * * *' --tz Europe/Berlin -- ./backup.sh\n"
      "  fut schedule ls\n"
      "  fut schedule next nightly -n 3\n");
}

}  // namespace futured::cli
