// Result<T>: a value or the Error that kept it from being made. Refusals and faults travel in it; bugs do not.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/check.h"

namespace futured {

// What a caller can do about an Error. The public API maps these one to one onto gRPC status codes.
enum class ErrorCode {
  kInvalidArgument,     // the request can never be right: mend it
  kNotFound,            // no such job, task, queue, …
  kAlreadyExists,       // the name or key is taken by something else
  kPermissionDenied,    // the principal may not
  kFailedPrecondition,  // not in this state of the system
  kResourceExhausted,   // a bound is reached: try later or ask for less
  kUnimplemented,       // known, but not built
  kUnavailable,         // the peer is gone or not ready: try again
  kDeadlineExceeded,    // the caller's own wait ran out
  kDataLoss,            // stored bytes are damaged or gone
  kInternal,            // the world failed in a way that names no remedy
};

[[nodiscard]] std::string_view to_string(ErrorCode code);  // "NOT_FOUND", as gRPC has it

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;  // one line: names the thing and the way out

  // The same error seen from one boundary further out.
  [[nodiscard]] Error in(std::string_view context) const { return {code, std::string(context) + ": " + message}; }
};

// An Error for a failed system call: "<what>: <strerror>". `error_number` is errno when 0.
[[nodiscard]] Error system_error(std::string_view what, int error_number = 0);

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  [[nodiscard]] T& value() & {
    FUTURED_CHECK(ok(), "value() of a failed Result");
    return std::get<0>(state_);
  }
  [[nodiscard]] const T& value() const& {
    FUTURED_CHECK(ok(), "value() of a failed Result");
    return std::get<0>(state_);
  }
  [[nodiscard]] T&& value() && {
    FUTURED_CHECK(ok(), "value() of a failed Result");
    return std::get<0>(std::move(state_));
  }
  [[nodiscard]] const Error& error() const {
    FUTURED_CHECK(!ok(), "error() of a good Result");
    return std::get<1>(state_);
  }

  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  [[nodiscard]] bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] const Error& error() const {
    FUTURED_CHECK(error_.has_value(), "error() of a good Result");
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

}  // namespace futured
