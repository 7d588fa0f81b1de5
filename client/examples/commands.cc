// Command lines as jobs: output, exit code, timeout, retries.
#include <futured/client.h>

#include <iostream>

using namespace std::chrono_literals;
using namespace futured::client;

int main() {
  const Client client = Client::connect();

  const Future hello = client.executor().submit(CommandLine{.argv = {"echo", "hello"}});
  std::cout << hello.result();

  JobOptions impatient;
  impatient.timeouts.run = 200ms;
  const Outcome late = client.executor(impatient).submit(CommandLine{.argv = {"sleep", "1000"}}).outcome();
  std::cout << to_string(late.state) << ": " << describe(late.cause) << "\n";

  const Outcome failed = client.executor().submit(CommandLine{.argv = {"sh", "-c", "exit 3"}}).outcome();
  std::cout << to_string(failed.state) << ": " << describe(failed.cause) << "\n";
  return late.state == JobState::kTimedOut && failed.cause.exit_code == 3 ? 0 : 1;
}
