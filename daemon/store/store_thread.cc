#include "daemon/store/store_thread.h"

#include <utility>

#include "base/check.h"

namespace futured {

namespace {

constexpr std::size_t kCommitsUntendedMax = 64;

}  // namespace

StoreThread::StoreThread(std::unique_ptr<Store> store) : store_(std::move(store)), thread_([this] { run(); }) {}

StoreThread::~StoreThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void StoreThread::commit(std::unique_ptr<Batch> batch, StoreQuestions questions, Callback callback) {
  FUTURED_CHECK(batch != nullptr, "a commit without changes has an empty batch");
  StoreAnswer answer;
  answer.batch = std::move(batch);
  answer.questions = std::move(questions);
  {
    const std::lock_guard lock(mutex_);
    FUTURED_CHECK(!in_flight_, "one commit at a time");
    FUTURED_CHECK(!stopping_, "no commit after the end");
    in_flight_ = true;
    request_.emplace(Request{std::move(answer), std::move(callback), monotonic_now()});
  }
  wake_.notify_one();
}

std::optional<StoreAnswer> StoreThread::commit_here(std::unique_ptr<Batch>& batch) {
  if (store_->writes_files(*batch)) return std::nullopt;
  const std::unique_lock lock(store_mutex_, std::try_to_lock);
  if (!lock.owns_lock() || commits_untended_ >= kCommitsUntendedMax || store_->wants_tending()) return std::nullopt;
  ++commits_untended_;
  StoreAnswer answer;
  answer.batch = std::move(batch);
  execute(answer);
  return answer;
}

void StoreThread::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return request_.has_value() || stopping_; });
    if (!request_) return;
    Request request = *std::exchange(request_, std::nullopt);
    lock.unlock();
    gauge_->begin(monotonic_now());
    gauge_->due(request.asked);
    std::unique_lock store_lock(store_mutex_);
    execute(request.answer);
    const bool trims_later = !request.answer.error && request.answer.questions.trim && !request.answer.trimmed;
    const std::optional<TrimQuestion> trim = trims_later ? request.answer.questions.trim : std::nullopt;
    lock.lock();
    in_flight_ = false;
    lock.unlock();
    request.callback(std::move(request.answer));
    gauge_->stage("commit", monotonic_now());
    // The answers are on their way: now there is time for what they need not wait for.
    if (trim) {
      trimmed_ = store_->trim(*trim);
      gauge_->stage("retention", monotonic_now());
    }
    store_->tend();
    commits_untended_ = 0;
    store_lock.unlock();
    const Instant tended = monotonic_now();
    gauge_->stage("tending the database", tended);
    gauge_->end(tended, "commit");
    lock.lock();
  }
}

void StoreThread::execute(StoreAnswer& answer) {
  answer.error = store_->commit(*answer.batch);
  answer.short_of_space = store_->short_of_space();
  if (answer.error) return;
  answer.trimmed = std::exchange(trimmed_, std::nullopt);
  if (answer.questions.trim && !answer.trimmed && answer.batch->empty()) {
    answer.trimmed = store_->trim(*answer.questions.trim);
  }
  const auto cannot_read = [&](const Error& error) { answer.error = CommitError{CommitFault::kUnknown, error}; };
  for (const Claim& claim : answer.questions.claims) {
    Result<ClaimAnswer> claimed = store_->claim(claim);
    if (!claimed) return cannot_read(claimed.error());
    answer.claimed.push_back(*std::move(claimed));
  }
  for (const std::vector<JobId>& ids : answer.questions.loads) {
    Result<LoadAnswer> loaded = store_->load(ids);
    if (!loaded) return cannot_read(loaded.error());
    answer.loaded.push_back(*std::move(loaded));
  }
  for (const DelayedClaim& claim : answer.questions.delayed_claims) {
    Result<DelayedAnswer> claimed = store_->claim(claim);
    if (!claimed) return cannot_read(claimed.error());
    answer.delayed_claimed.push_back(*std::move(claimed));
  }
  for (const DeliveryClaim& claim : answer.questions.delivery_claims) {
    Result<DeliveryClaimAnswer> claimed = store_->claim(claim);
    if (!claimed) return cannot_read(claimed.error());
    answer.deliveries_claimed.push_back(*std::move(claimed));
  }
  for (const BatchQuery& query : answer.questions.batches) {
    Result<BatchAnswer> read = store_->read_batch(query);
    if (!read) return cannot_read(read.error());
    answer.batches.push_back(*std::move(read));
  }
  if (!answer.questions.cache_reads.empty()) {
    Result<CacheAnswer> cached = store_->read_cache(answer.questions.cache_reads);
    if (!cached) return cannot_read(cached.error());
    answer.cached = *std::move(cached);
  }
  if (answer.questions.keys.empty()) return;
  Result<KeyAnswer> keys = store_->find_keys(answer.questions.keys);
  if (!keys) return cannot_read(keys.error());
  answer.keys = *std::move(keys);
}

template <typename Asked>
QuestionThread<Asked>::QuestionThread(const char* name, std::unique_ptr<Asked> asked, std::size_t waiting_max)
    : asked_(std::move(asked)),
      waiting_max_(waiting_max),
      gauge_(std::make_shared<LoopGauge>(name)),
      thread_([this] { run(); }) {}

template <typename Asked>
QuestionThread<Asked>::~QuestionThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

template <typename Asked>
bool QuestionThread<Asked>::ask(Question question) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= waiting_max_) return false;
    waiting_.push_back({std::move(question), monotonic_now()});
  }
  wake_.notify_one();
  return true;
}

template <typename Asked>
void QuestionThread<Asked>::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return !waiting_.empty() || stopping_; });
    if (waiting_.empty()) return;
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    gauge_->begin(monotonic_now());
    gauge_->due(next.asked);
    std::exchange(next.question, nullptr)(*asked_);  // what it holds ends with it
    gauge_->end(monotonic_now(), "question");
    lock.lock();
  }
}

template class QuestionThread<StoreReader>;
template class QuestionThread<PayloadKeeper>;

}  // namespace futured
