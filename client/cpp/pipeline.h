// Pipeline: gathers submissions into batches and moves them over one SubmitStream. Internal.
//
// Batching is natural: a batch leaves as soon as fewer than kBatchesOutMax are unacknowledged and no write is in
// flight; what is submitted meanwhile gathers in the next one. There is no timer.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "client/cpp/block.h"
#include "client/cpp/convert.h"

namespace futured::client {

class ClientState;
class SubmitStream;

// Options and task that a batch shares.
struct Spec {
  api::JobSpec proto;
  std::string content_type;  // of payloads that are one part of bytes
  bool follow = true;
  std::shared_ptr<Tally> tally;
};

class Pipeline {
 public:
  explicit Pipeline(ClientState& client) : client_(client) {}

  // A job with one part of bytes.
  Future submit(const std::shared_ptr<const Spec>& spec, std::string_view payload);
  // Any other job; `bytes` is about what it takes on the wire. One with an idempotency key is sent again when the
  // stream breaks before its receipt.
  Future submit(const std::shared_ptr<const Spec>& spec, api::Item item, std::size_t bytes);
  // Jobs with one part of bytes, as one message that nothing joins.
  std::vector<Future> submit_all(const std::shared_ptr<const Spec>& spec, std::span<const std::string> payloads,
                                 const std::string& key);

  // Until everything submitted so far is acknowledged or refused.
  void flush();
  // Ends the stream and waits for its end; what is not acknowledged is refused with `why`.
  void close(const std::exception_ptr& why);

 private:
  friend class SubmitStream;
  struct Batch {
    std::shared_ptr<const Spec> spec;
    std::unique_ptr<api::SubmitStreamRequest> request;
    std::vector<BlockRef> blocks;                             // their ids will be consecutive; or
    std::vector<std::pair<BlockRef, std::uint32_t>> singles;  // futures of a batch that goes again without an item
    bool keyed = false;     // it, or every item, has an idempotency key: may be sent twice
    bool complete = false;  // nothing may join it
    std::uint64_t client_ref = 0;
    std::uint32_t count = 0;
    std::size_t bytes = 0;
  };
  using Lock = std::unique_lock<std::mutex>;

  enum class Kind : std::uint8_t { kPacked, kItems, kKeyedItems };
  void wait_for_room(std::size_t bytes, Lock& lock);
  Batch& room_for(const std::shared_ptr<const Spec>& spec, Kind kind, std::size_t bytes, Lock& lock);
  Batch& new_batch(const std::shared_ptr<const Spec>& spec, Kind kind);
  Future add_packed(Batch& batch, std::string_view payload);
  Future add_job(Batch& batch, std::size_t bytes);
  void open_stream();         // under mutex_, with the channel connected
  void connect_later();       // under mutex_: on the keeper's thread, after the backoff
  void connect();             // on the keeper's thread
  void send_next(Lock lock);  // one batch, if it may leave now
  [[nodiscard]] std::deque<Batch> take_gathered();
  void send_again(Batch batch);  // under mutex_: before all that is gathered

  // From the stream, on the network's thread.
  void written(bool ok);
  void received(api::SubmitStreamResponse& response);
  void read_ended();
  void forget_stream();
  void ended(const grpc::Status& status);

  void acknowledge(const api::Receipt& receipt);
  void accept(Batch& batch, const api::Receipt& receipt);
  void follow_wanted(Block& block);
  void refuse(Batch& batch, const api::Receipt& receipt);
  static void make_singles(Batch& batch);
  static void refuse_jobs(Batch& batch, const std::exception_ptr& why);

  ClientState& client_;
  std::mutex mutex_;
  std::condition_variable room_;   // gathered_ has shrunk
  std::condition_variable quiet_;  // nothing gathered or sent, or the stream has ended
  std::deque<Batch> gathered_;
  std::size_t gathered_jobs_ = 0;
  std::size_t gathered_bytes_ = 0;
  std::deque<Batch> sent_;  // not acknowledged; at most kBatchesOutMax
  std::uint64_t next_ref_ = 1;

  SubmitStream* stream_ = nullptr;                           // owns itself; gone after ended()
  bool writing_ = false;                                     // whoever set it may call write() once
  std::unique_ptr<api::SubmitStreamRequest> being_written_;  // kept while gRPC may look at it
  bool dead_ = false;                                        // the stream takes no more writes
  bool read_ended_ = false;
  std::shared_ptr<const Spec> stream_spec_;  // of the last message of this stream
  bool connecting_ = false;                  // an errand of the keeper will open a stream
  bool closing_ = false;
  int ending_ = 0;         // streams whose end is being dealt with
  Instant down_since_{0};  // 0: not down
  std::int64_t backoff_ms_ = 0;
};

}  // namespace futured::client
