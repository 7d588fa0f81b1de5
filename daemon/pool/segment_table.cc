#include "daemon/pool/segment_table.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>

#include "base/limits.h"
#include "base/stored_segment.h"

namespace futured {

namespace {

Error no_segment(SegmentId id) {
  return {ErrorCode::kNotFound,
          "no segment " + std::to_string(id.value) + ": it was dropped, or daemon and spawner were restarted"};
}

bool may_use(const SegmentFacts& facts, std::uint32_t who) {
  return who == 0 || facts.owner == kAnyOwner || facts.owner == who;
}

Error not_yours(SegmentId id) {
  return {ErrorCode::kPermissionDenied, "segment " + std::to_string(id.value) + " belongs to another user"};
}

Error over(std::string what, std::uint64_t bytes, std::uint64_t most) {
  return {ErrorCode::kResourceExhausted, std::move(what) + " would be " + std::to_string(bytes) +
                                             ", over the quota of " + std::to_string(most) +
                                             "; drop segments that are not needed"};
}

// Consecutive jobs are one range. When there are too many ranges, the last two become one: what lies between them may
// only keep the segment longer than it is needed.
void add_range(std::vector<spawner::JobRange>& ranges, spawner::JobRange jobs) {
  const bool follows = !ranges.empty() && jobs.first >= ranges.back().first && jobs.first <= ranges.back().end;
  if (!follows && ranges.size() < spawner::kNeedRangesMax) return ranges.push_back(jobs);
  ranges.back().first = std::min(ranges.back().first, jobs.first);
  ranges.back().end = std::max(ranges.back().end, jobs.end);
}

// Ids begin at a random place: 2^24 of them are this daemon's alone.
std::uint64_t first_id() {
  std::uint32_t place = 0;
  FUTURED_CHECK(getrandom(&place, sizeof place, 0) == sizeof place, "the kernel gives four random bytes");
  return (std::uint64_t{place} | std::uint64_t{1} << 32) << 24;
}

}  // namespace

SegmentTable::SegmentTable(SegmentQuotas quotas) : quotas_(quotas), next_id_(first_id()) {}

SegmentHold::SegmentHold(SegmentHold&& other) noexcept
    : table_(std::exchange(other.table_, nullptr)), segments_(std::exchange(other.segments_, {})) {}

SegmentHold& SegmentHold::operator=(SegmentHold&& other) noexcept {
  if (this == &other) return *this;
  give_up();
  table_ = std::exchange(other.table_, nullptr);
  segments_ = std::exchange(other.segments_, {});
  return *this;
}

bool SegmentHold::has(SegmentId id) const { return std::ranges::find(segments_, id) != segments_.end(); }

bool SegmentHold::drop(SegmentId id) {
  const auto found = std::ranges::find(segments_, id);
  if (found == segments_.end()) return false;
  segments_.erase(found);
  const std::lock_guard lock(table_->mutex_);
  table_->give_up_share(id);
  return true;
}

void SegmentHold::share_with(const SegmentHold& other) {
  if (other.segments_.empty()) return;
  const std::lock_guard lock(other.table_->mutex_);
  for (const SegmentId id : other.segments_) other.table_->add_share(other.table_->entries_.at(id), *this);
}

void SegmentHold::need(spawner::JobRange jobs) const {
  if (!segments_.empty()) table_->need(*this, jobs);
}

void SegmentHold::give_up() {
  if (segments_.empty()) return;
  const std::lock_guard lock(table_->mutex_);
  for (const SegmentId id : std::exchange(segments_, {})) table_->give_up_share(id);
}

SegmentQuotas SegmentQuotas::of_this_machine() {
  const auto pages = static_cast<std::uint64_t>(std::max(sysconf(_SC_PHYS_PAGES), 1L));
  const std::uint64_t memory = pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  SegmentQuotas quotas;
  quotas.bytes = std::min<std::uint64_t>(memory / 2, limits::kSegmentBytesTotalMax);
  quotas.bytes_per_user = quotas.bytes / 4 * 3;
  quotas.result_bytes = quotas.bytes / 4;
  quotas.segments = limits::kSegmentsHeldMax;
  quotas.segments_per_user = quotas.segments / 4 * 3;
  return quotas;
}

SegmentRoom::SegmentRoom(SegmentRoom&& other) noexcept
    : table_(std::exchange(other.table_, nullptr)), owner_(other.owner_), bytes_(other.bytes_) {}

SegmentRoom& SegmentRoom::operator=(SegmentRoom&& other) noexcept {
  if (this == &other) return *this;
  give_up();
  table_ = std::exchange(other.table_, nullptr);
  owner_ = other.owner_;
  bytes_ = other.bytes_;
  return *this;
}

void SegmentRoom::give_up() {
  if (table_ == nullptr) return;
  SegmentTable& table = *std::exchange(table_, nullptr);
  const std::lock_guard lock(table.mutex_);
  table.give_back_room(owner_, bytes_);
}

Result<SegmentId> SegmentTable::put(std::uint32_t owner, Segment segment, std::string content_type, SegmentHold& hold) {
  auto room = reserve(owner, segment.size);
  if (!room.ok()) return room.error();
  return fill(std::move(*room), std::move(segment), std::move(content_type), hold);
}

Result<SegmentRoom> SegmentTable::reserve(std::uint32_t owner, std::uint64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (const Status fits = check_room(owner, bytes); !fits.ok()) return fits.error();
  take_room(owner, bytes);
  return SegmentRoom(this, owner, bytes);
}

SegmentId SegmentTable::fill(SegmentRoom room, Segment segment, std::string content_type, SegmentHold& hold) {
  FUTURED_CHECK(room.table_ == this && room.bytes_ == segment.size, "a segment takes the room that was made for it");
  room.table_ = nullptr;
  const std::lock_guard lock(mutex_);
  give_back_room(room.owner_, room.bytes_);  // the entry takes it again
  const SegmentId id{next_id_++};
  add_share(add({.facts = {id, segment.size, std::move(content_type), room.owner_},
                 .descriptor = std::move(segment.descriptor)}),
            hold);
  return id;
}

Status SegmentTable::check_room(std::uint32_t owner, std::uint64_t bytes) const {
  const auto known = users_.find(owner);
  const User user = known != users_.end() ? known->second : User{};
  if (usage_.segments >= quotas_.segments)
    return over("segments of all clients", usage_.segments + 1, quotas_.segments);
  if (user.segments >= quotas_.segments_per_user) {
    return over("segments of user " + std::to_string(owner), user.segments + 1, quotas_.segments_per_user);
  }
  if (bytes > quotas_.bytes - std::min(usage_.bytes, quotas_.bytes)) {
    return over("segment bytes of all clients", usage_.bytes + bytes, quotas_.bytes);
  }
  if (bytes > quotas_.bytes_per_user - std::min(user.bytes, quotas_.bytes_per_user)) {
    return over("segment bytes of user " + std::to_string(owner), user.bytes + bytes, quotas_.bytes_per_user);
  }
  return {};
}

void SegmentTable::take_room(std::uint32_t owner, std::uint64_t bytes) {
  make_room_for(bytes);
  ++usage_.segments;
  usage_.bytes += bytes;
  User& user = users_[owner];
  user.bytes += bytes;
  ++user.segments;
}

void SegmentTable::give_back_room(std::uint32_t owner, std::uint64_t bytes) {
  --usage_.segments;
  usage_.bytes -= bytes;
  const auto user = users_.find(owner);
  user->second.bytes -= bytes;
  if (--user->second.segments == 0) users_.erase(user);
}

SegmentTable::Entry& SegmentTable::add(Entry entry) {
  const SegmentFacts& facts = entry.facts;
  if (facts.owner == kAnyOwner) {
    ++usage_.segments;
    usage_.result_bytes += facts.bytes;
  } else {
    take_room(facts.owner, facts.bytes);
  }
  const SegmentId id = facts.id;
  return entries_.insert_or_assign(id, std::move(entry)).first->second;
}

void SegmentTable::need(const SegmentHold& hold, spawner::JobRange jobs) {
  const std::lock_guard lock(mutex_);
  for (const SegmentId id : hold.segments_) {
    Entry& entry = entries_.at(id);
    add_range(entry.needed_by, jobs);
    if (entry.is_entrusted) {
      if (vault_) note_vault(vault_->need(id, entry.needed_by));
    } else {
      entrust(entry);
    }
  }
}

std::vector<SegmentTable::Found> SegmentTable::entrust(VaultLink vault) {
  const std::lock_guard lock(mutex_);
  std::vector<Found> inputs;
  std::vector<KeptSegment> found = std::exchange(vault.found(), {});
  vault_.emplace(std::move(vault));
  for (auto& [id, entry] : entries_) entry.is_entrusted = false;
  for (KeptSegment& kept : found) {
    if (const auto known = entries_.find(kept.id); known != entries_.end()) {
      known->second.is_entrusted = true;
      if (vault_ && !known->second.needed_by.empty()) note_vault(vault_->need(kept.id, known->second.needed_by));
      continue;
    }
    Found& input = inputs.emplace_back();
    input.needed_by = kept.needed_by;
    take_in(std::move(kept), input.hold);
  }
  for (auto& [id, entry] : entries_) {
    if (!entry.is_entrusted && (entry.result_of.value != 0 || !entry.needed_by.empty())) entrust(entry);
  }
  std::erase_if(inputs, [](const Found& input) { return input.hold.empty(); });
  return inputs;
}

void SegmentTable::leave_to_vault() {
  const std::lock_guard lock(mutex_);
  vault_.reset();
}

// Quotas are not asked: it was within them when it was put.
void SegmentTable::take_in(KeptSegment kept, SegmentHold& hold) {
  auto segment = adopt_segment(std::move(kept.descriptor));
  const bool is_result = kept.result_of.value != 0;
  if (!segment.ok() || segment->size != kept.bytes || is_result != (kept.owner == kAnyOwner)) {
    if (vault_) note_vault(vault_->drop(kept.id));
    return;
  }
  Entry& entry = add({.facts = {kept.id, kept.bytes, std::move(kept.content_type), kept.owner},
                      .descriptor = std::move(segment->descriptor),
                      .result_of = kept.result_of,
                      .needed_by = std::move(kept.needed_by),
                      .is_entrusted = true});
  if (!is_result || !entry.needed_by.empty()) add_share(entry, hold);
  if (!is_result) return;
  ++entry.shares;
  if (!results_.contains(kept.result_of)) result_order_.push_back(kept.result_of);
  results_[kept.result_of].push_back(kept.id);
}

void SegmentTable::entrust(Entry& entry) {
  if (!vault_) return;
  const SegmentFacts& facts = entry.facts;
  entry.is_entrusted = true;
  Status kept =
      vault_->keep({facts.id, entry.result_of, facts.bytes, facts.owner, facts.content_type}, entry.descriptor.get());
  if (kept.ok() && !entry.needed_by.empty()) kept = vault_->need(facts.id, entry.needed_by);
  note_vault(kept);
}

// The loop sees the spawner go as well, and entrusts all to the next one.
void SegmentTable::note_vault(const Status& how) {
  if (!how.ok()) vault_.reset();
}

Result<SegmentFacts> SegmentTable::take_share(SegmentId id, std::uint32_t who, SegmentHold& hold) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return no_segment(id);
  if (!may_use(found->second.facts, who)) return not_yours(id);
  add_share(found->second, hold);
  return found->second.facts;
}

