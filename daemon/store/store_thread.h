// The store's threads: StoreThread commits and answers the scheduler in order; beside it ReaderThread answers people,
// and KeeperThread writes large payloads ahead of their commit.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/loop_gauge.h"
#include "daemon/store/store.h"

namespace futured {

// What is read behind a commit; it sees the batch.
struct StoreQuestions {
  std::vector<Claim> claims;
  std::vector<std::vector<JobId>> loads;
  std::vector<KeyQuery> keys;
  std::vector<DelayedClaim> delayed_claims;
  std::vector<DeliveryClaim> delivery_claims;
  std::vector<BatchQuery> batches;
  std::vector<JobId> cache_reads;
  std::optional<TrimQuestion> trim;  // one step; it never makes the answers to a batch wait

  [[nodiscard]] bool empty() const {
    return claims.empty() && loads.empty() && keys.empty() && delayed_claims.empty() && delivery_claims.empty() &&
           batches.empty() && cache_reads.empty() && !trim;
  }
};

// What became of one StoreThread::commit.
struct StoreAnswer {
  std::unique_ptr<Batch> batch;      // as it was given
  std::optional<CommitError> error;  // nothing: batch is on disk, the questions are answered
  // When error is kRolledBack, nothing was asked, and the questions come back with the batch, to be tried again.
  StoreQuestions questions;
  // One for each question, in their order.
  std::vector<ClaimAnswer> claimed;
  std::vector<LoadAnswer> loaded;
  KeyAnswer keys;
  std::vector<DelayedAnswer> delayed_claimed;
  std::vector<DeliveryClaimAnswer> deliveries_claimed;
  std::vector<BatchAnswer> batches;
  CacheAnswer cached;
  bool short_of_space = false;  // Store::short_of_space
  // Of the step that this one asked for, when its batch was empty; else it is made behind it, and the next one tells.
  std::optional<Result<TrimAnswer>> trimmed;
};

// Owns a store and the one thread that writes it. A read that fails is reported as a kUnknown error, though its batch
// is on disk: a store that cannot be read is no store to go on with.
class StoreThread {
 public:
  using Callback = std::function<void(StoreAnswer)>;

  explicit StoreThread(std::unique_ptr<Store> store);
  StoreThread(const StoreThread&) = delete;
  StoreThread& operator=(const StoreThread&) = delete;
  ~StoreThread();  // after what is in flight and its callback

  // Commits the batch, then reads, then calls back on the store thread. One at a time: the next may be given from the
  // moment the callback is entered. Never waits. `batch` may be empty, never null.
  void commit(std::unique_ptr<Batch> batch, StoreQuestions questions, Callback callback);
  // The same on the caller's thread, for a batch so small that waking another thread would cost as much. Nothing: the
  // store is being tended, or it is time that it were; the batch is still the caller's.
  [[nodiscard]] std::optional<StoreAnswer> commit_here(std::unique_ptr<Batch>& batch);

  // Turns are commits on its thread; they lag from commit() on, and so behind the tending of the one before.
  [[nodiscard]] std::shared_ptr<const LoopGauge> gauge() const { return gauge_; }

 private:
  struct Request {
    StoreAnswer answer;
    Callback callback;
    Instant asked;
  };

  void run();
  void execute(StoreAnswer& answer);

  std::mutex store_mutex_;
  std::unique_ptr<Store> store_;               // guarded by store_mutex_
  std::size_t commits_untended_ = 0;           // guarded by store_mutex_
  std::optional<Result<TrimAnswer>> trimmed_;  // not told yet; guarded by store_mutex_
  std::mutex mutex_;
  std::condition_variable wake_;
  std::optional<Request> request_;  // guarded by mutex_
  bool in_flight_ = false;          // guarded by mutex_
  bool stopping_ = false;           // guarded by mutex_
  const std::shared_ptr<LoopGauge> gauge_ = std::make_shared<LoopGauge>("store");
  std::thread thread_;  // last: it uses all of the above
};

// Owns what is asked and the one thread that asks it. Bounded: it refuses rather than keeping people waiting for long.
template <typename Asked>
class QuestionThread {
 public:
  using Question = std::function<void(Asked&)>;

  QuestionThread(const char* name, std::unique_ptr<Asked> asked, std::size_t waiting_max);
  QuestionThread(const QuestionThread&) = delete;
  QuestionThread& operator=(const QuestionThread&) = delete;
  ~QuestionThread();  // after every question that was taken

  // False: `waiting_max` questions wait already, and this one will never be asked.
  [[nodiscard]] bool ask(Question question);

  // Turns are questions; they lag from ask() on, and so behind those that came before.
  [[nodiscard]] std::shared_ptr<const LoopGauge> gauge() const { return gauge_; }

 private:
  struct Waiting {
    Question question;
    Instant asked;
  };

  void run();

  const std::unique_ptr<Asked> asked_;
  const std::size_t waiting_max_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> waiting_;  // guarded by mutex_
  bool stopping_ = false;        // guarded by mutex_
  const std::shared_ptr<LoopGauge> gauge_;
  std::thread thread_;
};

class ReaderThread final : public QuestionThread<StoreReader> {
 public:
  ReaderThread(std::unique_ptr<StoreReader> reader, std::size_t waiting_max)
      : QuestionThread("reader", std::move(reader), waiting_max) {}
};

class KeeperThread final : public QuestionThread<PayloadKeeper> {
 public:
  KeeperThread(std::unique_ptr<PayloadKeeper> keeper, std::size_t waiting_max)
      : QuestionThread("payloads", std::move(keeper), waiting_max) {}
};

}  // namespace futured
