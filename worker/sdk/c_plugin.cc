#include "worker/sdk/c_plugin.h"

#include <algorithm>
#include <exception>
#include <list>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "futured/task.h"
#include "segment/array_type.h"

using futured::ArrayType;
using futured::BadArgument;
using futured::ChildOutcome;
using futured::ChildPart;
using futured::Context;
using futured::LogLevel;
using futured::Output;
using futured::Parts;
using futured::PartView;
using futured::ResultWriter;
using futured::Retry;
using futured::RetryAfter;
using futured::Stopped;
using futured::SubmitError;
using futured::SubmitOptions;
using futured::TaskError;
using futured::WaitError;
using futured::WaitJobs;

// What the plugin's calls of add_task leave.
struct futured_plugin {
  const std::string& path;
  std::optional<futured::Error> wrong;
};

// One run: what the plugin's calls need, and what they hand out until it returns.
struct futured_context {
  Context& context;
  Parts arguments;
  ResultWriter& out;
  std::list<std::string> texts;
  std::list<futured::sdk::ArrayView> arrays;
  std::list<futured::Array<std::uint8_t>> memories;
  std::list<futured::ChildOutcome> outcomes;
  std::list<std::vector<futured_part>> parts;
  std::mutex mutex;            // emit and log may fail on any thread
  std::exception_ptr error;    // the last that the task may get over
  std::exception_ptr failure;  // the attempt fails by it, whatever the task returns
};