Result<SegmentTable::Opened> SegmentTable::open(SegmentId id, std::uint32_t who) const {
  const std::lock_guard lock(mutex_);
  const Entry* const entry = find(id);
  if (entry == nullptr) return no_segment(id);
  if (!may_use(entry->facts, who)) return not_yours(id);
  Fd copy(fcntl(entry->descriptor.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.is_open()) return system_error("no descriptor for segment " + std::to_string(id.value));
  return Opened{std::move(copy), entry->facts};
}

Result<std::vector<int>> SegmentTable::descriptors_for(std::string_view payload) const {
  const auto parts = decode_parts(payload);
  if (!parts.ok()) return parts.error();
  std::vector<int> descriptors;
  const std::lock_guard lock(mutex_);
  for (const Part& part : *parts) {
    if (part.kind == PartKind::kLost) return Error{ErrorCode::kDataLoss, std::string(part.bytes)};
    if (part.kind == PartKind::kResult) {
      return Error{ErrorCode::kDataLoss,
                   "the result of job " + std::to_string(part.result_of.value) + " was never put in"};
    }
    if (part.kind != PartKind::kSegment) continue;
    if (is_stored(part.segment)) {
      const auto stored = find_stored(part.segment);
      if (!stored || part.end > stored->bytes) {
        return Error{ErrorCode::kUnavailable, "segment " + std::to_string(part.segment.value) + " lies in its file"};
      }
      descriptors.push_back(stored->descriptor);
      continue;
    }
    const Entry* const entry = find(part.segment);
    if (entry == nullptr) return no_segment(part.segment);
    if (part.end > entry->facts.bytes) {
      return Error{ErrorCode::kNotFound, "segment " + std::to_string(part.segment.value) + " is of another daemon"};
    }
    descriptors.push_back(entry->descriptor.get());
  }
  return descriptors;
}

void SegmentTable::store_as(SegmentId id, SegmentId in_memory) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(in_memory);
  if (entry == entries_.end() || entry->second.stored_as.is_set()) return;
  if (stored_as_.try_emplace(id, in_memory).second) entry->second.stored_as = id;
}

