#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "base/limits.h"
#include "client/cpp/home_process.h"
#include "client/cpp/resumption.h"
#include "futured/async.h"

namespace futured::client {

// Between the thread that reads and the coroutine that takes.
struct AsyncOutput::State {
  explicit State(Client of) : client(std::move(of)) {}

  // On the reading thread: waits while too much is ahead.
  bool give(const OutputChunk& chunk) {
    std::unique_lock lock(mutex);
    room.wait(lock, stop.get_token(), [&] { return bytes < limits::kPieceBytesMax; });
    if (stop.stop_requested()) return false;
    bytes += chunk.bytes.size();
    pieces.push_back({chunk.kind, chunk.attempt, chunk.offset, chunk.dropped_bytes, std::string(chunk.bytes)});
    tell(std::move(lock));
    return true;
  }
  void end(Outcome how, std::exception_ptr why_not) {
    std::unique_lock lock(mutex);
    outcome = std::move(how);
    problem = std::move(why_not);
    is_over = true;
    tell(std::move(lock));
  }
  void tell(std::unique_lock<std::mutex> lock) {
    const std::function<void()> call = std::exchange(then, nullptr);
    lock.unlock();
    if (call) call();
  }
  void close() {
    if (!home.is_here()) return;  // the thread did not come along; what it holds stays
    stop.request_stop();
    if (thread.joinable()) thread.join();
  }

  const HomeProcess home;
  const Client client;
  std::stop_source stop;
  std::thread thread;
  std::mutex mutex;
  std::condition_variable_any room;
  std::deque<OutputStream::Piece> pieces;
  std::size_t bytes = 0;
  std::function<void()> then;  // of the coroutine that waits for the next piece
  bool is_over = false;
  Outcome outcome;
  std::exception_ptr problem;
};

AsyncOutput::AsyncOutput(const Client& client, std::uint64_t id, OutputOptions options)
    : state_(std::make_shared<State>(client)) {
  options.follow = true;
  options.stop = state_->stop.get_token();
  state_->thread = std::thread([state = state_, id, options] {
    Outcome outcome;
    std::exception_ptr problem;
    try {
      outcome = state->client.read_output(id, options, [&](const OutputChunk& chunk) { return state->give(chunk); });
    } catch (...) {
      problem = std::current_exception();
    }
    state->end(std::move(outcome), std::move(problem));
  });
}

AsyncOutput::AsyncOutput(AsyncOutput&&) noexcept = default;
AsyncOutput& AsyncOutput::operator=(AsyncOutput&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
AsyncOutput::~AsyncOutput() {
  if (state_) state_->close();
}

const Outcome& AsyncOutput::outcome() const { return state_->outcome; }

AsyncOutput::Next AsyncOutput::next() { return Next(state_); }

struct AsyncOutput::Next::Awaiter::Waiting {
  std::shared_ptr<State> stream;
  Surroundings here;
  std::shared_ptr<Resumption> resumption;
};

AsyncOutput::Next::Awaiter::Awaiter(std::shared_ptr<State> state, const Surroundings& here)
    : waiting_(std::make_unique<Waiting>(Waiting{std::move(state), here, nullptr})) {}
AsyncOutput::Next::Awaiter::Awaiter(Awaiter&&) noexcept = default;
AsyncOutput::Next::Awaiter& AsyncOutput::Next::Awaiter::operator=(Awaiter&&) noexcept = default;
AsyncOutput::Next::Awaiter::~Awaiter() = default;

bool AsyncOutput::Next::Awaiter::await_suspend(std::coroutine_handle<> handle) {
  State& stream = *waiting_->stream;
  const auto resumption = std::make_shared<Resumption>(waiting_->here, handle);
  {
    const std::lock_guard guard(stream.mutex);
    if (stream.is_over || !stream.pieces.empty()) return false;
    stream.then = [resumption] { resumption->wake(); };
  }
  waiting_->resumption = resumption;
  resumption->watch_stop();
  return true;
}

std::optional<OutputStream::Piece> AsyncOutput::Next::Awaiter::await_resume() {
  State& stream = *waiting_->stream;
  if (waiting_->resumption) {
    {
      const std::lock_guard guard(stream.mutex);
      stream.then = nullptr;
    }
    waiting_->resumption->end();
  }
  const std::lock_guard guard(stream.mutex);
  if (stream.pieces.empty()) {
    if (stream.problem) std::rethrow_exception(stream.problem);
    return std::nullopt;
  }
  OutputStream::Piece piece = std::move(stream.pieces.front());
  stream.pieces.pop_front();
  stream.bytes -= piece.bytes.size();
  stream.room.notify_all();
  return piece;
}

}  // namespace futured::client