namespace futured::sdk {

namespace {

std::string_view text_of(const char* text) { return text == nullptr ? std::string_view() : text; }

// The border: C++ exceptions end here, and those in a slot are thrown again when the task has returned.
template <typename Body>
int guarded(futured_context* run, std::exception_ptr futured_context::*slot, Body body) noexcept {
  try {
    body();
    return FUTURED_OK;
  } catch (const Stopped&) {
    return FUTURED_STOPPED;  // no error: a task may still have a result
  } catch (...) {
    const std::lock_guard lock(run->mutex);
    run->*slot = std::current_exception();
    return FUTURED_ERROR;
  }
}

// What the task may get over: it counts if the task returns FUTURED_ERROR.
template <typename Body>
int attempted(futured_context* run, Body body) noexcept {
  return guarded(run, &futured_context::error, body);
}

// What must not go unnoticed when the task ignores it.
template <typename Body>
int decisive(futured_context* run, Body body) noexcept {
  return guarded(run, &futured_context::failure, body);
}

const PartView& part_at(const futured_context* run, std::size_t index) {
  if (index >= run->arguments.size()) refuse_count(run->arguments.size(), index + 1, true);
  return run->arguments[index];
}

template <typename T>
T converted(const futured_context* run, std::size_t index) {
  return Argument<T>(part_at(run, index), index + 1).get();
}

int get_text(futured_context* run, std::size_t index, const char** text, std::size_t* size) noexcept {
  return attempted(run, [&] {
    const std::string& kept = run->texts.emplace_back(converted<std::string>(run, index));
    *text = kept.c_str();
    if (size != nullptr) *size = kept.size();
  });
}

int get_array(futured_context* run, std::size_t index, const char* dtype, futured_array* array) noexcept {
  return attempted(run, [&] {
    const std::uint64_t element = element_bytes(dtype);
    if (element == 0) throw TaskError("UnknownDtype", std::string("there is no dtype ") + dtype, Retry::kPointless);
    const ArrayView& kept = run->arrays.emplace_back(view_array(part_at(run, index), index + 1, dtype, element));
    *array = {kept.bytes.data(), kept.bytes.size() / element, kept.shape.data(), kept.shape.size()};
  });
}

void* make_memory(futured_context* run, std::size_t size) noexcept {
  void* memory = nullptr;
  (void)attempted(run,
                  [&] { memory = run->memories.emplace_back(run->context.make_array<std::uint8_t>({size})).data(); });
  return memory;
}

int add_result(futured_context* run, const char* content_type, const void* bytes, std::size_t size) noexcept {
  return decisive(run, [&] { run->out.add(text_of(content_type), {static_cast<const char*>(bytes), size}); });
}

int add_array(futured_context* run, const char* dtype, const std::uint64_t* shape, std::size_t dimensions,
              const void* elements) noexcept {
  return decisive(run, [&] {
    const ArrayType type{dtype, {shape, shape + dimensions}};
    const auto size = array_bytes(type);
    if (!size) throw TaskError("BadResult", size.error().message, Retry::kPointless);
    run->out.add_array(type.dtype, type.shape, {static_cast<const std::byte*>(elements), *size});
  });
}

int fail(futured_context* run, const char* error_class, const char* message, std::int64_t retry) noexcept {
  return decisive(run, [&] {
    if (retry > 0) throw RetryAfter(std::chrono::milliseconds(retry), error_class, message);
    throw TaskError(error_class, message, retry == 0 ? Retry::kAllowed : Retry::kPointless);
  });
}

int submit(futured_context* run, const futured_child* child, std::uint64_t* job) noexcept {
  return attempted(run, [&] {
    if (child->size < sizeof(futured_child)) {
      throw SubmitError("INVALID_ARGUMENT", "a child has a size of " + std::to_string(child->size) +
                                                " bytes, which is not sizeof(futured_child)");
    }
    std::vector<Output> arguments;
    for (std::size_t i = 0; i < child->count; ++i) {
      const futured_part& part = child->arguments[i];
      arguments.push_back(
          {std::string(text_of(part.content_type)), std::string(static_cast<const char*>(part.bytes), part.size)});
    }
    SubmitOptions options;
    options.queue = text_of(child->queue);
    options.pool = text_of(child->pool);
    options.name = text_of(child->name);
    options.key = text_of(child->key);
    options.priority = child->priority;
    options.max_attempts = child->max_attempts;
    options.queue_timeout = std::chrono::milliseconds(child->queue_timeout_ms);
    options.run_timeout = std::chrono::milliseconds(child->run_timeout_ms);
    options.total_timeout = std::chrono::milliseconds(child->total_timeout_ms);
    options.at_most_once = child->at_most_once != 0;
    *job = run->context.submit(text_of(child->task), arguments, options);
  });
}

int wait(futured_context* run, const std::uint64_t* jobs, std::size_t count, std::int64_t timeout_ms, int lends_permits,
         int* ended) noexcept {
  return attempted(run, [&] {
    if (timeout_ms < 0) throw WaitError("INVALID_ARGUMENT", "timeout_ms: a time is not negative", Retry::kPointless);
    WaitJobs options;
    options.timeout = std::chrono::milliseconds(timeout_ms);
    options.lends_permits = lends_permits != 0;
    *ended = run->context.wait(std::vector<std::uint64_t>(jobs, jobs + count), options) ? 1 : 0;
  });
}

int outcome(futured_context* run, std::uint64_t job, futured_outcome* told) noexcept {
  return attempted(run, [&] {
    if (told->size < sizeof(futured_outcome)) {
      throw WaitError("INVALID_ARGUMENT", "an outcome has a size of " + std::to_string(told->size) +
                                              " bytes, which is not sizeof(futured_outcome)");
    }
    const ChildOutcome& kept = run->outcomes.emplace_back(run->context.outcome(job));
    std::vector<futured_part>& parts = run->parts.emplace_back();
    for (const ChildPart& part : kept.parts) {
      parts.push_back({part.content_type.c_str(), part.bytes.data(), part.bytes.size()});
    }
    told->state = static_cast<std::uint32_t>(kept.state);
    told->cause = kept.cause.c_str();
    told->error_class = kept.error_class.c_str();
    told->message = kept.message.c_str();
    told->exit_code = kept.exit_code;
    told->signal = kept.signal;
    told->parts = parts.data();
    told->count = parts.size();
  });
}

std::int64_t deadline(futured_context* run) noexcept {
  const auto at = run->context.deadline();
  return at ? std::chrono::nanoseconds(at->time_since_epoch()).count() : 0;
}

// What the task's return means to the runtime, which knows C++ alone.
void conclude(const futured_context& run, int returned) {
  if (run.failure) std::rethrow_exception(run.failure);
  if (returned == FUTURED_OK) return;
  if (returned == FUTURED_STOPPED) throw Stopped();
  if (returned == FUTURED_ERROR && run.error) std::rethrow_exception(run.error);
  throw TaskError("Failed", "the task returned " + std::to_string(returned));
}

int add_task(futured_plugin* plugin, const futured_task* task) noexcept;

constexpr futured_host kHost = {
    .c_version = FUTURED_C_VERSION,
    .size = sizeof(futured_host),
    .add_task = add_task,
    .job_id = [](futured_context* run) { return run->context.job_id(); },
    .epoch = [](futured_context* run) { return run->context.epoch(); },
    .attempt = [](futured_context* run) { return run->context.attempt(); },
    .jobs_run_before = [](futured_context* run) { return run->context.jobs_run_before(); },
    .stop_requested = [](futured_context* run) { return run->context.stop_requested() ? 1 : 0; },
    .stop_reason = [](futured_context* run) { return static_cast<int>(run->context.stop_reason()); },
    .progress =
        [](futured_context* run, std::uint64_t done, std::uint64_t total, const char* message) {
          (void)attempted(run, [&] { run->context.progress(done, total, text_of(message)); });
        },
    .log =
        [](futured_context* run, int level, const char* message) {
          const int known = std::clamp<int>(level, FUTURED_LOG_TRACE, FUTURED_LOG_CRITICAL);
          (void)attempted(run, [&] { run->context.log(static_cast<LogLevel>(known), text_of(message)); });
        },
    .heartbeat = [](futured_context* run) { run->context.heartbeat(); },
    .emit =
        [](futured_context* run, const void* bytes, std::size_t size) {
          return attempted(run, [&] { run->context.emit({static_cast<const char*>(bytes), size}); });
        },
    .wait_for =
        [](futured_context* run, std::uint32_t ms) {
          return run->context.wait_for(std::chrono::milliseconds(ms)) ? int{FUTURED_OK} : int{FUTURED_STOPPED};
        },
    .get_int =
        [](futured_context* run, std::size_t index, std::int64_t* value) {
          return attempted(run, [&] { *value = converted<std::int64_t>(run, index); });
        },
    .get_double = [](futured_context* run, std::size_t index,
                     double* value) { return attempted(run, [&] { *value = converted<double>(run, index); }); },
    .get_text = get_text,
    .get_array = get_array,
    .make_memory = make_memory,
    .add_result = add_result,
    .add_array = add_array,
    .fail = fail,
    .fail_argument = [](futured_context* run,
                        const char* message) { return decisive(run, [&] { throw BadArgument(message); }); },
    .deadline = deadline,
    .submit = submit,
    .wait = wait,
    .outcome = outcome};

TaskFunction function_of(const futured_task& task) {
  return [code = task.run, user = task.user](Context& context, Parts parts, ResultWriter& out) {
    std::string types;  // each with its 0, which a part's content type has not
    for (const PartView& part : parts) types.append(part.content_type).push_back('\0');
    std::vector<futured_part> arguments;
    arguments.reserve(parts.size());
    const char* type = types.data();
    for (const PartView& part : parts) {
      arguments.push_back({type, part.bytes.data(), part.bytes.size()});
      type += part.content_type.size() + 1;
    }
    futured_context run{.context = context, .arguments = parts, .out = out};
    conclude(run, code(&kHost, &run, arguments.data(), arguments.size(), user));
  };
}

int add_task(futured_plugin* plugin, const futured_task* task) noexcept {
  const auto refuse = [&](const std::string& why) {
    if (!plugin->wrong) plugin->wrong = Error{ErrorCode::kFailedPrecondition, plugin->path + ": " + why};
    return int{FUTURED_ERROR};
  };
  if (task == nullptr) return refuse("add_task was given no task");
  if (task->c_version == 0 || task->c_version > FUTURED_C_VERSION) {
    return refuse("a task was built against version " + std::to_string(task->c_version) +
                  " of futured/task_c.h, this worker against " + std::to_string(FUTURED_C_VERSION));
  }
  if (task->size < sizeof(futured_task)) {
    return refuse("a task has a size of " + std::to_string(task->size) + " bytes, which is not sizeof(futured_task)");
  }
  if (task->run == nullptr) return refuse("task '" + std::string(text_of(task->name)) + "' has no function");
  const bool registered = register_task(kAbiVersion, std::string(text_of(task->name)),
                                        {.version = std::string(text_of(task->version))}, function_of(*task));
  return registered ? FUTURED_OK : FUTURED_ERROR;
}

}  // namespace

Status register_c_tasks(CEntry entry, const std::string& path) {
  futured_plugin plugin{path, std::nullopt};
  const int code = entry(&kHost, &plugin);
  if (plugin.wrong) return *plugin.wrong;
  if (code != 0) {
    return Error{ErrorCode::kFailedPrecondition,
                 "plugin " + path + ": futured_plugin_tasks returned " + std::to_string(code)};
  }
  return {};
}

}  // namespace futured::sdk
