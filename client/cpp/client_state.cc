#include "client/cpp/client_state.h"

#include <algorithm>
#include <condition_variable>
#include <utility>

#include "client/cpp/bounds.h"

namespace futured::client {

namespace {

// What gRPC calls the address.
std::string target_of(const std::string& address) { return address.starts_with('/') ? "unix:" + address : address; }

std::shared_ptr<grpc::Channel> make_channel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // the daemon bounds what it sends; results may be large
  arguments.SetMaxSendMessageSize(-1);     // and refuses what is too large by name
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own, not one shared in the process
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 4 * 1024 * 1024);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(target_of(address), grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

std::shared_ptr<ClientState> ClientState::make(std::string address, const ConnectOptions& options) {
  // In a child of fork() it is leaked: what its threads held when they were left behind cannot be known, so nothing of
  // it can be taken down.
  const auto let_go = [](ClientState* state) {
    if (state->home.is_here()) delete state;
  };
  return {new ClientState(std::move(address), options), let_go};
}

ClientState::ClientState(std::string daemon_address, const ConnectOptions& connect_options)
    : address(std::move(daemon_address)),
      options(connect_options),
      channel(make_channel(address)),
      jobs(api::Jobs::NewStub(channel)),
      queues(api::Queues::NewStub(channel)),
      schedules(api::Schedules::NewStub(channel)),
      semaphores(api::Semaphores::NewStub(channel)),
      cache(api::Cache::NewStub(channel)),
      named_events(api::Events::NewStub(channel)),
      pools(api::Pools::NewStub(channel)),
      workers(api::Workers::NewStub(channel)),
      admin(api::Admin::NewStub(channel)),
      completions(api::Callbacks::NewStub(channel)),
      remote_segments(api::Segments::NewStub(channel)),
      callbacks(options.on_callback_error),
      fetcher(options.on_callback_error),
      follower(*this),
      pipeline(*this) {}

ClientState::~ClientState() {
  const auto closed = std::make_exception_ptr(Unavailable("the client was closed before this job ended"));
  pipeline.flush();  // what was submitted is not dropped; it fails by itself when the daemon stays away
  pipeline.close(closed);
  release_uploads();
  follower.close();
  keeper.stop();
  registry.refuse_everything(closed);
}

void ClientState::follow(Block& block, std::uint32_t index) {
  std::uint64_t id = 0;
  {
    const auto guard = block.lock();
    if (block.ended(index) || block.slot(index).followed) return;
    block.mark_followed(index);
    id = block.id_of(index);
  }
  if (id != 0) follow_known(id, block, index);  // else the pipeline does so with the receipt
}

void ClientState::follow_known(std::uint64_t id, Block& block, std::uint32_t index) {
  registry.attach(id, BlockRef::share(&block), index);
  follower.follow(id);
}

void ClientState::wait_until_ready() {
  const Instant until = monotonic_now() + options.connect_timeout;
  std::int64_t backoff_ms = 0;
  while (true) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::max(options.connect_timeout, Milliseconds(1'000)));
    api::InfoResponse response;
    const grpc::Status status = admin->Info(&context, {}, &response);
    if (status.ok() || status.error_code() == grpc::StatusCode::UNIMPLEMENTED) return;
    if (!is_transient(status) || !pause_before_retry(until, backoff_ms)) {
      std::rethrow_exception(describe_failure(status));
    }
  }
}

bool ClientState::connect_briefly() {
  const auto connected = [this] {
    return channel->WaitForConnected(std::chrono::system_clock::now() + Milliseconds(250));
  };
  if (connected()) return true;
  if (!options.when_unreachable) return false;
  options.when_unreachable();
  return connected();
}

void ClientState::wait_until_connected() {
  const Instant until = monotonic_now() + options.reconnect_timeout;
  while (!connect_briefly()) {
    if (monotonic_now() >= until) throw Unavailable(unreachable());
  }
}

std::string ClientState::unreachable() const { return "no connection to the daemon at " + address; }

std::exception_ptr ClientState::describe_failure(const grpc::Status& status) const {
  if (!is_transient(status)) return to_exception(status);
  return std::make_exception_ptr(Unavailable(unreachable() + " (" + status.error_message() + ")"));
}

bool ClientState::pause_before_retry(Instant until, std::int64_t& backoff_ms, const std::stop_token& stop) {
  backoff_ms = next_backoff_ms(backoff_ms);
  const Instant next = monotonic_now() + Milliseconds(backoff_ms);
  if (next > until) return false;
  if (options.when_unreachable && channel->GetState(/*try_to_connect=*/true) != GRPC_CHANNEL_READY) {
    options.when_unreachable();
  }
  std::mutex alone;
  std::unique_lock lock(alone);
  std::condition_variable_any().wait_for(lock, stop, Milliseconds(backoff_ms), [] { return false; });
  return true;
}

std::int64_t next_backoff_ms(std::int64_t last_ms) {
  return last_ms == 0 ? kBackoffFirstMs : std::min(last_ms * 2, kBackoffLastMs);
}

void deliver(Registry& registry, google::protobuf::RepeatedPtrField<api::Outcome>& outcomes,
             const google::protobuf::RepeatedPtrField<api::PackedOutcomes>& packed) {
  if (outcomes.empty() && packed.empty()) return;
  Delivery delivery(registry);
  for (const api::PackedOutcomes& group : packed) {
    std::string_view rest = group.results();
    for (int i = 0; i < static_cast<int>(group.count()); ++i) {
      // A peer's numbers: what does not fit is left out.
      if (group.id_offsets_size() != 0 && i >= group.id_offsets_size()) break;
      const std::uint64_t offset = group.id_offsets_size() == 0 ? static_cast<std::uint64_t>(i) : group.id_offsets(i);
      const std::size_t size = i < group.sizes_size() ? group.sizes(i) : 0;
      if (size > rest.size()) break;
      delivery.simple(group.first_id() + offset, rest.substr(0, size));
      rest.remove_prefix(size);
    }
  }
  for (api::Outcome& outcome : outcomes) delivery.full(from_outcome(std::move(outcome)));
}

}  // namespace futured::client
