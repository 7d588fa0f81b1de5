// OutputCall: what a job wrote, from the store, or live and then the rest from the store; and how far it says it is.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "daemon/rpc/bytes_source.h"
#include "daemon/rpc/streamed_answer.h"
#include "futured/v1/futured.pb.h"

namespace futured::rpc {

// Live chunks are a convenience of the loop. Of who comes late, or falls behind them by more than
// limits::kFollowBytesMax, some are missed. The gap is filled from the worker's file as soon as that reaches so far,
// else from the stored result when the job has ended; until then nothing behind the gap is sent: late, but whole.
class OutputCall final : public StreamedAnswer<api::ReadOutputResponse>,
                         public OutputSink,
                         public std::enable_shared_from_this<OutputCall> {
 public:
  static grpc::ServerWriteReactor<api::ReadOutputResponse>* open(Front& front, grpc::CallbackServerContext* context,
                                                                 const api::ReadOutputRequest& request);
  OutputCall(Front& front, grpc::CallbackServerContext* context, const api::ReadOutputRequest& request);

  // The loop's thread.
  void chunk(const OutputChunk& chunk) override;
  void progress(const JobProgress& progress) override;
  void alive(const Fence& fence, WallTime at) override;
  void ended(JobId job) override;

 private:
  enum class Phase {
    kOpening,   // is the job there, and does it run?
    kLive,      // chunks are sent as they come
    kSnapshot,  // those that there are, and no more
    kStored,    // from the result
  };
  struct Chunk {
    Fence fence;
    std::size_t stream = 0;
    std::uint64_t offset = 0;
    std::string data;
  };
  struct Progress {
    std::uint32_t attempt = 0;
    double fraction = 0;
    std::string message;
  };
  struct Alive {
    std::uint32_t attempt = 0;
    WallTime at;
  };
  enum class Filled {
    kNothing,  // all of the chunk is known to the client, or has to wait
    kPart,     // something that lies before it: it is still to come
    kAll,
  };
  static constexpr std::size_t kStreams = 4;
  struct Stored {
    CapturedOutput output;
    BytesSource source;
  };
  using Lock = std::unique_lock<std::mutex>;

  void start();
  void look(const Loop& loop);
  void ask_store();
  void fail(const Error& error, Lock lock);
  void read(StoreReader& reader);
  [[nodiscard]] Status take_record(JobRecord record, Lock& lock);
  [[nodiscard]] Status check_attempt(const JobRecord& record) const;
  [[nodiscard]] bool takes(const Fence& fence) const;
  void take_role(Lock lock);

  // In the sender's role.
  void send_next();
  [[nodiscard]] Filled fill_from_chunk(Chunk& chunk);
  [[nodiscard]] bool fill_from_file(const Chunk& chunk);
  void put_back(Chunk chunk);
  void add_missed();
  void fill_progress(Progress progress);
  [[nodiscard]] Result<bool> fill_from_store();
  void fill_end();
  void begin_attempt(std::uint32_t attempt);

  void OnWriteDone(bool ok) override;
  void interrupted() override;
  void released() override;

  const api::ReadOutputRequest request_;
  const JobId job_;

  // The sender's role; kStored: set before the phase.
  api::ReadOutputResponse out_;
  bool end_told_ = false;
  std::uint32_t attempt_ = 0;                   // of what was sent last; 0: nothing yet
  std::array<std::uint64_t, kStreams> next_{};  // offset wanted next, of each stream
  std::array<bool, kStreams> begun_{};
  std::string result_;  // what `stored_` are views into
  std::vector<Stored> stored_;
  std::optional<api::Outcome> outcome_;
  std::uint32_t stored_attempt_ = 0;

  std::mutex mutex_;  // guards all below
  Phase phase_ = Phase::kOpening;
  bool sending_ = false;         // somebody has the sender's role
  bool over_ = false;            // end() was called
  bool ended_early_ = false;     // while the job was looked for
  std::optional<LiveJob> seen_;  // by the loop, at the start
  SpoolUser spool_user_;         // who writes the spool files of the job's attempts, which all run in one pool
  std::optional<Error> failure_;
  std::deque<Chunk> chunks_;
  std::size_t chunk_bytes_ = 0;
  std::array<std::optional<Fence>, kStreams> missed_;  // of this attempt something made no chunk: its file is looked at
  std::optional<Progress> progress_;                   // the latest that was not sent
  std::optional<Alive> alive_;                         // likewise
};

}  // namespace futured::rpc
