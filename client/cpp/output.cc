// Reading a job's output, while it is produced and across broken connections.
#include <exception>
#include <memory>
#include <utility>

#include "client/cpp/client_state.h"
#include "futured/client.h"

namespace futured::client {

namespace {

api::OutputKind to_kind(OutputKind kind) {
  switch (kind) {
    case OutputKind::kAll:
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

api::ReadOutputRequest to_request(std::uint64_t id, const OutputOptions& options) {
  api::ReadOutputRequest request;
  request.set_id(id);
  request.set_attempt(options.attempt);
  request.set_kind(to_kind(options.kind));
  request.set_follow(options.follow);
  request.set_tail_bytes(options.tail_bytes);
  request.set_stdout_offset(options.stdout_offset);
  request.set_stderr_offset(options.stderr_offset);
  request.set_emitted_offset(options.emitted_offset);
  request.set_log_offset(options.log_offset);
  request.set_progress(options.on_progress != nullptr);
  request.set_heartbeats(options.on_heartbeat != nullptr);
  return request;
}

bool has_output(const api::ReadOutputResponse& piece) { return !piece.data().empty() || piece.dropped_bytes() != 0; }

}  // namespace

Outcome Client::read_output(std::uint64_t id, const OutputOptions& options,
                            const std::function<bool(const OutputChunk&)>& sink) const {
  api::ReadOutputRequest request = to_request(id, options);
  Outcome outcome;
  std::exception_ptr problem;  // of the sink: the call must be ended before anybody hears of it
  const auto hand_over = [&](const api::ReadOutputResponse& piece) {
    try {
      if (has_output(piece)) {
        return sink({from_kind(piece.kind()), piece.attempt(), piece.offset(), piece.dropped_bytes(), piece.data()});
      }
      if (piece.alive_us() != 0) {
        if (options.on_heartbeat) options.on_heartbeat({piece.attempt(), piece.alive_us()});
      } else if (options.on_progress && !piece.end()) {
        options.on_progress({piece.attempt(), piece.progress(), piece.progress_message()});
      }
      return true;
    } catch (...) {
      problem = std::current_exception();
      return false;
    }
  };
  const auto read = [&](grpc::ClientContext& context) {
    const std::stop_callback cancel(options.stop, [&] { context.TryCancel(); });
    const auto reader = state_->jobs->ReadOutput(&context, request);
    api::ReadOutputResponse piece;
    bool wanted = true;
    while (wanted && reader->Read(&piece)) {
      if (piece.has_outcome()) outcome = from_outcome(std::move(*piece.mutable_outcome()));
      wanted = hand_over(piece);
      if (has_output(piece)) advance(piece, request);
    }
    if (wanted) return reader->Finish();
    context.TryCancel();
    static_cast<void>(reader->Finish());
    return grpc::Status::OK;
  };
  state_->call(read, true, options.stop);
  if (problem) std::rethrow_exception(problem);
  return outcome;
}

// ---- The same, pulled

class OutputStream::State {
 public:
  State(std::shared_ptr<ClientState> client, api::ReadOutputRequest request)
      : client_(std::move(client)), request_(std::move(request)) {}
  ~State() {
    if (reader_ == nullptr) return;
    if (!client_->home.is_here()) {  // a child of fork(): the call can only be left as it is
      static_cast<void>(reader_.release());
      static_cast<void>(context_.release());
      return;
    }
    context_->TryCancel();
    static_cast<void>(reader_->Finish());
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  std::optional<Piece> next() {
    std::optional<Piece> found;
    if (!ended_) client_->call([&](grpc::ClientContext&) { return read(found); }, true);
    return found;
  }
  [[nodiscard]] const Outcome& outcome() const { return outcome_; }

 private:
  // The call outlives one piece, so its context is ours; after a break it begins anew, behind the last byte.
  grpc::Status read(std::optional<Piece>& found) {
    if (reader_ == nullptr) {
      context_ = std::make_unique<grpc::ClientContext>();
      reader_ = client_->jobs->ReadOutput(context_.get(), request_);
    }
    api::ReadOutputResponse piece;
    while (reader_->Read(&piece)) {
      if (piece.has_outcome()) outcome_ = from_outcome(std::move(*piece.mutable_outcome()));
      if (!has_output(piece)) continue;
      advance(piece, request_);
      found = Piece{from_kind(piece.kind()), piece.attempt(), piece.offset(), piece.dropped_bytes(),
                    std::move(*piece.mutable_data())};
      return grpc::Status::OK;
    }
    const grpc::Status status = reader_->Finish();
    reader_.reset();
    ended_ = status.ok();
    return status;
  }

  std::shared_ptr<ClientState> client_;
  api::ReadOutputRequest request_;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReader<api::ReadOutputResponse>> reader_;
  bool ended_ = false;
  Outcome outcome_;
};

OutputStream::OutputStream(std::unique_ptr<State> state) : state_(std::move(state)) {}
OutputStream::OutputStream(OutputStream&&) noexcept = default;
OutputStream& OutputStream::operator=(OutputStream&&) noexcept = default;
OutputStream::~OutputStream() = default;

std::optional<OutputStream::Piece> OutputStream::next() { return state_->next(); }
const Outcome& OutputStream::outcome() const { return state_->outcome(); }

OutputStream Client::stream(std::uint64_t id, OutputKind kind, std::uint64_t offset) const {
  OutputOptions options{.kind = kind, .follow = true};
  options.stdout_offset = options.stderr_offset = options.emitted_offset = options.log_offset = offset;
  return OutputStream(std::make_unique<OutputStream::State>(state_, to_request(id, options)));
}

}  // namespace futured::client
