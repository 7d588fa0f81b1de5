// What a child of fork() may do with what it inherited of a client: its threads did not come along.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "futured/async.h"
#include "tests/unit/client/client_fixture.h"

namespace futured::client {
namespace {

using namespace std::chrono_literals;

class Fork : public test::ClientTest {
 protected:
  // The exit code of a child that runs `body`. One that hangs is ended by its alarm, and has none.
  static int in_child(const std::function<int()>& body) {
    const pid_t child = ::fork();
    if (child == 0) run(body);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  static void run(const std::function<int()>& body) noexcept {
    ::alarm(20);
    ::_exit(body());
  }

  // 0 when all of them are refused, else the number of the first that is not.
  static int all_refused(const std::vector<std::function<void()>>& calls) {
    int number = 0;
    for (const auto& call : calls) {
      ++number;
      try {
        call();
        return number;
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::kFailedPrecondition) return number;
      }
    }
    return 0;
  }
};

TEST_F(Fork, AnOpenFutureRefuses) {
  const Executor executor = client_.executor();
  const Future held = executor.submit("hold", "");
  static_cast<void>(held.id());
  const std::vector<Future> futures = {held};
  AsCompleted begun = as_completed(futures);
  daemon_.hold_receipts(true);
  const Future unanswered = executor.submit("hold", "");
  EXPECT_EQ(in_child([&] {
              return all_refused({
                  [&] { static_cast<void>(held.result()); },
                  [&] { static_cast<void>(held.outcome()); },
                  [&] { static_cast<void>(held.exception()); },
                  [&] { static_cast<void>(held.done()); },
                  [&] { static_cast<void>(held.cancel()); },
                  [&] { held.add_done_callback([](const Future&) {}); },
                  [&] { static_cast<void>(unanswered.id()); },
                  [&] { static_cast<void>(unanswered.answered(kForever)); },
                  [&] { static_cast<void>(wait(futures)); },
                  [&] { static_cast<void>(as_completed(futures)); },
                  [&] { static_cast<void>(begun.next()); },
                  [&] { static_cast<void>(RunLoop().run(gather(futures))); },
              });
            }),
            0);
  daemon_.hold_receipts(false);
}

TEST_F(Fork, AClientRefuses) {
  const Executor executor = client_.executor();
  daemon_.hold_receipts(true);
  executor.submit("hold", "");
  EXPECT_EQ(in_child([&] {
              return all_refused({
                  [&] { executor.submit("echo", ""); },
                  [&] { client_.flush(); },
                  [&] { executor.shutdown(); },
                  [&] { static_cast<void>(client_.future(1)); },
                  [&] { static_cast<void>(client_.job(1)); },
                  [&] { static_cast<void>(client_.retry(std::vector<std::uint64_t>{1})); },
              });
            }),
            0);
  daemon_.hold_receipts(false);
}

TEST_F(Fork, AFutureThatHasEndedKeepsItsResult) {
  const Future ended = client_.executor().submit("echo", "x");
  ended.add_done_callback([](const Future&) {});
  static_cast<void>(ended.result(5s));
  EXPECT_EQ(in_child([&] {
              if (ended.result() != "x" || ended.id() == 0 || !ended.done()) return 1;
              bool called = false;
              ended.add_done_callback([&](const Future&) { called = true; });
              return called ? 0 : 2;
            }),
            0);
}

TEST_F(Fork, WhatWasInheritedMayBeLetGoOf) {
  std::optional<Client> other = connect();
  std::optional<Executor> executor = other->executor();
  Future held = executor->submit("hold", "later");
  std::optional<AsCompleted> completed = as_completed(std::vector{held});
  static_cast<void>(held.id());
  EXPECT_EQ(in_child([&] {
              completed.reset();
              held = Future();
              executor.reset();
              other.reset();
              return 0;
            }),
            0);
  daemon_.end(held.id(), true);
  EXPECT_EQ(held.result(5s), "later") << "the parent's own is as it was";
}

}  // namespace
}  // namespace futured::client
