// Callbacks as clients ask for them, and completions as receivers are told of them.
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cmath>

#include "base/command.h"
#include "base/limits.h"
#include "daemon/callback/address.h"
#include "daemon/rpc/cache_key.h"
#include "daemon/rpc/convert_callback.h"

namespace futured::rpc {

namespace {

constexpr const char* kHidden = "(hidden)";
// A lookup that is given up goes on for a while in the resolver: this bounds how many of one receiver can.
constexpr Duration kWebhookTimeoutMin = std::chrono::milliseconds(250);

std::string indexed(const std::string& field, std::size_t index) { return field + "[" + std::to_string(index) + "]"; }

bool is_token(std::string_view name) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !name.empty() && std::ranges::all_of(name, [&](unsigned char c) {
    return std::isalnum(c) != 0 || kMarks.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// What the request says by itself.
bool is_ours(const std::string& header) {
  const std::string name = lower(header);
  constexpr std::string_view kOurs[] = {"host",       "content-type", "content-length", "transfer-encoding",
                                        "connection", "expect",       "upgrade"};
  return name.starts_with("futured-") || std::ranges::find(kOurs, name) != std::end(kOurs);
}

Status add_headers(const api::Webhook& webhook, const std::string& field, CallbackSpec& spec) {
  if (static_cast<std::size_t>(webhook.headers_size()) > limits::kCallbackHeadersMax) {
    return too_much(
        field, std::to_string(webhook.headers_size()) + " are over " + std::to_string(limits::kCallbackHeadersMax));
  }
  for (const auto& [name, value] : webhook.headers()) {
    if (!is_token(name)) return invalid(field, "\"" + name + "\" is no name of a header");
    if (is_ours(name)) return invalid(field, name + " is set by the request itself");
    const auto is_bad = [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; };
    if (std::ranges::any_of(value, is_bad)) return invalid(field, name + " holds a control character");
    spec.headers.emplace_back(name, value);
  }
  std::ranges::sort(spec.headers);  // a map has no order, and equal specs are stored once
  return {};
}

Status add_webhook(const api::Webhook& webhook, const std::string& field, const CallbackNames& names,
                   CallbackSpec& spec) {
  spec.target = CallbackTarget::kWebhook;
  const auto origin = callback::origin_of(webhook.url());
  if (!origin.ok()) return invalid(field + ".url", origin.error().message);
  // Of a name it is known at each connection only.
  if (!names.allow_private && callback::is_private_origin(*origin)) {
    return invalid(field + ".url", callback::private_refusal(*origin));
  }
  if (!webhook.secret_name().empty() && !names.secrets.contains(webhook.secret_name())) {
    return invalid(field + ".secret_name",
                   "the configuration has no secret \"" + webhook.secret_name() + "\"; add it to [callbacks.secrets]");
  }
  spec.address = webhook.url();
  spec.credential = webhook.secret_name();
  spec.lane = callback::lane_of(*origin);
  return add_headers(webhook, field + ".headers", spec);
}

// "127.0.0.1:50051", "localhost:50051", "[::1]:50051", "unix:/path".
bool stays_here(const std::string& address) {
  if (address.starts_with("unix:")) return true;
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) return false;
  const std::string host = address.substr(0, colon);
  const bool is_ipv4 = host.find_first_not_of("0123456789.") == std::string::npos;
  return host == "localhost" || host == "[::1]" || (is_ipv4 && host.starts_with("127."));
}

Status add_grpc(const api::GrpcTarget& grpc, const std::string& field, const CallbackNames& names, CallbackSpec& spec) {
  spec.target = CallbackTarget::kGrpc;
  const std::string& address = grpc.address();
  const auto is_bad = [](unsigned char c) { return c <= 0x20 || c >= 0x7f || c == ','; };
  if (address.empty() || address.size() > limits::kCallbackUrlBytesMax || std::ranges::any_of(address, is_bad)) {
    return invalid(field + ".address", "must be unix:/PATH or HOST:PORT");
  }
  if (grpc.tls_name().empty()) {
    if (!stays_here(address)) {
      return invalid(field + ".address",
                     address + " is not on this machine, and without tls_name nothing is encrypted");
    }
  } else {
    if (!names.tls.contains(grpc.tls_name())) {
      return invalid(field + ".tls_name", "the configuration has no \"" + grpc.tls_name() + "\"; add [callbacks.tls." +
                                              grpc.tls_name() + "]");
    }
    const std::size_t colon = address.rfind(':');
    if (address.starts_with("unix:") || address.find("://") != std::string::npos || colon == std::string::npos ||
        colon + 1 == address.size() || address.find_first_not_of("0123456789", colon + 1) != std::string::npos) {
      return invalid(field + ".address", "must be HOST:PORT");
    }
  }
  spec.address = address;
  spec.credential = grpc.tls_name();
  spec.lane = callback::lane_of("grpc:" + address);
  return {};
}

Status add_command(const api::Command& command, const std::string& field, CallbackSpec& spec) {
  spec.target = CallbackTarget::kCommand;
  spec.lane = callback::lane_of("command");
  if (!command.stdin_bytes().empty()) return invalid(field + ".stdin_bytes", "refused: the outcome comes there");
  if (command.stdin_result_of() != 0) {
    return invalid(field + ".stdin_result_of", "refused: the outcome comes there");
  }
  google::protobuf::RepeatedPtrField<api::Item> items;
  *items.Add()->mutable_command() = command;
  const auto payload = to_payloads(items, /*commands=*/true, [](SegmentId) -> Result<std::uint64_t> {
    return Error{ErrorCode::kInvalidArgument, "a command has no segments"};
  });
  if (!payload.ok()) {
    Error error = payload.error();
    const std::string prefix = "items[0].command";
    if (error.message.starts_with(prefix)) error.message.replace(0, prefix.size(), field);
    return error;
  }
  spec.body = *payload->bytes;
  return {};
}

Status add_follow_up(const api::FollowUp& follow_up, const std::string& field, const CallbackNames& names,
                     CallbackSpec& spec) {
  spec.target = CallbackTarget::kFollowUp;
  spec.lane = callback::lane_of("follow-up");
  if (follow_up.spec().task().empty()) return invalid(field + ".spec.task", "required: a follow-up is a task");
  if (follow_up.spec().start_at_us() != 0) return unbuilt(field + ".spec.start_at_us");
  if (follow_up.spec().start_after_ms() != 0) return unbuilt(field + ".spec.start_after_ms");
  if (const Status none = refuse_cache(follow_up.spec(), field + ".spec"); !none.ok()) return none;
  if (const Status none = refuse_durable_segments(follow_up.spec(), field + ".spec"); !none.ok()) return none;
  if (!follow_up.spec().dependencies().empty()) return unbuilt(field + ".spec.dependencies");
  const auto job = to_spec(follow_up.spec(), names);
  if (!job.ok()) return job.error().in(field);
  follow_up.spec().SerializeToString(&spec.body);
  spec.queue = job->queue;
  spec.pool = job->pool;
  spec.task = job->task;
  spec.priority = job->priority;
  return {};
}

Status add_retries(const api::Retries& asked, const std::string& field, DeliveryRetries& retries) {
  const std::pair<bool, const char*> unbuilt_fields[] = {
      {!asked.only_classes().empty(), ".only_classes"},
      {!asked.except_classes().empty(), ".except_classes"},
      {asked.memory_factor() != 0, ".memory_factor"},
      {asked.memory_bytes_max() != 0, ".memory_bytes_max"},
  };
  for (const auto& [is_asked, name] : unbuilt_fields) {
    if (is_asked) return unbuilt(field + name);
  }
  if (asked.max_attempts() > limits::kCallbackAttemptsMax) {
    return too_much(field + ".max_attempts",
                    std::to_string(asked.max_attempts()) + " is over " + std::to_string(limits::kCallbackAttemptsMax));
  }
  if (asked.max_attempts() != 0) retries.max_attempts = asked.max_attempts();
  const auto add_wait = [&](std::int64_t ms, const char* name, Duration& into) -> Status {
    if (ms < 0) return invalid(field + name, std::to_string(ms) + " is negative");
    if (ms > limits::kBackoffMsMax) {
      return too_much(field + name, std::to_string(ms) + " ms are over " + std::to_string(limits::kBackoffMsMax));
    }
    if (ms != 0) into = std::chrono::milliseconds(ms);
    return {};
  };
  if (const Status added = add_wait(asked.backoff_ms(), ".backoff_ms", retries.backoff); !added.ok()) return added;
  if (const Status added = add_wait(asked.backoff_ms_max(), ".backoff_ms_max", retries.backoff_max); !added.ok()) {
    return added;
  }
  if (asked.factor() != 0) {
    if (!(asked.factor() >= 1 && asked.factor() <= 100)) {
      return invalid(field + ".factor", std::to_string(asked.factor()) + " is not 1 to 100");
    }
    retries.factor = asked.factor();
  }
  if (!(asked.jitter() >= 0 && asked.jitter() <= 1)) {
    return invalid(field + ".jitter", std::to_string(asked.jitter()) + " is not 0 to 1");
  }
  if (asked.jitter() != 0) retries.jitter = asked.jitter();
  return {};
}

std::int64_t ms_of(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

}  // namespace

Result<CallbackSpec> to_callback(const api::CallbackSpec& asked, const std::string& field, const CallbackNames& names) {
  CallbackSpec spec;
  if (asked.condition() < api::COMPLETION_CONDITION_ENDED ||
      asked.condition() > api::COMPLETION_CONDITION_NOT_SUCCEEDED) {
    return invalid(field + ".condition", std::to_string(static_cast<int>(asked.condition())) + " is no condition");
  }
  spec.condition = static_cast<CompletionCondition>(asked.condition());
  spec.whole_batch = asked.whole_batch();
  if (asked.timeout_ms() < 0) {
    return invalid(field + ".timeout_ms", std::to_string(asked.timeout_ms()) + " is negative");
  }
  if (asked.timeout_ms() > limits::kCallbackTimeoutMsMax) {
    return too_much(field + ".timeout_ms", std::to_string(asked.timeout_ms()) + " ms are over " +
                                               std::to_string(limits::kCallbackTimeoutMsMax));
  }
  const bool is_follow_up = asked.target_case() == api::CallbackSpec::kFollowUp;
  if (asked.timeout_ms() != 0 && is_follow_up) {
    return invalid(field + ".timeout_ms", "refused: a follow-up is a job; set follow_up.spec.timeouts");
  }
  if (is_follow_up || asked.target_case() == api::CallbackSpec::kCommand) spec.timeout = {};
  if (asked.timeout_ms() != 0) spec.timeout = std::chrono::milliseconds(asked.timeout_ms());
  if (const Status added = add_retries(asked.retries(), field + ".retries", spec.retries); !added.ok()) {
    return added.error();
  }
  if (asked.target_case() == api::CallbackSpec::kWebhook && spec.timeout < kWebhookTimeoutMin) {
    return invalid(field + ".timeout_ms", std::to_string(asked.timeout_ms()) + " is under " +
                                              std::to_string(ms_of(kWebhookTimeoutMin)) + ", the least for a webhook");
  }
  Status added;
  switch (asked.target_case()) {
    case api::CallbackSpec::kWebhook:
      added = add_webhook(asked.webhook(), field + ".webhook", names, spec);
      break;
    case api::CallbackSpec::kGrpc:
      added = add_grpc(asked.grpc(), field + ".grpc", names, spec);
      break;
    case api::CallbackSpec::kCommand:
      added = add_command(asked.command(), field + ".command", spec);
      break;
    case api::CallbackSpec::kFollowUp:
      added = add_follow_up(asked.follow_up(), field + ".follow_up", names, spec);
      break;
    case api::CallbackSpec::TARGET_NOT_SET:
      added = invalid(field, "has no target: webhook, grpc, command or follow_up");
      break;
  }
  if (!added.ok()) return added.error();
  if (encode_callbacks({spec}).size() > limits::kCallbackBytesMax) {
    return too_much(field, "it is over " + std::to_string(limits::kCallbackBytesMax) + " bytes");
  }
  return spec;
}

Result<std::string> to_callbacks(const api::JobSpec& asked, const CallbackNames& names) {
  if (static_cast<std::size_t>(asked.callbacks_size()) > limits::kCallbacksPerSpecMax) {
    return too_much("spec.callbacks", std::to_string(asked.callbacks_size()) + " are over " +
                                          std::to_string(limits::kCallbacksPerSpecMax));
  }
  std::vector<CallbackSpec> specs;
  for (int i = 0; i < asked.callbacks_size(); ++i) {
    auto spec = to_callback(asked.callbacks(i), indexed("spec.callbacks", static_cast<std::size_t>(i)), names);
    if (!spec.ok()) return spec.error();
    specs.push_back(std::move(*spec));
  }
  return encode_callbacks(specs);
}

void to_api(const CallbackSpec& spec, api::CallbackSpec& out) {
  out.set_condition(static_cast<api::CompletionCondition>(spec.condition));
  out.set_whole_batch(spec.whole_batch);
  out.set_timeout_ms(ms_of(spec.timeout));
  api::Retries& retries = *out.mutable_retries();
  retries.set_max_attempts(spec.retries.max_attempts);
  retries.set_backoff_ms(ms_of(spec.retries.backoff));
  retries.set_factor(spec.retries.factor);
  retries.set_backoff_ms_max(ms_of(spec.retries.backoff_max));
  retries.set_jitter(spec.retries.jitter);
  switch (spec.target) {
    case CallbackTarget::kWebhook:
      out.mutable_webhook()->set_url(spec.address);
      out.mutable_webhook()->set_secret_name(spec.credential);
      for (const auto& [name, value] : spec.headers) (*out.mutable_webhook()->mutable_headers())[name] = kHidden;
      return;
    case CallbackTarget::kGrpc:
      out.mutable_grpc()->set_address(spec.address);
      out.mutable_grpc()->set_tls_name(spec.credential);
      return;
    case CallbackTarget::kCommand:
      (void)to_command(spec.body, *out.mutable_command());
      return;
    case CallbackTarget::kFollowUp:
      (void)out.mutable_follow_up()->mutable_spec()->ParseFromString(spec.body);
      return;
  }
}

void to_api(const CallbackRecord& record, api::Callback& out) {
  out.set_id(record.id.value);
  out.set_job_id(record.job.value);
  out.set_batch_jobs(record.batch_jobs);
  to_api(record.spec, *out.mutable_spec());
  const DeliveryRow& delivery = record.delivery;
  out.set_delivery_attempts(delivery.attempts);
  out.set_last_error(as_utf8(delivery.error));
  switch (delivery.state) {
    case DeliveryState::kWaiting:
      return out.set_state(api::CALLBACK_STATE_WAITING);
    case DeliveryState::kBehind:
      return out.set_state(api::CALLBACK_STATE_DELIVERING);
    case DeliveryState::kDelivering:
      out.set_next_attempt_us(delivery.at.us);
      return out.set_state(api::CALLBACK_STATE_DELIVERING);
    case DeliveryState::kDelivered:
      out.set_delivered_us(delivery.at.us);
      return out.set_state(api::CALLBACK_STATE_DELIVERED);
    case DeliveryState::kFailed:
      return out.set_state(api::CALLBACK_STATE_FAILED);
    case DeliveryState::kNotDue:
      return;
  }
}

void to_completion(const DeliveryRecord& delivery, std::uint32_t attempt, api::Completion& out) {
  const JobRecord& job = delivery.job;
  out.set_delivery_id(std::to_string(delivery.callback.id.value));
  out.set_callback_id(delivery.callback.id.value);
  out.set_delivery_attempt(attempt);
  out.set_name(job.spec.name);
  to_outcome(job.job.id, job.ending, ResultWanted::kInline, *out.mutable_outcome());
  out.mutable_outcome()->set_submitted_us(job.job.submitted_at.us);
  if (!delivery.batch) return;
  out.set_batch_id(delivery.batch->first.value);
  out.set_batch_jobs(delivery.batch->count);
  out.set_batch_failed(delivery.batch->failed);
}

std::string completion_json(const DeliveryRecord& delivery, std::uint32_t attempt) {
  api::Completion completion;
  to_completion(delivery, attempt, completion);
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(completion, &json, options);
  FUTURED_CHECK(status.ok(), "a message of our own can be written as JSON");
  return json;
}

}  // namespace futured::rpc
