// fut attach: takes up a job that was submitted earlier, by whomever, as if it had been run here.
#include <memory>

#include "client/cli/cli.h"
#include "client/cli/follow.h"
#include "client/cli/input.h"
#include "client/cli/output.h"
#include "client/cli/text.h"
#include "client/cli/wait_notices.h"

namespace futured::cli {

namespace {

int attach(std::uint64_t id, const Globals& globals) {
  const client::Client client = connect(globals);
  const client::Future future = client.future(id);
  const WaitNotices notices(client.address(), {id});
  const Followed followed = within_sight(id, [&] { return follow_job(client, future, globals.json); });
  if (followed.missed_bytes != 0) complain(undelivered_text(id, followed.missed_bytes));
  return conclude(followed.outcome, followed.missed_bytes);
}

}  // namespace

void add_attach(CLI::App& app, Globals& globals) {
  const auto id = std::make_shared<std::uint64_t>(0);
  CLI::App& verb = *app.add_subcommand("attach", "Take up a job: stream its output, exit with its code");
  verb.add_option("id", *id, "Number of the job")->required()->check(at_least_one());
  verb.footer(
      "Prints the output from its beginning, waits for the end and exits as fut run would have.\n"
      "Ctrl-C leaves, and the job goes on.\n\n"
      "Examples:\n"
      "  fut attach 42\n"
      "  fut attach $(fut submit -- ./nightly.sh)\n");
  verb.callback([&globals, id] { globals.action = [&globals, id] { return attach(*id, globals); }; });
}

}  // namespace futured::cli
