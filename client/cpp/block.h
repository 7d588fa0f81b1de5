// Block: the state of up to 512 futures under one lock, and how those who wait for them are told.
// Internal. Nothing here knows gRPC.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "client/cpp/home_process.h"
#include "futured/future.h"
#include "futured/types.h"

namespace futured::client {

class ClientState;
class Block;
class Notices;

// One completion, as it is told to a Sink.
struct Notice {
  Block* block;
  std::uint32_t index;
  std::uint64_t cookie;  // whatever the listener was added with
  bool succeeded;
};

// Somebody who waits for futures. Called on a network thread, without locks held: takes note and returns.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void completed(const Notice* notices, std::size_t count) = 0;
};

// How many jobs of an executor are open; shared by its blocks.
struct Tally {
  std::atomic<std::uint64_t> open{0};
  std::mutex mutex;
  std::condition_variable none_open;
  void closed(std::uint64_t count) {
    if (open.fetch_sub(count) != count) return;
    const std::lock_guard lock(mutex);
    none_open.notify_all();
  }
};

// How a job ended when there is more to say than "succeeded, with these bytes".
struct Ending {
  Outcome outcome;
  std::exception_ptr refusal;  // set: there is no outcome; this is why
};

enum class Phase : std::uint8_t {
  kOpen,    // not ended, as far as we know
  kSimple,  // succeeded; `bytes` is the only part
  kFull,    // `ending` tells
};

struct Slot {
  std::atomic<Phase> phase{Phase::kOpen};
  bool followed = false;           // the daemon will send its outcome unasked
  bool had_callback = false;       // later callbacks must queue behind earlier ones
  std::uint32_t listeners = 0;     // index + 1 of the first in Block::listeners_
  std::string bytes;               // these two never change once phase is not kOpen,
  std::unique_ptr<Ending> ending;  // so that they are read without the lock
};

enum class Listening : std::uint8_t {
  kEnded,        // already: the sink will not hear of it
  kFollowed,     // the sink will be told
  kNotFollowed,  // the sink will be told once somebody asks the daemon for the outcome
};

