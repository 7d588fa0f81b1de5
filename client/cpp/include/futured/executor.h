// Executor: submits jobs that share options; submissions are gathered into batches by themselves.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "futured/future.h"
#include "futured/types.h"

namespace futured::client {

class ExecutorState;

struct MapOptions {
  std::size_t look_ahead = 10'000;  // jobs submitted and not yet given out; bounds an endless input
  Milliseconds timeout = kForever;  // of the whole map, from its start; then next() throws WaitTimeout
  bool ordered = true;              // false: as they end
};

class Executor;

// The results of a map, one after the other. Inputs are drawn as results are taken. For one thread.
class Mapped {
 public:
  using Source = std::function<std::optional<std::string>()>;
  // Submits the first look_ahead inputs.
  Mapped(const Executor& executor, std::string task, Source source, MapOptions options);
  Mapped(Mapped&&) noexcept;
  Mapped& operator=(Mapped&&) noexcept;
  ~Mapped();

  // The next future, ended; nothing at the end. Throws WaitTimeout.
  [[nodiscard]] std::optional<Future> next_future();
  // The next result; nothing at the end. Throws as Future::result does.
  [[nodiscard]] std::optional<std::string> next();

 private:
  void fill();

  struct State;
  std::unique_ptr<State> state_;
};

// A copyable handle, safe from any thread. submit() blocks only while the daemon has no room for more (back-pressure).
class Executor {
 public:
  // A call of a task with one part of bytes.
  Future submit(std::string_view task, std::string_view payload) const;
  // A call of a task with any parts.
  Future submit(std::string_view task, const std::vector<Part>& payload) const;
  // A command line.
  Future submit(const CommandLine& command) const;

  // Results of task(input) for every input, in order or as they end, with bounded look-ahead.
  [[nodiscard]] Mapped map(std::string_view task, std::vector<std::string> inputs, MapOptions options = {}) const;
  // The same for inputs that are made while the map goes on; the source returns nothing at its end.
  [[nodiscard]] Mapped map(std::string_view task, Mapped::Source source, MapOptions options = {}) const;

  // Refuses further submits. `cancel_futures` cancels what has not ended; `wait` waits until all has ended.
  void shutdown(bool wait = true, bool cancel_futures = false) const;

 private:
  friend class Client;
  explicit Executor(std::shared_ptr<ExecutorState> state) : state_(std::move(state)) {}

  std::shared_ptr<ExecutorState> state_;
};

}  // namespace futured::client