void SegmentTable::keep_stored(SegmentId id, Segment segment) {
  const std::lock_guard lock(mutex_);
  if (find_stored(id)) return;
  make_room_for(segment.size);
  usage_.stored_bytes += segment.size;
  stored_.emplace(id, Stored{std::move(segment), ++stored_uses_});
}

Result<Fd> SegmentTable::open_stored(SegmentId id) {
  const std::lock_guard lock(mutex_);
  const auto stored = find_stored(id);
  if (!stored) {
    return Error{ErrorCode::kUnavailable, "segment " + std::to_string(id.value) + " lies in its file"};
  }
  Fd copy(fcntl(stored->descriptor, F_DUPFD_CLOEXEC, 0));
  if (!copy.is_open()) return system_error("no descriptor for segment " + std::to_string(id.value));
  return copy;
}

std::optional<SegmentTable::InMemory> SegmentTable::find_stored(SegmentId id) const {
  if (const auto found = stored_.find(id); found != stored_.end()) {
    found->second.used = ++stored_uses_;
    return InMemory{found->second.segment.descriptor.get(), found->second.segment.size};
  }
  const auto held = stored_as_.find(id);
  if (held == stored_as_.end()) return std::nullopt;
  const Entry& entry = entries_.at(held->second);
  return InMemory{entry.descriptor.get(), entry.facts.bytes};
}

