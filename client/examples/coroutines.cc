// Coroutines: co_await a future, on a loop of one's own.
#include <futured/async.h>

#include <iostream>

using namespace std::chrono_literals;
using namespace futured::client;

namespace {

Coroutine<std::string> hash_of_hash(Executor executor, std::string text) {
  const std::string hash = co_await executor.submit("sha256", text);
  co_return co_await executor.submit("sha256", hash);
}

Coroutine<bool> run(Executor executor) {
  std::cout << co_await hash_of_hash(executor, "abc") << "\n";

  const Future failing = executor.submit(CommandLine{.argv = {"false"}});
  const Outcome failed = co_await outcome_of(failing);
  std::cout << "false: " << describe(failed.cause) << "\n";

  const Future slow = executor.submit("sleep", "1000");
  try {
    co_await within(50ms, slow);
  } catch (const WaitTimeout& timeout) {
    std::cout << timeout.what() << ", and the job goes on\n";
  }
  co_return failed.cause.exit_code == 1 && slow.cancel();
}

}  // namespace

int main() {
  const Client client = Client::connect();
  return RunLoop().run(run(client.executor())) ? 0 : 1;
}
