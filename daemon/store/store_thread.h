// The store's two threads: StoreThread commits and answers the scheduler in order; ReaderThread answers people beside
// it.
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

#include "daemon/store/store.h"

namespace futured {

// What became of one StoreThread::commit.
struct StoreAnswer {
  std::unique_ptr<Batch> batch;      // as it was given
  std::optional<CommitError> error;  // nothing: batch is on disk, claims and loads are answered
  // When error is kRolledBack, the claims and loads were not asked and come back with the batch, to be tried again.
  std::vector<Claim> claims;
  std::vector<std::vector<JobId>> loads;
  std::vector<DeliveryClaim> delivery_claims;
  // One for each of these questions, in their order; they see the batch.
  std::vector<ClaimAnswer> claimed;
  std::vector<LoadAnswer> loaded;
  std::vector<DeliveryClaimAnswer> deliveries_claimed;
  bool short_of_space = false;  // Store::short_of_space
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
  void commit(std::unique_ptr<Batch> batch, std::vector<Claim> claims, std::vector<std::vector<JobId>> loads,
              Callback callback);
  // The same, of a batch with its questions.
  void commit(StoreAnswer work, Callback callback);
  // The same on the caller's thread, for a batch so small that waking another thread would cost as much. Nothing: the
  // store is being tended, or it is time that it were; the batch is still the caller's.
  [[nodiscard]] std::optional<StoreAnswer> commit_here(std::unique_ptr<Batch>& batch);

 private:
  struct Request {
    StoreAnswer answer;
    Callback callback;
  };

  void run();
  void execute(StoreAnswer& answer);

  std::mutex store_mutex_;
  std::unique_ptr<Store> store_;      // guarded by store_mutex_
  std::size_t commits_untended_ = 0;  // guarded by store_mutex_
  std::mutex mutex_;
  std::condition_variable wake_;
  std::optional<Request> request_;  // guarded by mutex_
  bool in_flight_ = false;          // guarded by mutex_
  bool stopping_ = false;           // guarded by mutex_
  std::thread thread_;              // last: it uses all of the above
};

// Owns a reader and the one thread that uses it. Bounded: it refuses rather than keeping people waiting for long.
class ReaderThread {
 public:
  using Question = std::function<void(StoreReader&)>;

  ReaderThread(std::unique_ptr<StoreReader> reader, std::size_t waiting_max);
  ReaderThread(const ReaderThread&) = delete;
  ReaderThread& operator=(const ReaderThread&) = delete;
  ~ReaderThread();  // after every question that was taken

  // False: `waiting_max` questions wait already, and this one will never be asked.
  [[nodiscard]] bool ask(Question question);

 private:
  void run();

  std::unique_ptr<StoreReader> reader_;
  const std::size_t waiting_max_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Question> waiting_;  // guarded by mutex_
  bool stopping_ = false;         // guarded by mutex_
  std::thread thread_;
};

}  // namespace futured