// Reference counted by hand: a Future is then two words, and a batch of 512 shares one count.
class Block {
 public:
  // With one reference, for the caller. `first_id` 0: not known before the receipt.
  static Block* make(std::uint32_t capacity, std::weak_ptr<ClientState> client, std::shared_ptr<Tally> tally,
                     bool followed, std::uint64_t first_id);
  void acquire() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    // In a child of fork() it stays: threads that did not come along may have held what it is made of.
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1 && home_.is_here()) delete this;
  }

  // Room for one more future. Only the pipeline, under its lock, before the batch leaves.
  [[nodiscard]] bool full() const { return count_ == capacity_; }
  std::uint32_t add_slot() { return count_++; }
  [[nodiscard]] std::uint32_t count() const { return count_; }
  [[nodiscard]] Future future(std::uint32_t index) {
    acquire();
    return Future(this, index);
  }

  [[nodiscard]] Slot& slot(std::uint32_t index) { return slots_[index]; }
  [[nodiscard]] bool ended(std::uint32_t index) const {
    return slots_[index].phase.load(std::memory_order_acquire) != Phase::kOpen;
  }
  // 0 before the receipt; kSingleIds when the ids are not consecutive.
  [[nodiscard]] std::uint64_t first_id() const { return first_id_.load(std::memory_order_acquire); }
  // 0 when not known.
  [[nodiscard]] std::uint64_t id_of(std::uint32_t index) const {
    const std::uint64_t first = first_id();
    if (first == kSingleIds) return single_ids_[index].load(std::memory_order_acquire);
    return first == 0 ? 0 : first + index;
  }
  static constexpr std::uint64_t kSingleIds = UINT64_MAX;
  [[nodiscard]] std::shared_ptr<ClientState> client() const { return client_.lock(); }
  // Where the threads live that will end what is open here.
  [[nodiscard]] const HomeProcess& home() const { return home_; }
  [[nodiscard]] const std::shared_ptr<Tally>& tally() const { return tally_; }

  // Waits until the id is known, or the job has been refused (then 0). Throws where nobody will tell, in a child of
  // fork(), as do all that wait.
  std::uint64_t wait_for_id(std::uint32_t index);
  // True when either has happened by then; without a deadline, waits for it.
  bool wait_for_answer(std::uint32_t index, std::optional<std::chrono::steady_clock::time_point> deadline);

  [[nodiscard]] Listening add_listener(std::uint32_t index, const std::shared_ptr<Sink>& sink, std::uint64_t cookie);
  void remove_listener(std::uint32_t index, const Sink* sink);
  // How many there is room for: the most that there ever were at once.
  [[nodiscard]] std::size_t listeners() const { return listeners_.size(); }

  // ---- Endings: under lock(); those who wait are collected and told after unlocking.
  [[nodiscard]] std::unique_lock<std::mutex> lock() { return std::unique_lock(mutex_); }
  void end_simple(std::uint32_t index, std::string_view bytes, Notices& notices);
  void end_full(std::uint32_t index, std::unique_ptr<Ending> ending, Notices& notices);
  // Slots that nobody has ended and the daemon was asked for.
  [[nodiscard]] std::uint32_t open_followed() const { return open_followed_; }
  void mark_followed(std::uint32_t index);
  void set_first_id(std::uint64_t first_id);
  // An id for one future only, when others of its block were refused or got theirs at another time.
  void set_single_id(std::uint32_t index, std::uint64_t id);

 private:
  Block(std::uint32_t capacity, std::weak_ptr<ClientState> client, std::shared_ptr<Tally> tally, bool followed,
        std::uint64_t first_id);
  ~Block() = default;
  void end(std::uint32_t index, Phase phase, bool succeeded, Notices& notices);
  std::uint32_t room_for_listener();
  void free_listener(std::uint32_t at);

  struct Listener {
    std::shared_ptr<Sink> sink;
    std::uint64_t cookie = 0;
    std::uint32_t next = 0;  // index + 1, of the future's next one, or of the next free one
  };

  const HomeProcess home_;
  std::atomic<std::uint32_t> references_{1};
  const std::uint32_t capacity_;
  std::uint32_t count_ = 0;
  std::atomic<std::uint64_t> first_id_;
  std::uint32_t open_followed_ = 0;
  std::mutex mutex_;
  std::condition_variable ids_known_;
  std::weak_ptr<ClientState> client_;
  std::shared_ptr<Tally> tally_;
  std::unique_ptr<Slot[]> slots_;
  std::unique_ptr<std::atomic<std::uint64_t>[]> single_ids_;
  std::vector<Listener> listeners_;
  std::uint32_t free_listeners_ = 0;  // index + 1 of the first
};

// What a Future points at.
struct FutureAccess {
  static Block* block(const Future& future) { return future.block_; }
  static std::uint32_t index(const Future& future) { return future.index_; }
};

// A counted pointer to a Block.
class BlockRef {
 public:
  BlockRef() = default;
  explicit BlockRef(Block* taken) : block_(taken) {}  // takes over one reference
  static BlockRef share(Block* block) {
    block->acquire();
    return BlockRef(block);
  }
  BlockRef(BlockRef&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  BlockRef& operator=(BlockRef&& other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  BlockRef(const BlockRef&) = delete;
  BlockRef& operator=(const BlockRef&) = delete;
  ~BlockRef() {
    if (block_ != nullptr) block_->release();
  }
  Block* operator->() const { return block_; }
  [[nodiscard]] Block* get() const { return block_; }

 private:
  Block* block_ = nullptr;
};

// Completions gathered under locks, told when the locks are gone.
class Notices {
 public:
  ~Notices() { tell(); }
  void add(std::shared_ptr<Sink> sink, Notice notice);
  void closed(const std::shared_ptr<Tally>& tally);
  void tell();

 private:
  std::vector<std::shared_ptr<Sink>> sinks_;
  std::vector<Notice> notices_;  // one per sink; each holds a reference to its block
  std::vector<std::pair<std::shared_ptr<Tally>, std::uint64_t>> closed_;
};

}  // namespace futured::client
