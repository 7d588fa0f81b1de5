// client_driver: the C++ client at work, for tests that kill the daemon under it, or it. Each line on standard output
// tells the test how far it is.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <ranges>
#include <string>
#include <unordered_map>
#include <vector>

#include "futured/async.h"

namespace futured::client {
namespace {

constexpr Milliseconds kPatience{120'000};

void say(const std::string& line) { std::cout << line << std::endl; }

// How often each of `count` futures was given out, and with what.
class Tally {
 public:
  explicit Tally(std::size_t count) : given_(count, 0) {}
  void result(std::size_t index, const std::string& result) {
    ++given_[index];
    ++(result == std::to_string(index) ? right_ : wrong_);
  }
  void in_doubt(std::size_t index) {
    ++given_[index];
    ++in_doubt_;
  }
  void tell() const {
    std::size_t once = 0;
    for (const int times : given_) once += static_cast<std::size_t>(times == 1);
    std::printf("{\"once\": %zu, \"right\": %zu, \"wrong\": %zu, \"in_doubt\": %zu}\n", once, right_, wrong_,
                in_doubt_);
  }

 private:
  std::vector<int> given_;
  std::size_t right_ = 0;
  std::size_t wrong_ = 0;
  std::size_t in_doubt_ = 0;  // not acknowledged when the daemon was killed
};

// Submits `count` jobs without a pause, collects them as they end, and says "under way" when a tenth has.
void pipeline(const Client& client, std::size_t count) {
  const Executor executor = client.executor();
  std::vector<Future> futures;
  for (std::size_t i = 0; i < count; ++i) {
    futures.push_back(executor.submit("echo", std::to_string(i)));
    if (i == count / 10) say("under way");
  }
  Tally tally(count);
  std::unordered_map<std::uint64_t, std::size_t> index_of;
  for (std::size_t i = 0; i < count; ++i) {
    try {
      index_of.emplace(futures[i].id(), i);
    } catch (const Unavailable&) {
      tally.in_doubt(i);
      futures[i] = Future();
    }
  }
  std::erase(futures, Future());
  for (const Future& future : as_completed(futures, kPatience)) {
    tally.result(index_of.at(future.id()), future.result());
  }
  tally.tell();
}

// The same with keys: what was not acknowledged is sent again, and nothing is left in doubt.
void keyed(const Client& client, std::size_t count) {
  const Executor executor = client.executor();
  std::vector<Future> futures;
  for (std::size_t i = 0; i < count; ++i) {
    futures.push_back(executor.submit("echo", std::to_string(i), {.idempotency_key = "key " + std::to_string(i)}));
    if (i == count / 10) say("under way");
  }
  Tally tally(count);
  for (std::size_t i = 0; i < count; ++i) tally.result(i, futures[i].result(kPatience));
  tally.tell();
  const Future same = client.executor().submit("echo", "7", {.idempotency_key = "key 7"});
  say(std::to_string(same.id() == futures[7].id()) + same.result(kPatience));
}

// The same with a map in chunks, in order.
void map(const Client& client, std::size_t count) {
  Mapped mapped = client.executor().map("echo", std::views::iota(std::size_t{0}, count), {.chunk_size = 20});
  Tally tally(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (i == count / 10) say("under way");
    try {
      tally.result(i, mapped.next().value());
    } catch (const Unavailable&) {
      tally.in_doubt(i);
    }
  }
  tally.tell();
}

// Waits for jobs of a paused queue, with a thread and with a coroutine.
Coroutine<std::size_t> collect(std::vector<Future> futures) {
  Completions completions(futures);
  std::size_t count = 0;
  while (co_await completions.next()) ++count;
  co_return count;
}

void wait_all(const Client& client, std::size_t count) {
  client.create_queue("held");
  client.pause_queue("held");
  JobOptions options;
  options.queue = "held";
  const Executor executor = client.executor(options);
  std::vector<Future> futures;
  for (std::size_t i = 0; i < count; ++i) futures.push_back(executor.submit("echo", std::to_string(i)));
  client.flush();
  say("waiting");
  const std::size_t collected = RunLoop().run(collect(futures));
  const std::size_t done = wait(futures, WaitFor::kAllCompleted, kPatience).done.size();
  Tally tally(count);
  for (std::size_t i = 0; i < count; ++i) tally.result(i, futures[i].result(kPatience));
  if (collected != count || done != count) say("not all: " + std::to_string(collected) + ", " + std::to_string(done));
  tally.tell();
}

// Submits for ever, and says the number of every thousandth job when it has been acknowledged.
void submit(const Client& client) {
  const Executor executor = client.executor({.follow = false});
  for (std::uint64_t i = 1;; ++i) {
    const Future future = executor.submit("echo", std::to_string(i));
    if (i % 1'000 == 0) say(std::to_string(future.id()));
  }
}

Coroutine<void> print(Client client, std::uint64_t id) {
  AsyncOutput output(client, id);
  while (const auto piece = co_await output.next()) {
    if (piece->dropped_bytes > 0) say("(" + std::to_string(piece->dropped_bytes) + " bytes dropped)");
    std::cout << piece->bytes << std::flush;
  }
  say(std::string(to_string(output.outcome().state)));
}

// Follows a job's output for a moment, and leaves.
Coroutine<void> glance(Client client, std::uint64_t id) {
  try {
    co_await within(Milliseconds(100), print(client, id));
  } catch (const WaitTimeout&) {
    say("left");
  }
}

int run(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const std::uint64_t number = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  const Client client = Client::connect();
  if (what == "pipeline") return pipeline(client, number), 0;
  if (what == "keyed") return keyed(client, number), 0;
  if (what == "map") return map(client, number), 0;
  if (what == "wait") return wait_all(client, number), 0;
  if (what == "submit") return submit(client), 0;
  if (what == "output") return RunLoop().run(print(client, number)), 0;
  if (what == "glance") return RunLoop().run(glance(client, number)), 0;
  std::fprintf(stderr, "usage: client_driver pipeline|keyed|map|wait COUNT, submit, output|glance ID\n");
  return 2;
}

}  // namespace
}  // namespace futured::client

int main(int argc, char** argv) {
  try {
    return futured::client::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "client_driver: %s\n", error.what());
    return 1;
  }
}
