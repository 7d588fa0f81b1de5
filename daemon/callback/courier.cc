#include "daemon/callback/courier.h"

#include <utility>

#include "daemon/callback/signature.h"

namespace futured::callback {

namespace {

// Nobody can deliver this: no further attempt is of use.
constexpr DeliveryRetries kNoRetries{.max_attempts = 1};
// The store's fault, and what the callback asks for is not known: no receiver is given up for it.
constexpr DeliveryRetries kUntilRead{.max_attempts = UINT32_MAX, .backoff_max = std::chrono::minutes(1)};

}  // namespace

Courier::Courier(Parts parts) : parts_(std::move(parts)), webhooks_(parts_.rules) {}

Courier::~Courier() { stop(); }

void Courier::deliver(std::vector<effect::Deliver> deliveries) {
  {
    const std::lock_guard lock(mutex_);
    if (inbox_.empty()) since_ = monotonic_now();
    inbox_.insert(inbox_.end(), deliveries.begin(), deliveries.end());
  }
  webhooks_.wake();
}

void Courier::start(Transport& transport) {
  transport_ = &transport;
  thread_ = std::thread([this] { run(); });
}

void Courier::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  webhooks_.wake();
  if (thread_.joinable()) thread_.join();
}

std::vector<effect::Deliver> Courier::take() {
  const std::lock_guard lock(mutex_);
  if (!inbox_.empty()) gauge_->due(since_);
  return std::exchange(inbox_, {});
}

void Courier::run() {
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    turn();
  }
}

void Courier::turn() {
  gauge_->begin(monotonic_now());
  for (const effect::Deliver& deliver : take()) begin(deliver);
  gauge_->stage("beginning deliveries", coarse_now());
  const bool finished = webhooks_.work();
  gauge_->stage("webhooks", coarse_now());
  const auto under_way = static_cast<std::uint32_t>(webhooks_.under_way());
  gauge_->set_connections(under_way);
  gauge_->set_timers(under_way);
  gauge_->end(monotonic_now(), "turn");
  if (!finished) webhooks_.wait();
}

void Courier::begin(const effect::Deliver& deliver) {
  const CallbackId id = deliver.id;
  const auto record = parts_.reader->delivery(id);
  if (!record.ok()) return parts_.delivered({id, false, record.error().message, kUntilRead});
  if (!*record) return parts_.delivered({id, false, "its job is not stored any more", kNoRetries});
  const CallbackSpec& spec = (*record)->callback.spec;
  Transport::Done done = [this, id, retries = spec.retries](const Status& status) {
    parts_.delivered({id, status.ok(), status.ok() ? std::string() : status.error().message, retries});
  };
  switch (spec.target) {
    case CallbackTarget::kWebhook:
      return post(**record, deliver.attempt, std::move(done));
    case CallbackTarget::kGrpc:
      return transport_->call_listener(**record, deliver.attempt, std::move(done));
    case CallbackTarget::kCommand:
    case CallbackTarget::kFollowUp:
      return transport_->submit_job(**record, deliver.attempt, std::move(done));
  }
}

void Courier::post(const DeliveryRecord& record, std::uint32_t attempt, Transport::Done done) {
  const CallbackSpec& spec = record.callback.spec;
  Post post;
  post.url = spec.address;
  post.timeout = spec.timeout;
  post.body = transport_->completion_json(record, attempt);
  post.headers = spec.headers;
  post.headers.emplace_back("Content-Type", "application/json");
  post.headers.emplace_back("Futured-Delivery", std::to_string(record.callback.id.value));
  if (!spec.credential.empty()) {
    const auto secret = parts_.rules.secrets.find(spec.credential);
    if (secret == parts_.rules.secrets.end()) {
      return done(Error{ErrorCode::kFailedPrecondition,
                        "the configuration has no secret \"" + spec.credential + "\" any more ([callbacks.secrets])"});
    }
    const std::string timestamp = std::to_string(wall_now().us / 1'000'000);
    post.headers.emplace_back("Futured-Timestamp", timestamp);
    post.headers.emplace_back("Futured-Signature", "v1=" + signature(secret->second, timestamp, post.body));
  }
  webhooks_.post(std::move(post), std::move(done));
}

}  // namespace futured::callback
