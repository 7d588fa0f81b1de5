// Jobs that a task submits.
#include <poll.h>

#include <array>

#include "base/child.h"
#include "base/payload.h"
#include "segment/array_type.h"
#include "worker/runtime/task_context.h"

namespace futured::runtime {

namespace {

constexpr int kBeatMs = 100;  // who waits for the daemon is alive
constexpr int kLookMs = 1;    // between two looks of a run that shares its thread

// Every part inline. What is far over the bound is refused before it is copied.
class ArgumentEncoder final : public ResultWriter {
 public:
  void add(std::string_view content_type, std::string_view bytes) override {
    if (encoded_.size() + content_type.size() + bytes.size() > limits::kChildPayloadBytesMax) {
      throw SubmitError("INVALID_ARGUMENT",
                        "arguments: more than " + std::to_string(limits::kChildPayloadBytesMax) +
                            " bytes; hand over more in a file or by a name",
                        Retry::kPointless);
    }
    append_part(encoded_, {.content_type = content_type, .bytes = bytes});
  }
  void add_array(std::string_view dtype, const std::vector<std::uint64_t>& shape,
                 std::span<const std::byte> bytes) override {
    add(format_array_type({std::string(dtype), shape}), {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  [[nodiscard]] std::string_view encoded() const { return encoded_; }

 private:
  std::string encoded_;
};

[[nodiscard]] std::string encoded_request(std::string_view task, std::string_view arguments,
                                          const SubmitOptions& options) {
  const ChildRequest request{.task = task,
                             .queue = options.queue,
                             .pool = options.pool,
                             .name = options.name,
                             .key = options.key,
                             .priority = options.priority,
                             .max_attempts = options.max_attempts,
                             .queue_timeout_ms = options.queue_timeout.count(),
                             .run_timeout_ms = options.run_timeout.count(),
                             .total_timeout_ms = options.total_timeout.count(),
                             .at_most_once = options.at_most_once,
                             .payload = arguments};
  if (const Status sound = check_child(request); !sound) {
    throw SubmitError(std::string(to_string(sound.error().code)), sound.error().message, Retry::kPointless);
  }
  return encode_child(request);
}

}  // namespace

std::optional<std::chrono::steady_clock::time_point> TaskContext::deadline() const {
  if (run_.run_timeout.count() <= 0) return std::nullopt;
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(run_.taken_at.ns) + run_.run_timeout);
}

std::string TaskContext::encode_submit(std::string_view task, const AddArguments& add_arguments,
                                       const SubmitOptions& options) const {
  ArgumentEncoder arguments;
  add_arguments(arguments);
  return encoded_request(task, arguments.encoded(), options);
}

std::uint64_t TaskContext::submit_job(std::string_view task, const AddArguments& add_arguments,
                                      const SubmitOptions& options) {
  const std::string request = encode_submit(task, add_arguments, options);
  throw_if_stopped();
  if (!open_calls_.empty()) {  // a run has one call at a time
    throw SubmitError("FAILED_PRECONDITION", "a submit that is awaited has no answer yet; await this one too");
  }
  const channel::CallId call{fence_, ++calls_};
  send(call, request);
  const channel::Reply reply = await_reply(call.number);
  if (!reply.job.is_set()) throw SubmitError(reply.error_class, reply.error_message);
  return reply.job.value;
}

void TaskContext::send(const channel::CallId& call, std::string_view request) {
  for (;;) {
    end_.beat(run_);
    if (end_.call(call, request, std::chrono::milliseconds(kBeatMs))) return;
    throw_if_stopped();
    pollfd lifeline{end_.lifeline_fd(), 0, 0};
    if (poll(&lifeline, 1, 0) > 0) throw Stopped();
  }
}

// The answer is looked for before a stop: a job that was made is told.
channel::Reply TaskContext::await_reply(std::uint64_t call) {
  for (;;) {
    end_.beat(run_);
    if (auto reply = end_.reply(run_, call)) return *std::move(reply);
    throw_if_stopped();
    sleep_for_reply(call);
  }
}

// Until there may be an answer or a stop, or for a beat.
void TaskContext::sleep_for_reply(std::uint64_t call) {
  std::array<pollfd, 2> sources{{{end_.lifeline_fd(), 0, 0}, {end_.wake_fd(), POLLIN, 0}}};
  if (shares_thread_) {  // the channel's wake-ups are for all of its runs
    (void)poll(sources.data(), 1, kLookMs);
  } else if (end_.arm_for_reply(run_, call)) {
    (void)poll(sources.data(), sources.size(), kBeatMs);
    end_.disarm();
  }
  if ((sources[0].revents & (POLLHUP | POLLERR)) != 0) throw Stopped();
}

}  // namespace futured::runtime