// What lies in a file anyway goes first, the longest unused of it; a worker that has it mapped keeps it.
void SegmentTable::make_room_for(std::uint64_t bytes) {
  while (!stored_.empty() && usage_.bytes + usage_.stored_bytes + bytes > quotas_.bytes) {
    const auto oldest = std::ranges::min_element(stored_, {}, [](const auto& entry) { return entry.second.used; });
    usage_.stored_bytes -= oldest->second.segment.size;
    stored_.erase(oldest);
  }
}

Result<std::string> SegmentTable::keep_result(JobId job, std::string_view result, std::span<Fd> descriptors) {
  auto parts = decode_parts(result);
  if (!parts.ok()) return parts.error().in("result");
  // Everything is checked before anything is kept.
  std::vector<Segment> segments;
  std::uint64_t bytes = 0;
  for (const Part& part : *parts) {
    if (part.kind != PartKind::kSegment) continue;
    if (segments.size() == descriptors.size()) {
      return Error{ErrorCode::kInvalidArgument, "result names more segments than came with it"};
    }
    if (part.content_type.size() > limits::kContentTypeBytesMax) {
      return Error{ErrorCode::kInvalidArgument, "a content type of a result has more than " +
                                                    std::to_string(limits::kContentTypeBytesMax) + " bytes"};
    }
    auto segment = adopt_segment(std::move(descriptors[segments.size()]));
    if (!segment.ok()) return segment.error().in("segment of a result");
    if (part.end > segment->size) {
      return Error{ErrorCode::kInvalidArgument, "result names bytes beyond the end of its segment"};
    }
    bytes += segment->size;
    segments.push_back(std::move(*segment));
  }
  if (segments.size() != descriptors.size()) {
    return Error{ErrorCode::kInvalidArgument, "more segments came with a result than it names"};
  }
  if (bytes > quotas_.result_bytes) return over("segment bytes of one result", bytes, quotas_.result_bytes);

  const std::lock_guard lock(mutex_);
  forget_result_locked(job);
  // Retention lets go of it with its job; before that, what makes room is age.
  while (!result_order_.empty() &&
         (usage_.result_bytes + bytes > quotas_.result_bytes || usage_.segments + segments.size() > quotas_.segments)) {
    forget_result_locked(result_order_.front());
  }
  // What is left of results is held by jobs that take them as arguments.
  if (usage_.result_bytes + bytes > quotas_.result_bytes) {
    return Error{ErrorCode::kUnavailable,
                 "jobs that have not ended hold segments of earlier results, and there is no "
                 "room for those of this one"};
  }
  if (usage_.segments + segments.size() > quotas_.segments) {
    return Error{ErrorCode::kUnavailable, "there are too many segments for those of this result"};
  }
  std::string with_ids;
  std::size_t next = 0;
  std::vector<SegmentId>& kept = results_[job];
  for (Part& part : *parts) {
    if (part.kind == PartKind::kSegment) {
      Segment& segment = segments[next++];
      part.segment = SegmentId{next_id_++};
      entrust(add({.facts = {part.segment, segment.size, std::string(part.content_type), kAnyOwner},
                   .descriptor = std::move(segment.descriptor),
                   .shares = 1,
                   .result_of = job}));
      kept.push_back(part.segment);
    }
    append_part(with_ids, part);
  }
  result_order_.push_back(job);
  return with_ids;
}

