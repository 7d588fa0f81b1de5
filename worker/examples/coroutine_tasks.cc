// Coroutine tasks: thousands of them wait at once on one thread, in a pool of mode async.
#include <futured/task.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <string>

namespace {

using futured::Async;
using futured::AsyncContext;

// A coroutine of its own, which others await.
Async<> wait_for_file(AsyncContext& context, const std::string& path) {
  while (access(path.c_str(), F_OK) != 0) co_await context.sleep(std::chrono::milliseconds(100));
}

}  // namespace

// poll PATH TIMES: whether the file has come; looks every 100 ms.
FUTURED_TASK("poll", [](futured::AsyncContext& context, std::string path, std::uint32_t times) -> futured::Async<bool> {
  for (std::uint32_t i = 0; i < times; ++i) {
    if (access(path.c_str(), F_OK) == 0) co_return true;
    co_await context.sleep(std::chrono::milliseconds(100));
  }
  co_return false;
});

// tidy MS: sleeps; a stop is remembered, since a catch cannot wait.
FUTURED_TASK("tidy", [](futured::AsyncContext& context, std::uint32_t ms) -> futured::Async<std::string> {
  bool stopped = false;
  try {
    co_await context.sleep(std::chrono::milliseconds(ms));
  } catch (const futured::Stopped&) {
    stopped = true;
  }
  if (!stopped) co_return "slept";
  co_await context.sleep(std::chrono::milliseconds(1));  // tidies up
  throw futured::Stopped();
});

// when_there PATH: its name, once it is there. A stop ends the wait by itself; what is to be tidied up goes into a
// catch.
FUTURED_TASK("when_there", [](AsyncContext& context, std::string path) -> Async<std::string> {
  try {
    co_await wait_for_file(context, path);
  } catch (const futured::Stopped&) {
    context.log(futured::LogLevel::kInfo, path + " has not come");
    throw;
  }
  co_return path;
});
