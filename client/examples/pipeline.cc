// Jobs that wait for jobs: fetch, two transforms beside each other, a join of both, a count of what one of them wrote;
// and a branch that only a failure reaches. The daemon starts each when it may: this program could have gone after the
// submits.
#include <futured/client.h>

#include <iostream>
#include <string>

using namespace futured::client;

namespace {

CommandLine shell(const std::string& script) { return {.argv = {"sh", "-c", script}}; }

std::string state_of(const Future& job) { return std::string(to_string(job.outcome().state)); }

}  // namespace

int main() {
  const Client client = Client::connect();
  const Executor executor = client.executor();

  JobOptions gated;  // nothing begins before the data is there
  gated.when = {"data-is-there"};
  const Future fetch = client.executor(gated).submit(shell("echo fetched"));
  const Future left = executor.submit(shell("echo left"), {.after_success = {fetch.id()}});
  const Future right = executor.submit(shell("exit 3"), {.after_success = {fetch.id()}});
  const Future join = executor.submit(shell("echo joined"), {.after_success = {left.id(), right.id()}});
  const Future count = executor.submit(CommandLine{.argv = {"wc", "-c"}, .stdin_result_of = left.id()});
  const Future repair = executor.submit(shell("echo repaired"), {.after_failure = {right.id()}});
  const Future clean = executor.submit(shell("echo cleaned"), {.after = {join.id(), repair.id()}});
  std::cout << client.why(fetch.id()).text << "\n";

  client.set_event("data-is-there");
  const std::string cleaned = clean.result();
  client.clear_event("data-is-there");
  std::cout << "left " << state_of(left) << ", right " << state_of(right) << ", join " << state_of(join) << ", repair "
            << state_of(repair) << "\n";
  std::cout << describe(join.outcome().cause) << "\n" << cleaned;
  const bool is_as_meant = join.outcome().cause.kind == CauseKind::kDependency && repair.outcome().succeeded();
  const bool is_counted = count.result() == "5\n";  // of what left wrote
  return is_as_meant && is_counted && cleaned == "cleaned\n" ? 0 : 1;
}