void SegmentTable::forget_result(JobId job) {
  const std::lock_guard lock(mutex_);
  forget_result_locked(job);
}

void SegmentTable::forget_result_locked(JobId job) {
  const auto kept = results_.extract(job);
  if (kept.empty()) return;
  if (const auto place = std::ranges::find(result_order_, job); place != result_order_.end()) {
    result_order_.erase(place);
  }
  for (const SegmentId id : kept.mapped()) give_up_share(id);
}

std::vector<SegmentFacts> SegmentTable::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<SegmentFacts> all;
  for (const auto& [id, entry] : entries_) all.push_back(entry.facts);
  return all;
}

SegmentTable::Usage SegmentTable::usage() const {
  const std::lock_guard lock(mutex_);
  return usage_;
}

void SegmentTable::add_share(Entry& entry, SegmentHold& hold) {
  ++entry.shares;
  hold.table_ = this;
  hold.segments_.push_back(entry.facts.id);
}

void SegmentTable::give_up_share(SegmentId id) {
  const auto found = entries_.find(id);
  FUTURED_CHECK(found != entries_.end(), "a share keeps its segment");
  if (--found->second.shares == 0) remove(found);
}

void SegmentTable::remove(std::map<SegmentId, Entry>::iterator entry) {
  if (entry->second.is_entrusted && vault_) note_vault(vault_->drop(entry->first));
  const SegmentFacts& facts = entry->second.facts;
  if (facts.owner == kAnyOwner) {
    --usage_.segments;
    usage_.result_bytes -= facts.bytes;
  } else {
    give_back_room(facts.owner, facts.bytes);
  }
  if (entry->second.stored_as.is_set()) stored_as_.erase(entry->second.stored_as);
  entries_.erase(entry);
}

const SegmentTable::Entry* SegmentTable::find(SegmentId id) const {
  const auto found = entries_.find(id);
  return found != entries_.end() ? &found->second : nullptr;
}

}  // namespace futured
