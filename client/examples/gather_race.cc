// gather, race, and a session: whatever is left open when it is closed is cancelled, and has ended.
#include <futured/async.h>

#include <iostream>

using namespace futured::client;

namespace {

Coroutine<std::string> first_of(Executor executor, std::vector<std::string> seconds) {
  co_return co_await with_session(
      executor,
      [&](Session& session) -> Coroutine<std::string> {
        std::vector<Future> runners;
        for (const std::string& time : seconds) runners.push_back(session.submit("sleep", time));
        co_return seconds[co_await race(runners)];
      },
      OnClose::kCancel);  // the losers
}

Coroutine<bool> run(Executor executor) {
  const std::vector<Future> words = {executor.submit("echo", "to"), executor.submit("echo", "gether")};
  std::string joined;
  for (const std::string& word : co_await gather(words)) joined += word;

  Coroutine<std::string> first = first_of(executor, {"1000", "0.01"});
  const auto [hash, winner] = co_await gather(executor.submit("sha256", "abc"), std::move(first));
  std::cout << joined << "\n" << hash << "\n" << winner << " s won\n";
  co_return joined == "together" && winner == "0.01";
}

}  // namespace

int main() {
  const Client client = Client::connect();
  return RunLoop().run(run(client.executor())) ? 0 : 1;
}
