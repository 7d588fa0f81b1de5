// Reading a job's output, while it is produced and across broken connections.
#include <exception>
#include <utility>

#include "client/cpp/client_state.h"
#include "futured/client.h"

namespace futured::client {

namespace {

api::OutputKind to_kind(OutputKind kind) {
  switch (kind) {
    case OutputKind::kBoth:
      return api::OUTPUT_KIND_UNSPECIFIED;
    case OutputKind::kStdout:
      return api::OUTPUT_KIND_STDOUT;
    case OutputKind::kStderr:
      return api::OUTPUT_KIND_STDERR;
    case OutputKind::kEmitted:
      return api::OUTPUT_KIND_EMITTED;
    case OutputKind::kLog:
      return api::OUTPUT_KIND_LOG;
  }
  return api::OUTPUT_KIND_UNSPECIFIED;
}

OutputKind from_kind(api::OutputKind kind) {
  switch (kind) {
    case api::OUTPUT_KIND_STDERR:
      return OutputKind::kStderr;
    case api::OUTPUT_KIND_EMITTED:
      return OutputKind::kEmitted;
    case api::OUTPUT_KIND_LOG:
      return OutputKind::kLog;
    default:  // a peer's number
      return OutputKind::kStdout;
  }
}

// Where to go on after a break: behind the last byte that was handed over.
void advance(const api::ReadOutputResponse& piece, api::ReadOutputRequest& request) {
  if (piece.attempt() != 0 && piece.attempt() != request.attempt()) {
    request.set_attempt(piece.attempt());
    request.set_stdout_offset(0);
    request.set_stderr_offset(0);
    request.set_emitted_offset(0);
    request.set_log_offset(0);
  }
  request.set_tail_bytes(0);
  const std::uint64_t next = piece.offset() + piece.data().size();
  switch (piece.kind()) {
    case api::OUTPUT_KIND_STDOUT:
      return request.set_stdout_offset(next);
    case api::OUTPUT_KIND_STDERR:
      return request.set_stderr_offset(next);
    case api::OUTPUT_KIND_EMITTED:
      return request.set_emitted_offset(next);
    case api::OUTPUT_KIND_LOG:
      return request.set_log_offset(next);
    default:  // a peer's number, or a message without data
      return;
  }
}

}  // namespace

Outcome Client::read_output(std::uint64_t id, const OutputOptions& options,
                            const std::function<bool(const OutputChunk&)>& sink) const {
  api::ReadOutputRequest request;
  request.set_id(id);
  request.set_attempt(options.attempt);
  request.set_kind(to_kind(options.kind));
  request.set_follow(options.follow);
  request.set_tail_bytes(options.tail_bytes);
  request.set_stdout_offset(options.stdout_offset);
  request.set_stderr_offset(options.stderr_offset);
  Outcome outcome;
  std::exception_ptr problem;  // of the sink: the call must be ended before anybody hears of it
  const auto hand_over = [&](const api::ReadOutputResponse& piece) {
    try {
      return sink({from_kind(piece.kind()), piece.attempt(), piece.offset(), piece.dropped_bytes(), piece.data()});
    } catch (...) {
      problem = std::current_exception();
      return false;
    }
  };
  const auto read = [&](grpc::ClientContext& context) {
    const auto reader = state_->jobs->ReadOutput(&context, request);
    api::ReadOutputResponse piece;
    bool wanted = true;
    while (wanted && reader->Read(&piece)) {
      if (piece.has_outcome()) outcome = from_outcome(std::move(*piece.mutable_outcome()));
      if (piece.data().empty() && piece.dropped_bytes() == 0) continue;
      wanted = hand_over(piece);
      advance(piece, request);
    }
    if (wanted) return reader->Finish();
    context.TryCancel();
    static_cast<void>(reader->Finish());
    return grpc::Status::OK;
  };
  state_->call(read, true);
  if (problem) std::rethrow_exception(problem);
  return outcome;
}

}  // namespace futured::client
