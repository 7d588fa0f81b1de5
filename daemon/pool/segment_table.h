// SegmentTable: the sealed segments that the daemon holds for clients, jobs and results.
//
// A segment lives as long as anybody has a share in it: the connection that put it, the jobs that name it until they
// have ended, or the result that it is part of. Its id is never given out again, not even by a later daemon, whose
// store may still have jobs that name it. What jobs or results need lies with the spawner as well, from where the next
// daemon takes it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/id.h"
#include "base/payload.h"
#include "base/result.h"
#include "daemon/pool/vault_link.h"
#include "segment/memory.h"

namespace futured {

class SegmentTable;

// Who a result belongs to is the store's to say, so everybody who may speak to the daemon may read its segments.
inline constexpr std::uint32_t kAnyOwner = UINT32_MAX;

struct SegmentFacts {
  SegmentId id;
  std::uint64_t bytes = 0;
  std::string content_type;
  std::uint32_t owner = 0;  // uid, or kAnyOwner
};

// Shares in segments, given up together. Outlived by its table; one thread at a time.
class SegmentHold {
 public:
  SegmentHold() = default;
  SegmentHold(SegmentHold&& other) noexcept;
  SegmentHold& operator=(SegmentHold&& other) noexcept;
  SegmentHold(const SegmentHold&) = delete;
  SegmentHold& operator=(const SegmentHold&) = delete;
  ~SegmentHold() { give_up(); }

  [[nodiscard]] bool empty() const { return segments_.empty(); }
  [[nodiscard]] bool has(SegmentId id) const;
  // False: no share in it is held here.
  bool drop(SegmentId id);
  void give_up();
  // Jobs that were accepted name what is held here: from now on it outlives the daemon. Before the acknowledgement.
  void need(spawner::JobRange jobs) const;
  // Shares in all that `other` holds, too.
  void share_with(const SegmentHold& other);

 private:
  friend class SegmentTable;
  SegmentTable* table_ = nullptr;
  std::vector<SegmentId> segments_;
};

// Room that is taken for a segment whose bytes have yet to come; given back unless it is filled. Outlived by its table;
// one thread at a time.
class SegmentRoom {
 public:
  SegmentRoom() = default;
  SegmentRoom(SegmentRoom&& other) noexcept;
  SegmentRoom& operator=(SegmentRoom&& other) noexcept;
  SegmentRoom(const SegmentRoom&) = delete;
  SegmentRoom& operator=(const SegmentRoom&) = delete;
  ~SegmentRoom() { give_up(); }

  void give_up();

 private:
  friend class SegmentTable;
  SegmentRoom(SegmentTable* table, std::uint32_t owner, std::uint64_t bytes)
      : table_(table), owner_(owner), bytes_(bytes) {}
  SegmentTable* table_ = nullptr;
  std::uint32_t owner_ = 0;
  std::uint64_t bytes_ = 0;
};

struct SegmentQuotas {
  std::uint64_t bytes = 0;           // put by clients, in total
  std::uint64_t bytes_per_user = 0;  // and by each of them
  std::uint64_t result_bytes = 0;    // of results; the oldest go first
  std::size_t segments = 0;
  std::size_t segments_per_user = 0;

  // For this machine: half of its memory for clients and an eighth for results, within limits.h.
  [[nodiscard]] static SegmentQuotas of_this_machine();
};

// Any thread.
class SegmentTable {
 public:
  explicit SegmentTable(SegmentQuotas quotas = SegmentQuotas::of_this_machine());
  SegmentTable(const SegmentTable&) = delete;
  SegmentTable& operator=(const SegmentTable&) = delete;

  // Takes a segment in, with one share for `hold`. kResourceExhausted: over a quota, and nothing is kept.
  [[nodiscard]] Result<SegmentId> put(std::uint32_t owner, Segment segment, std::string content_type,
                                      SegmentHold& hold);
  // The same in two steps, for bytes that come one after another: room up front, then the segment of just that size.
  [[nodiscard]] Result<SegmentRoom> reserve(std::uint32_t owner, std::uint64_t bytes);
  [[nodiscard]] SegmentId fill(SegmentRoom room, Segment segment, std::string content_type, SegmentHold& hold);

  // From now on what must outlive the daemon lies in `vault` too. What an earlier daemon had put there is taken in:
  // parts of results as they were, and what is an input with a share for whoever speaks for the jobs that may still
  // need it.
  struct Found {
    std::vector<spawner::JobRange> needed_by;  // jobs that may have ended
    SegmentHold hold;
  };
  [[nodiscard]] std::vector<Found> entrust(VaultLink vault);

