// Callbacks that the daemon makes, and the calls to see and steer them.
#include <utility>

#include "client/cpp/client_state.h"
#include "client/cpp/convert.h"
#include "futured/client.h"

namespace futured::client {

namespace {

constexpr const char* kStatePrefix = "CALLBACK_STATE_";

CompletionCallback from_spec(const api::CallbackSpec& spec) {
  CompletionCallback out;
  out.on = static_cast<CompletionCallback::On>(spec.condition());
  out.whole_batch = spec.whole_batch();
  out.retries.max_attempts = spec.retries().max_attempts();
  out.retries.backoff = Milliseconds(spec.retries().backoff_ms());
  out.retries.factor = spec.retries().factor();
  out.retries.backoff_max = Milliseconds(spec.retries().backoff_ms_max());
  out.retries.jitter = spec.retries().jitter();
  out.timeout = Milliseconds(spec.timeout_ms());
  switch (spec.target_case()) {
    case api::CallbackSpec::kWebhook:
      out.target = CompletionCallback::Target::kWebhook;
      out.address = spec.webhook().url();
      out.secret_name = spec.webhook().secret_name();
      out.headers.insert(spec.webhook().headers().begin(), spec.webhook().headers().end());
      break;
    case api::CallbackSpec::kGrpc:
      out.target = CompletionCallback::Target::kListener;
      out.address = spec.grpc().address();
      out.tls_name = spec.grpc().tls_name();
      break;
    case api::CallbackSpec::kCommand:
      out.target = CompletionCallback::Target::kCommand;
      out.command.argv.assign(spec.command().argv().begin(), spec.command().argv().end());
      out.command.cwd = spec.command().cwd();
      break;
    case api::CallbackSpec::kFollowUp:
      out.target = CompletionCallback::Target::kFollowUp;
      out.task = spec.follow_up().spec().task();
      out.queue = spec.follow_up().spec().queue();
      out.pool = spec.follow_up().spec().pool();
      break;
    case api::CallbackSpec::TARGET_NOT_SET:
      break;
  }
  return out;
}

}  // namespace

CompletionCallback CompletionCallback::webhook(std::string url) {
  CompletionCallback callback;
  callback.target = Target::kWebhook;
  callback.address = std::move(url);
  return callback;
}

CompletionCallback CompletionCallback::listener(std::string address) {
  CompletionCallback callback;
  callback.target = Target::kListener;
  callback.address = std::move(address);
  return callback;
}

CompletionCallback CompletionCallback::run(CommandLine command) {
  CompletionCallback callback;
  callback.target = Target::kCommand;
  callback.command = std::move(command);
  return callback;
}

CompletionCallback CompletionCallback::follow_up(std::string task) {
  CompletionCallback callback;
  callback.target = Target::kFollowUp;
  callback.task = std::move(task);
  return callback;
}

void to_callback(const CompletionCallback& callback, api::CallbackSpec& out) {
  out.set_condition(static_cast<api::CompletionCondition>(callback.on));
  out.set_whole_batch(callback.whole_batch);
  out.set_timeout_ms(callback.timeout.count());
  to_retries(callback.retries, *out.mutable_retries());
  switch (callback.target) {
    case CompletionCallback::Target::kWebhook:
      out.mutable_webhook()->set_url(callback.address);
      out.mutable_webhook()->set_secret_name(callback.secret_name);
      out.mutable_webhook()->mutable_headers()->insert(callback.headers.begin(), callback.headers.end());
      return;
    case CompletionCallback::Target::kListener:
      out.mutable_grpc()->set_address(callback.address);
      out.mutable_grpc()->set_tls_name(callback.tls_name);
      return;
    case CompletionCallback::Target::kCommand:
      return to_command(callback.command, *out.mutable_command());
    case CompletionCallback::Target::kFollowUp: {
      api::JobSpec& spec = *out.mutable_follow_up()->mutable_spec();
      spec.set_task(callback.task);
      spec.set_queue(callback.queue);
      spec.set_pool(callback.pool);
      return;
    }
  }
}

CallbackInfo from_callback(const api::Callback& callback) {
  CallbackInfo out;
  out.id = callback.id();
  out.job_id = callback.job_id();
  out.batch_jobs = callback.batch_jobs();
  out.state = api::CallbackState_Name(callback.state()).substr(std::string_view(kStatePrefix).size());
  out.callback = from_spec(callback.spec());
  out.attempts = callback.delivery_attempts();
  out.next_attempt_us = callback.next_attempt_us();
  out.delivered_us = callback.delivered_us();
  out.last_error = callback.last_error();
  return out;
}

CallbackInfo Client::add_callback(std::uint64_t job, const CompletionCallback& callback,
                                  std::uint32_t batch_jobs) const {
  api::RegisterCallbackRequest request;
  request.set_job_id(job);
  to_callback(callback, *request.mutable_spec());
  if (batch_jobs > 0) request.mutable_spec()->set_whole_batch(true);
  request.set_batch_jobs(batch_jobs);
  api::Callback response;
  // Not repeated after a break: it might be there already, and be delivered twice.
  state_->call(
      [&](grpc::ClientContext& context) { return state_->completions->Register(&context, request, &response); }, false);
  return from_callback(response);
}

CallbackPage Client::callbacks(std::uint64_t job, const std::vector<std::string>& states, std::uint32_t page_size,
                               const std::string& page_token) const {
  api::ListCallbacksRequest request;
  request.set_job_id(job);
  request.set_page_size(page_size);
  request.set_page_token(page_token);
  for (const std::string& state : states) {
    api::CallbackState value = api::CALLBACK_STATE_UNSPECIFIED;
    if (!api::CallbackState_Parse(kStatePrefix + state, &value) || value == api::CALLBACK_STATE_UNSPECIFIED) {
      throw Error(ErrorKind::kInvalidArgument,
                  "state: \"" + state + "\" is not WAITING, DELIVERING, DELIVERED or FAILED");
    }
    request.add_states(value);
  }
  api::ListCallbacksResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->completions->List(&context, request, &response); },
               true);
  CallbackPage page;
  for (const api::Callback& callback : response.callbacks()) page.callbacks.push_back(from_callback(callback));
  page.next_page_token = response.next_page_token();
  return page;
}

std::uint64_t Client::replay_callbacks(std::span<const std::uint64_t> ids) const {
  api::ReplayCallbacksRequest request;
  request.mutable_ids()->Add(ids.begin(), ids.end());
  request.set_all_failed(ids.empty());
  api::ReplayCallbacksResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->completions->Replay(&context, request, &response); },
               false);
  return response.replayed();
}

}  // namespace futured::client
