// Registers C++ code as tasks that jobs can call by name. Public; standard library only.
//
//   #include <futured/task.h>
//
//   FUTURED_TASK("add", [](double a, double b) { return a + b; });
//
//   FUTURED_TASK("mean", [](futured::Context& context, futured::Array<const double> values) {
//     double sum = 0;
//     for (std::size_t i = 0; i < values.size(); ++i) {
//       if (i % 65536 == 0) context.throw_if_stopped();
//       sum += values[i];
//     }
//     return sum / static_cast<double>(values.size());
//   });
//
// A process that a task starts is part of its job: what still runs when the task returns or throws, in whatever session
// it is, is killed before the job counts as ended.
//
// Built as a shared object (-shared -fPIC, linked to nothing of futured) this is a plugin: `futured-zygote --plugin`
// loads it and finds its tasks. convert.h lists the types that arguments and results may have, json.h and protobuf.h
// add some; task_c.h is for plugins in C.
#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "futured/async_task.h"
#include "futured/context.h"
#include "futured/convert.h"

namespace futured {

struct TaskOptions {
  // Changes when the task's results do: a part of the key of cached results. At most 128 bytes.
  std::string version;
};

namespace sdk {

// Raised whenever anything in these headers changes its layout; a plugin of another one is refused by name.
inline constexpr int kAbiVersion = 6;

using TaskFunction = std::function<void(Context&, Parts, ResultWriter&)>;
// The coroutine ends before its arguments do.
using AsyncTaskFunction = std::function<Async<>(AsyncContext&, Parts, ResultWriter&)>;

// Called by static initialisers only: it never throws, and what is wrong (a name taken twice, another ABI) is kept and
// told when the zygote starts. Defined in the worker.
bool register_task(int abi_version, std::string name, TaskOptions options, TaskFunction function) noexcept;
bool register_async_task(int abi_version, std::string name, TaskOptions options, AsyncTaskFunction function) noexcept;

template <typename T>
using Plain = std::remove_cv_t<std::remove_reference_t<T>>;

// What a callable returns; its parameters, without a leading context.
template <typename R, typename... A>
struct Parameters {
  using Result = R;
  using Types = std::tuple<Plain<A>...>;
  static constexpr bool kTakesContext = false;
};
template <typename R, typename... A>
struct Parameters<R, Context&, A...> : Parameters<R, A...> {
  static constexpr bool kTakesContext = true;
};
template <typename R, typename... A>
struct Parameters<R, AsyncContext&, A...> : Parameters<R, A...> {
  static constexpr bool kTakesContext = true;
};
template <typename F>
struct Signature : Signature<decltype(&F::operator())> {};
template <typename R, typename... A>
struct Signature<R (*)(A...)> : Parameters<R, A...> {};
template <typename C, typename R, typename... A>
struct Signature<R (C::*)(A...)> : Parameters<R, A...> {};
template <typename C, typename R, typename... A>
struct Signature<R (C::*)(A...) const> : Parameters<R, A...> {};

// Parts takes all that is left.
struct Rest {
  Parts get() { return parts; }
  Parts parts;
};
template <typename T>
auto hold(Parts parts, std::size_t index) {
  if constexpr (std::same_as<T, Parts>) {
    return Rest{parts.subspan(index)};
  } else {
    return Argument<T>(parts[index], index + 1);
  }
}

template <typename F, typename... T, std::size_t... I>
decltype(auto) call(F& function, Context& context, Parts parts, std::type_identity<std::tuple<T...>>,
                    std::index_sequence<I...>) {
  // The holders are temporaries of this one expression, so views into them hold until the task returns.
  if constexpr (Signature<F>::kTakesContext) {
    return function(context, hold<T>(parts, I).get()...);
  } else {
    return function(hold<T>(parts, I).get()...);
  }
}

template <typename... T>
constexpr bool is_rest_last(std::type_identity<std::tuple<T...>>) {
  constexpr bool kRest[] = {std::same_as<T, Parts>..., false};
  for (std::size_t i = 0; i + 1 < sizeof...(T); ++i) {
    if (kRest[i]) return false;
  }
  return true;
}
template <typename... T>
constexpr bool takes_rest(std::type_identity<std::tuple<T...>>) {
  return (std::same_as<T, Parts> || ...);
}

template <typename F>
TaskFunction wrap(F function) {
  using Types = typename Signature<F>::Types;
  static constexpr std::type_identity<Types> kTypes;
  static_assert(is_rest_last(std::type_identity<Types>()), "Parts takes all arguments that are left, so it comes last");
  return [function = std::move(function)](Context& context, Parts parts, ResultWriter& out) mutable {
    constexpr bool kRest = takes_rest(kTypes);
    constexpr std::size_t kCount = std::tuple_size_v<Types> - (kRest ? 1 : 0);
    if (kRest ? parts.size() < kCount : parts.size() != kCount) refuse_count(parts.size(), kCount, kRest);
    constexpr auto kIndices = std::make_index_sequence<std::tuple_size_v<Types>>();
    if constexpr (std::is_void_v<decltype(call(function, context, parts, kTypes, kIndices))>) {
      call(function, context, parts, kTypes, kIndices);
    } else {
      add_result(out, call(function, context, parts, kTypes, kIndices));
    }
  };
}

// What hold() gives for each parameter; none of it is ever moved.
template <std::size_t I, typename Holder>
struct HeldOne {
  Holder holder;
};
template <typename Indices, typename... Holder>
struct Held;
template <std::size_t... I, typename... Holder>
struct Held<std::index_sequence<I...>, Holder...> : HeldOne<I, Holder>... {};

// The arguments lie in this coroutine's frame, so views into them hold until the task's own has ended.
template <typename F, typename... T, std::size_t... I>
Async<> call_async(F& function, AsyncContext& context, Parts parts, ResultWriter& out,
                   std::type_identity<std::tuple<T...>>, std::index_sequence<I...>) {
  Held<std::index_sequence<I...>, decltype(hold<T>(parts, I))...> arguments{{hold<T>(parts, I)}...};
  const auto begin = [&] {
    if constexpr (Signature<F>::kTakesContext) {
      return function(context, static_cast<HeldOne<I, decltype(hold<T>(parts, I))>&>(arguments).holder.get()...);
    } else {
      return function(static_cast<HeldOne<I, decltype(hold<T>(parts, I))>&>(arguments).holder.get()...);
    }
  };
  if constexpr (std::same_as<typename Signature<F>::Result, Async<>>) {
    co_await begin();
  } else {
    add_result(out, co_await begin());
  }
}

template <typename F>
AsyncTaskFunction wrap_async(F function) {
  using Types = typename Signature<F>::Types;
  static constexpr std::type_identity<Types> kTypes;
  static_assert(is_rest_last(std::type_identity<Types>()), "Parts takes all arguments that are left, so it comes last");
  return [function = std::move(function)](AsyncContext& context, Parts parts, ResultWriter& out) mutable {
    constexpr bool kRest = takes_rest(kTypes);
    constexpr std::size_t kCount = std::tuple_size_v<Types> - (kRest ? 1 : 0);
    if (kRest ? parts.size() < kCount : parts.size() != kCount) refuse_count(parts.size(), kCount, kRest);
    return call_async(function, context, parts, out, kTypes, std::make_index_sequence<std::tuple_size_v<Types>>());
  };
}

template <typename T>
inline constexpr bool kIsAsync = false;
template <typename T>
inline constexpr bool kIsAsync<Async<T>> = true;

template <typename F>
bool register_callable(std::string name, F function, TaskOptions options = {}) {
  if constexpr (kIsAsync<typename Signature<F>::Result>) {
    return register_async_task(kAbiVersion, std::move(name), std::move(options), wrap_async(std::move(function)));
  } else {
    return register_task(kAbiVersion, std::move(name), std::move(options), wrap(std::move(function)));
  }
}

}  // namespace sdk
}  // namespace futured

#define FUTURED_JOIN_2(a, b) a##b
#define FUTURED_JOIN(a, b) FUTURED_JOIN_2(a, b)

// FUTURED_TASK("name", function) or FUTURED_TASK("name", function, {.version = "2"}), at namespace scope of a .cc file.
// `function` is a lambda or a function; its parameters, after an optional leading Context&, are the job's arguments.
// One that returns an Async is a coroutine task (async_task.h), and may take an AsyncContext&. Names are UTF-8, at most
// 128 bytes, and unique among built-in tasks and plugins.
#define FUTURED_TASK(name, ...)                                                 \
  [[maybe_unused]] static const bool FUTURED_JOIN(futured_task_, __COUNTER__) = \
      ::futured::sdk::register_callable(name, __VA_ARGS__)
