// ClientState: everything that one connection is made of. Internal.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "client/cpp/callbacks.h"
#include "client/cpp/convert.h"
#include "client/cpp/follower.h"
#include "client/cpp/home_process.h"
#include "client/cpp/keeper.h"
#include "client/cpp/network.h"
#include "client/cpp/pipeline.h"
#include "client/cpp/registry.h"
#include "client/cpp/sealer.h"
#include "futured/client.h"
#include "segment/socket_client.h"

namespace futured::client {

class ClientState : public std::enable_shared_from_this<ClientState> {
 public:
  // In a child of fork() the last handle leaves it as it is.
  [[nodiscard]] static std::shared_ptr<ClientState> make(std::string address, const ConnectOptions& options);
  ~ClientState();
  ClientState(const ClientState&) = delete;
  ClientState& operator=(const ClientState&) = delete;

  // Throws when this process was forked from the one that connected: gRPC does not survive that.
  void check_process() const { home.check(); }
  // Asks the daemon for the outcome of an open future that is not followed yet.
  void follow(Block& block, std::uint32_t index);
  void follow_known(std::uint64_t id, Block& block, std::uint32_t index);
  // Throws Unavailable unless the daemon answers within the timeout.
  void wait_until_ready();

  // True once the channel is connected; false after a quarter of a second without.
  bool connect_briefly();
  // Throws Unavailable unless the channel is connected within the reconnect timeout.
  void wait_until_connected();
  [[nodiscard]] std::string unreachable() const;

  // One call. `repeatable`: tried again within the reconnect timeout when the connection broke; else sent once, when
  // there is a connection. Throws. Returns when `stop` is requested, as soon as make_call does.
  template <typename Call>
  void call(const Call& make_call, bool repeatable, const std::stop_token& stop = {}) {
    check_process();
    if (!repeatable) wait_until_connected();
    const Milliseconds patience = repeatable ? options.reconnect_timeout : Milliseconds(0);
    Instant until = monotonic_now() + patience;
    std::int64_t backoff_ms = 0;
    while (true) {
      grpc::ClientContext context;
      const Instant begun = monotonic_now();
      const grpc::Status status = make_call(context);
      if (status.ok() || stop.stop_requested()) return;
      // A call that went on for a while was connected: it broke only now.
      if (monotonic_now() - begun > std::chrono::seconds(1)) {
        until = monotonic_now() + patience;
        backoff_ms = 0;
      }
      if (!is_transient(status) || !pause_before_retry(until, backoff_ms, stop)) {
        std::rethrow_exception(describe_failure(status));
      }
    }
  }
  // What futures ask for by themselves. As in Client.
  [[nodiscard]] JobInfo get_job(std::uint64_t id, bool details);
  [[nodiscard]] Outcome get_result(std::uint64_t id);
  std::vector<CancelEntry> cancel(std::span<const std::uint64_t> ids, const CancelOptions& how);

  // Shares sealed memory with the daemon. Throws.
  Segment put(const futured::Segment& sealed, std::string_view dtype, std::vector<std::int64_t> shape);
  // Not on the daemon's machine, as far as one can tell: arrays travel through Segments.Upload and Download.
  [[nodiscard]] bool is_remote() const { return !address.starts_with('/') && !address.starts_with("unix:"); }
  // As put(), sent through the connection. Throws.
  Segment upload(std::span<const std::byte> bytes, std::string_view dtype, std::vector<std::int64_t> shape);
  // Bytes [begin, end) of a segment, in memory of their own; end = 0: to its end. Throws.
  [[nodiscard]] MappedBytes download(const Segment& segment);
  void release(std::uint64_t segment);
  // The same upload, to the daemon's disk, wherever the client is.
  StoredSegment store(std::span<const std::byte> bytes, std::string_view dtype, const std::vector<std::int64_t>& shape);
  StoredSegment find_stored(const std::string& digest);
  // The segment socket, connected with the first use and kept: closing it gives up what was put. When a kept one turns
  // out to have been closed, as by a restart, another is connected and asked: `repeatable`, or nothing was sent.
  // Throws.
  template <typename Use>
  auto with_segments(const Use& use, bool repeatable) {
    check_process();
    const std::lock_guard guard(segments_mutex_);
    while (true) {
      const bool is_kept = segments_.has_value();
      if (!is_kept) segments_.emplace(connect_segments());
      auto result = use(*segments_);
      if (result.ok() || !breaks_connection(result.error())) return result;
      segments_.reset();
      const bool may_repeat = repeatable || was_not_sent(result.error());
      if (!is_kept || !may_repeat || result.error().code != ErrorCode::kUnavailable) return result;
    }
  }

  // The exception of a status; a connection that failed names the address and the way out.
  [[nodiscard]] std::exception_ptr describe_failure(const grpc::Status& status) const;

  const HomeProcess home;
  const std::string address;
  const ConnectOptions options;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<api::Jobs::Stub> jobs;
  std::unique_ptr<api::Queues::Stub> queues;
  std::unique_ptr<api::Schedules::Stub> schedules;
  std::unique_ptr<api::Semaphores::Stub> semaphores;
  std::unique_ptr<api::Cache::Stub> cache;
  std::unique_ptr<api::Events::Stub> named_events;
  std::unique_ptr<api::Pools::Stub> pools;
  std::unique_ptr<api::Workers::Stub> workers;
  std::unique_ptr<api::Admin::Stub> admin;
  std::unique_ptr<api::Callbacks::Stub> completions;
  std::unique_ptr<api::Segments::Stub> remote_segments;
  Network network;
  Registry registry;
  CallbackThread callbacks;
  Sealer sealer;
  CallbackThread fetcher;  // for coroutines: calls that wait for the daemon, off the loop
  Keeper keeper;
  Follower follower;
  Pipeline pipeline;

 private:
  ClientState(std::string address, const ConnectOptions& options);

  // Waits a little, longer each time; false when `until` would pass.
  bool pause_before_retry(Instant until, std::int64_t& backoff_ms, const std::stop_token& stop = {});

  [[nodiscard]] SegmentClient connect_segments();
  static bool breaks_connection(const futured::Error& error) {
    return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kDeadlineExceeded ||
           error.code == ErrorCode::kDataLoss;
  }
  // The socket takes a message whole or not at all.
  static bool was_not_sent(const futured::Error& error) {
    return error.message.starts_with("segment socket: sendmsg: ");
  }

  // What a segment socket does by being closed. Best effort: the daemon lets go of it by itself, later.
  void release_uploads();
  api::Segment send_upload(std::span<const std::byte> bytes, std::string_view dtype,
                           const std::vector<std::int64_t>& shape, bool durable);

  std::mutex segments_mutex_;
  std::set<std::uint64_t> uploads_;  // not released; guarded by segments_mutex_
  std::optional<SegmentClient> segments_;
};

// Hands the outcomes of one message to their futures.
void deliver(Registry& registry, google::protobuf::RepeatedPtrField<api::Outcome>& outcomes,
             const google::protobuf::RepeatedPtrField<api::PackedOutcomes>& packed);

// The next wait of a doubling backoff, in milliseconds.
[[nodiscard]] std::int64_t next_backoff_ms(std::int64_t last_ms);

}  // namespace futured::client