  // This daemon ends: what becomes of shares from now on is not the vault's concern.
  void leave_to_vault();

  // One more share. kNotFound; kPermissionDenied for what another user put. Root may take any.
  [[nodiscard]] Result<SegmentFacts> take_share(SegmentId id, std::uint32_t who, SegmentHold& hold);

  struct Opened {
    Fd descriptor;  // the caller's own
    SegmentFacts facts;
  };
  [[nodiscard]] Result<Opened> open(SegmentId id, std::uint32_t who) const;

  // Segments that lie in files (base/stored_segment.h) have no shares: what is here of them may go at any time, and be
  // read from its file again. `id`'s bytes are those of `in_memory`, as long as that one is held; and the bytes of
  // `id`, held until room is wanted for others.
  void store_as(SegmentId id, SegmentId in_memory);
  void keep_stored(SegmentId id, Segment segment);
  // kUnavailable: it is not in memory.
  [[nodiscard]] Result<Fd> open_stored(SegmentId id);  // the caller's own

  // The descriptors of the segments that an encoded payload names, in the order of its segment parts. They stay the
  // table's, and open as long as the job that was accepted with the payload has not ended, and until something else
  // is asked of the table. kDataLoss: the store has not all of the payload any more. kUnavailable: one lies in its file
  // only.
  [[nodiscard]] Result<std::vector<int>> descriptors_for(std::string_view payload) const;

  // The segments of a job's result, in the order of its segment parts, become the table's. Gives the result back with
  // their ids in it. What is not sealed, or does not hold the bytes that the result names, is refused.
  [[nodiscard]] Result<std::string> keep_result(JobId job, std::string_view result, std::span<Fd> descriptors);
  void forget_result(JobId job);

  [[nodiscard]] std::vector<SegmentFacts> list() const;
  struct Usage {
    std::uint64_t bytes = 0;  // put by clients
    std::uint64_t result_bytes = 0;
    std::uint64_t stored_bytes = 0;  // that were read from files, or are to spare
    std::size_t segments = 0;
  };
  [[nodiscard]] Usage usage() const;
  [[nodiscard]] const SegmentQuotas& quotas() const { return quotas_; }

 private:
  friend class SegmentHold;
  friend class SegmentRoom;
  struct Entry {
    SegmentFacts facts;
    Fd descriptor;
    std::uint64_t shares = 0;
    JobId result_of;                           // 0: an input
    std::vector<spawner::JobRange> needed_by;  // ascending; few: gaps between them may be forgotten
    bool is_entrusted = false;                 // the vault has it
    SegmentId stored_as;                       // unset: nobody had it stored
  };
  struct User {
    std::uint64_t bytes = 0;
    std::size_t segments = 0;
  };

  [[nodiscard]] Status check_room(std::uint32_t owner, std::uint64_t bytes) const;
  void take_room(std::uint32_t owner, std::uint64_t bytes);
  void give_back_room(std::uint32_t owner, std::uint64_t bytes);
  void need(const SegmentHold& hold, spawner::JobRange jobs);
  void take_in(KeptSegment kept, SegmentHold& hold);
  Entry& add(Entry entry);
  void entrust(Entry& entry);
  void note_vault(const Status& how);
  void add_share(Entry& entry, SegmentHold& hold);
  void give_up_share(SegmentId id);
  void remove(std::map<SegmentId, Entry>::iterator entry);
  struct Stored {
    Segment segment;
    std::uint64_t used = 0;  // the higher, the later
  };
  struct InMemory {
    int descriptor = -1;
    std::uint64_t bytes = 0;
  };
  [[nodiscard]] std::optional<InMemory> find_stored(SegmentId id) const;
  void make_room_for(std::uint64_t bytes);

  void forget_result_locked(JobId job);
  [[nodiscard]] const Entry* find(SegmentId id) const;

  const SegmentQuotas quotas_;
  mutable std::mutex mutex_;  // guards all below
  std::map<SegmentId, Entry> entries_;
  std::map<std::uint32_t, User> users_;
  std::map<JobId, std::vector<SegmentId>> results_;
  std::deque<JobId> result_order_;  // oldest first
  Usage usage_;
  std::map<SegmentId, SegmentId> stored_as_;    // by their stored number; of those in memory that go, they go
  mutable std::map<SegmentId, Stored> stored_;  // few: each is a large array
  mutable std::uint64_t stored_uses_ = 0;
  std::uint64_t next_id_;
  std::optional<VaultLink> vault_;  // nothing: the spawner is gone, or keeps nothing
};

}  // namespace futured
