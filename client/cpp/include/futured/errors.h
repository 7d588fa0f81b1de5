// What the client throws. Every message names the thing and the way out.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "futured/types.h"

namespace futured::client {

// What a caller can do about it; one to one with the gRPC status codes.
enum class ErrorKind : std::uint8_t {
  kInvalidArgument,
  kNotFound,
  kAlreadyExists,
  kPermissionDenied,
  kFailedPrecondition,
  kResourceExhausted,
  kUnimplemented,
  kUnavailable,
  kTimeout,
  kDataLoss,
  kInternal,
  kJobFailed,
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  [[nodiscard]] ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// The daemon does not answer, or the connection broke. For a submit whose acknowledgement did not come back: the job
// may or may not have been accepted.
class Unavailable : public Error {
 public:
  explicit Unavailable(const std::string& message) : Error(ErrorKind::kUnavailable, message) {}
};

// The caller's own wait ran out. The job goes on.
class WaitTimeout : public Error {
 public:
  explicit WaitTimeout(const std::string& message) : Error(ErrorKind::kTimeout, message) {}
};

// The job ended, but did not succeed. outcome().state says how.
class JobFailed : public Error {
 public:
  // `what`: of the job, for the message; "" = it is the job itself.
  explicit JobFailed(Outcome outcome, const std::string& what = {});
  [[nodiscard]] const Outcome& outcome() const { return *outcome_; }

 private:
  std::shared_ptr<const Outcome> outcome_;  // shared: copying an exception must not throw
};

class JobCancelled : public JobFailed {
 public:
  using JobFailed::JobFailed;
};

class JobTimedOut : public JobFailed {
 public:
  using JobFailed::JobFailed;
};

// Throws the right one of the three above.
[[noreturn]] void throw_job_failed(Outcome outcome, const std::string& what = {});

}  // namespace futured::client
