// fut debug: the daemon's insides.
#include "client/cli/cli.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

constexpr std::size_t kWatchedWidth = 60;

Json json_of(const client::LoopInfo& loop) {
  Json slow = Json::array();
  for (const client::SlowCallbackInfo& callback : loop.slow_callbacks) {
    Json one = {{"what", callback.what}, {"started_us", callback.started_us}, {"took_us", callback.took_us}};
    if (callback.under_way) one["under_way"] = true;
    slow.push_back(std::move(one));
  }
  Json json = {{"name", loop.name},
               {"turns", loop.turns},
               {"descriptors", loop.descriptors},
               {"descriptor_names", loop.descriptor_names},
               {"timers", loop.timers}};
  if (loop.lag_us) json["lag_us"] = *loop.lag_us;
  if (loop.lag_max_us) json["lag_max_us"] = *loop.lag_max_us;
  json["slow_callbacks"] = std::move(slow);
  return json;
}

std::string lag_text(const std::optional<std::int64_t>& us) { return us ? duration_text(*us) : "-"; }

std::string watched(const client::LoopInfo& loop) {
  std::string text;
  for (const std::string& name : loop.descriptor_names) text += (text.empty() ? "" : ", ") + name;
  return cut_to(text, kWatchedWidth);
}

void print_loops(const std::vector<client::LoopInfo>& loops) {
  Table table({"LOOP", "TURNS", "DESCRIPTORS", "TIMERS", "LAG", "MAX LAG", "WATCHES"});
  for (const client::LoopInfo& loop : loops) {
    table.add({loop.name, std::to_string(loop.turns), std::to_string(loop.descriptors), std::to_string(loop.timers),
               lag_text(loop.lag_us), lag_text(loop.lag_max_us), watched(loop)});
  }
  table.print();
}

void print_slow(const std::vector<client::LoopInfo>& loops) {
  Table table({"SLOW CALLBACK", "LOOP", "BEGAN", "TOOK"});
  bool any = false;
  for (const client::LoopInfo& loop : loops) {
    for (const client::SlowCallbackInfo& slow : loop.slow_callbacks) {
      table.add({slow.what, loop.name, time_text(slow.started_us),
                 duration_text(slow.took_us) + (slow.under_way ? " so far" : "")});
      any = true;
    }
  }
  print("\n");
  if (!any) return print("No callback has taken over 10 ms.\n");
  table.print();
}

int loops(const Globals& globals) {
  const std::vector<client::LoopInfo> loops = connect(globals).debug_loops();
  if (globals.json) {
    for (const client::LoopInfo& loop : loops) print_json(json_of(loop));
    return kOk;
  }
  print_loops(loops);
  print_slow(loops);
  return kOk;
}

}  // namespace

void add_debug(CLI::App& app, Globals& globals) {
  CLI::App& debug = *app.add_subcommand("debug", "Look into the daemon");
  debug.require_subcommand(1);
  debug.fallthrough();
  CLI::App& loop = *debug.add_subcommand("loop", "Its event loops: what they watch, how late they are, what was slow");
  loop.callback([&globals] { globals.action = [&globals] { return loops(globals); }; });
  constexpr const char* kExamples =
      "Examples:\n"
      "  fut debug loop\n"
      "  fut debug loop --json | jq '{name, lag_max_us}'\n";
  debug.footer(kExamples);
  loop.footer(
      std::string("TURNS, MAX LAG: since the daemon's start. LAG: how long what the last turn did had waited for\n"
                  "it, since it was handed in or its timer was due; -: nothing has told since when. DESCRIPTORS\n"
                  "and TIMERS: that are watched and armed now; of the scheduler's timers the first stands for\n"
                  "all. core decides, store commits, reader reads for people, pump sends, grpc begins calls\n"
                  "(TURNS are those), segments hands over shared memory, accept takes connections, courier tells\n"
                  "receivers, spool removes long outputs, main waits for signals. Below: of each the last 16 callbacks "
                  "over 10 ms.\n\n") +
      kExamples);
}

}  // namespace futured::cli
