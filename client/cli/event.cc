// fut event: set, clear and list named events.
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

void print_events(const std::vector<client::NamedEventInfo>& events, bool json) {
  Table table({"EVENT", "STATE", "SINCE", "WAITING"});
  for (const client::NamedEventInfo& one : events) {
    if (json) {
      print_json(Json{
          {"name", one.name}, {"set", one.set}, {"changed_us", one.changed_us}, {"waiting_jobs", one.waiting_jobs}});
      continue;
    }
    table.add({one.name, one.set ? "set" : "not set", one.changed_us == 0 ? "-" : time_text(one.changed_us),
               std::to_string(one.waiting_jobs)});
  }
  if (!json) table.print();
}

using Put = client::NamedEventInfo (client::Client::*)(const std::string&) const;

CLI::App& add_put(CLI::App& event, Globals& globals, const char* verb, const char* what, Put put) {
  const auto name = std::make_shared<std::string>();
  CLI::App& app = *event.add_subcommand(verb, what);
  app.add_option("name", *name, "Its name")->required();
  app.callback([&globals, name, put] {
    globals.action = [&globals, name, put] {
      require_utf8("name", *name);
      print_events({(connect(globals).*put)(*name)}, globals.json);
      return kOk;
    };
  });
  return app;
}

void add_event_ls(CLI::App& event, Globals& globals) {
  CLI::App& list = *event.add_subcommand("ls", "List the events that are set, and those that jobs wait for");
  list.footer("Examples:\n  fut event ls\n  fut event ls --json | jq .waiting_jobs\n");
  list.callback([&globals] {
    globals.action = [&globals] {
      print_events(connect(globals).named_events(), globals.json);
      return kOk;
    };
  });
}

}  // namespace

void add_event(CLI::App& app, Globals& globals) {
  CLI::App& event = *app.add_subcommand("event", "Named events that jobs wait for: set, clear and list");
  event.require_subcommand(1);
  event.fallthrough();
  add_put(event, globals, "set", "Set an event: who waits for it goes on, and so will who comes later",
          &client::Client::set_event)
      .footer("Examples:\n  fut event set data-is-there\n");
  add_put(event, globals, "clear", "Clear an event: who comes later waits until it is set again",
          &client::Client::clear_event)
      .footer("Examples:\n  fut event clear data-is-there\n");
  add_event_ls(event, globals);
  event.footer(
      "Examples:\n"
      "  fut submit --when data-is-there -- ./load.sh\n"
      "  fut event set data-is-there\n"
      "  fut event ls\n");
}

}  // namespace futured::cli
