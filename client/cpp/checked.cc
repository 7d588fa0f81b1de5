#include "client/cpp/checked.h"

#include "futured/errors.h"

namespace futured::client {

namespace {

ErrorKind kind_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return ErrorKind::kInvalidArgument;
    case ErrorCode::kNotFound:
      return ErrorKind::kNotFound;
    case ErrorCode::kAlreadyExists:
      return ErrorKind::kAlreadyExists;
    case ErrorCode::kPermissionDenied:
      return ErrorKind::kPermissionDenied;
    case ErrorCode::kFailedPrecondition:
      return ErrorKind::kFailedPrecondition;
    case ErrorCode::kResourceExhausted:
      return ErrorKind::kResourceExhausted;
    case ErrorCode::kUnimplemented:
      return ErrorKind::kUnimplemented;
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
      return ErrorKind::kUnavailable;
    case ErrorCode::kDataLoss:
      return ErrorKind::kDataLoss;
    case ErrorCode::kInternal:
      return ErrorKind::kInternal;
  }
  return ErrorKind::kInternal;
}

}  // namespace

void fail(const futured::Error& error) {
  const ErrorKind kind = kind_of(error.code);
  if (kind == ErrorKind::kUnavailable) throw Unavailable(error.message);
  throw Error(kind, error.message);
}

}  // namespace futured::client
