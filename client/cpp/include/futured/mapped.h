// Mapped: the results of a task called with one input after the other. Executor::map makes it.
#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "futured/types.h"

namespace futured::client {

class Executor;

// So many calls in one job that a job takes about 5 ms, as measured while the map goes on. One call is one job where
// Retries::max_attempts asks for more than one attempt.
inline constexpr std::size_t kAutomaticChunks = 0;

struct MapOptions {
  std::size_t look_ahead = 10'000;  // inputs drawn whose results are not given out yet; bounds an endless input
  Milliseconds timeout = kForever;  // of the whole map, from its start; then next() throws WaitTimeout
  bool ordered = true;              // false: as they end
  // Calls in one job, a chunk. Each call has its own result or error, which is not retried. Everything else is the
  // job's: it is stored, cancelled, timed out as a whole, and run again as a whole when its worker died. Without
  // retries 1 and kAutomaticChunks differ in nothing else but speed. At most look_ahead.
  std::size_t chunk_size = 1;
};

// One call of a map, ended.
struct MappedCall {
  std::uint64_t index = 0;  // of its input, from 0
  Outcome outcome;          // of this call; the id is that of the job in which it ran

  // Bytes of the first part ("" when there is none). Throws JobFailed, JobCancelled or JobTimedOut, naming the call.
  [[nodiscard]] std::string result() const;
};

// Inputs are drawn as results are taken. For one thread. Letting go of it cancels nothing.
class Mapped {
 public:
  using Source = std::function<std::optional<std::string>()>;
  // Submits the first inputs. Throws Error for options that cannot work, and after Executor::shutdown.
  Mapped(const Executor& executor, std::string task, Source source, MapOptions options);
  Mapped(Mapped&&) noexcept;
  Mapped& operator=(Mapped&&) noexcept;
  ~Mapped();

  // The next result; nothing at the end. Throws as MappedCall::result does, or what refused the job, naming the call,
  // and goes on behind it; WaitTimeout; or what the source threw, and then goes on drawing from it.
  [[nodiscard]] std::optional<std::string> next();
  // The same with its index, and without throwing for a call that failed.
  [[nodiscard]] std::optional<MappedCall> next_call();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What a task can be called with: text as it is, numbers and truth values as text.
template <typename T>
concept MapInput = std::convertible_to<T, std::string_view> || std::is_arithmetic_v<std::remove_cvref_t<T>>;

template <MapInput T>
[[nodiscard]] std::string map_input(const T& value) {
  if constexpr (std::convertible_to<const T&, std::string_view>) {
    return std::string(std::string_view(value));
  } else if constexpr (std::same_as<T, bool>) {
    return value ? "true" : "false";
  } else {
    char text[64];
    const auto [end, error] = std::to_chars(text, text + sizeof text, value);
    return {text, end};
  }
}

// The elements of a range, one after the other.
template <std::ranges::input_range Range>
requires MapInput<std::ranges::range_value_t<Range>>
[[nodiscard]] Mapped::Source map_source(Range&& range) {
  struct Elements {
    explicit Elements(Range&& all) : view(std::views::all(std::forward<Range>(all))) {}
    std::views::all_t<Range> view;
    std::optional<std::ranges::iterator_t<std::views::all_t<Range>>> at;
  };
  const auto elements = std::make_shared<Elements>(std::forward<Range>(range));
  return [elements]() -> std::optional<std::string> {
    auto& at = elements->at;
    if (!at) {
      at.emplace(std::ranges::begin(elements->view));
    } else if (*at != std::ranges::end(elements->view)) {
      ++*at;
    }
    if (*at == std::ranges::end(elements->view)) return std::nullopt;
    return map_input<std::ranges::range_value_t<Range>>(**at);
  };
}

}  // namespace futured::client
