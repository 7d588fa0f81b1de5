#include "daemon/rpc/callback_transport.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/command.h"
#include "daemon/rpc/convert_callback.h"
#include "daemon/rpc/follow_up.h"
#include "daemon/rpc/submit.h"

namespace futured::rpc {

namespace {

constexpr std::size_t kListenersKept = 64;
// gRPC puts off connecting anew for up to two minutes; when a delivery is due again is our own matter.
constexpr int kReconnectMsMin = 50;
constexpr int kReconnectMsMax = 1'000;

const char* name_of(grpc::StatusCode code) {
  constexpr const char* kNames[] = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  return code >= 0 && static_cast<std::size_t>(code) < std::size(kNames) ? kNames[code] : "an unknown status";
}

}  // namespace

struct CallbackTransport::Call {
  std::shared_ptr<Stub> stub;
  grpc::ClientContext context;
  api::Completion request;
  api::CompletionAck answer;
  Done done;
};

std::string CallbackTransport::completion_json(const DeliveryRecord& delivery, std::uint32_t attempt) {
  return rpc::completion_json(delivery, attempt);
}

Result<std::shared_ptr<CallbackTransport::Stub>> CallbackTransport::stub_for(const std::string& address,
                                                                             const std::string& tls_name) {
  const auto known = std::ranges::find_if(
      listeners_, [&](const Listener& one) { return one.address == address && one.tls_name == tls_name; });
  if (known != listeners_.end()) {
    std::rotate(listeners_.begin(), known, known + 1);
    return listeners_.front().stub;
  }
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!tls_name.empty()) {
    const auto tls = front_.setup.callback_tls.find(tls_name);
    if (tls == front_.setup.callback_tls.end()) {
      return Error{ErrorCode::kFailedPrecondition,
                   "the configuration has no [callbacks.tls." + tls_name + "] any more"};
    }
    grpc::SslCredentialsOptions options;
    options.pem_root_certs = tls->second.ca;
    options.pem_private_key = tls->second.key;
    options.pem_cert_chain = tls->second.certificate;
    credentials = grpc::SslCredentials(options);
  }
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMsMin);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kReconnectMsMin);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMsMax);
  auto stub = std::make_shared<Stub>(grpc::CreateCustomChannel(address, credentials, arguments));
  if (listeners_.size() >= kListenersKept) listeners_.pop_back();
  listeners_.push_front({address, tls_name, stub});
  return stub;
}

void CallbackTransport::call_listener(const DeliveryRecord& delivery, std::uint32_t attempt, Done done) {
  const CallbackSpec& spec = delivery.callback.spec;
  auto stub = stub_for(spec.address, spec.credential);
  if (!stub.ok()) return done(stub.error());
  auto* const call = new Call;
  call->stub = std::move(*stub);
  call->done = std::move(done);
  call->context.set_deadline(std::chrono::system_clock::now() +
                             std::chrono::duration_cast<std::chrono::system_clock::duration>(spec.timeout));
  to_completion(delivery, attempt, call->request);
  {
    const std::lock_guard lock(mutex_);
    calls_.insert(call);
  }
  call->stub->async()->Completed(&call->context, &call->request, &call->answer, [this, call](grpc::Status status) {
    const std::unique_ptr<Call> owned(call);
    owned->done(status.ok() ? Status()
                            : Status(Error{ErrorCode::kUnavailable,
                                           std::string(name_of(status.error_code())) + ": " + status.error_message()}));
    const std::lock_guard lock(mutex_);
    calls_.erase(call);
    ended_.notify_all();
  });
}

void CallbackTransport::stop() {
  std::unique_lock lock(mutex_);
  for (Call* const call : calls_) call->context.TryCancel();
  ended_.wait(lock, [this] { return calls_.empty(); });
}

Result<event::Submit> CallbackTransport::job_for(const DeliveryRecord& delivery, std::uint32_t attempt,
                                                 SegmentHold& segments) {
  const CallbackSpec& spec = delivery.callback.spec;
  event::Submit submit;
  submit.who = {delivery.callback.owner};
  submit.settles = delivery.callback.id;
  std::string payload;
  if (spec.target == CallbackTarget::kCommand) {
    submit.spec.name = "callback " + std::to_string(delivery.callback.id.value);
    submit.spec.run_timeout = spec.timeout;
    payload = spec.body;
    const std::string json = rpc::completion_json(delivery, attempt);
    append_part(payload, {.bytes = json});
  } else {
    api::JobSpec asked;
    if (!asked.ParseFromString(spec.body)) {
      return Error{ErrorCode::kDataLoss, "the stored options of the follow-up are damaged"};
    }
    auto job = to_spec(asked, front_.setup.callback_names);
    if (!job.ok()) return job.error();
    submit.spec = std::move(*job);
    auto encoded =
        follow_up_payload(delivery.job.ending.result, front_.segments, front_.setup.state_directory + "/output");
    if (!encoded.ok()) return encoded.error();
    payload = std::move(*encoded);
    const auto parts = decode_parts(payload);
    if (!parts.ok()) return parts.error();
    for (const Part& part : *parts) {
      if (part.kind != PartKind::kSegment) continue;
      const auto share = front_.segments.take_share(part.segment, delivery.callback.owner, segments);
      if (!share.ok()) return share.error().in("result of job " + std::to_string(delivery.job.job.id.value));
      submit.has_segments = true;
    }
  }
  submit.ends = {static_cast<std::uint32_t>(payload.size())};
  submit.bytes = std::make_shared<const std::string>(std::move(payload));
  return submit;
}

void CallbackTransport::submit_job(const DeliveryRecord& delivery, std::uint32_t attempt, Done refused) {
  SegmentHold segments;
  auto submit = job_for(delivery, attempt, segments);
  if (!submit.ok()) return refused(submit.error());
  front_.loop.submit(std::move(*submit), sink_of(std::move(segments), nullptr),
                     [refused = std::move(refused)](const Result<Accepted>& accepted) {
                       if (!accepted.ok()) refused(accepted.error());
                     });
}

}  // namespace futured::rpc
