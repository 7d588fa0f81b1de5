// SentContents: contents that users have sent once, to be named by their digest in many jobs.
// docs/formats/content_file.md.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "base/time.h"
#include "daemon/store/content_files.h"
#include "daemon/store/digest.h"

namespace futured {

struct SentContent {
  SegmentId id;  // made from the digest
  Digest digest;
  std::uint64_t bytes = 0;
  std::string content_type;
  std::uint32_t owner = 0;  // uid
};

// Whoever sent a content holds it, until he releases it or has not asked for it for an hour and somebody looks. What he
// holds is on disk and outlives the daemon. Another user has to send it himself, though the file is the same.
class SentContents {
 public:
  // Before quotas, a file is a file: they count what contents have, not what they take.
  static constexpr std::uint64_t kBytesMax = std::uint64_t{8} << 30;
  static constexpr std::uint64_t kBytesPerUserMax = kBytesMax / 4 * 3;
  static constexpr std::size_t kContentsMax = 4096;
  static constexpr std::size_t kContentsPerUserMax = kContentsMax / 4 * 3;
  static constexpr Duration kUnused = std::chrono::hours(1);

  SentContents(std::string directory, std::shared_ptr<ContentFiles> files)
      : directory_(std::move(directory)), files_(std::move(files)) {}

  // What an earlier daemon's users hold. Before the sweep of the files.
  [[nodiscard]] Status load(Instant now);

  // Any thread, all below.

  // Before its bytes are kept. kResourceExhausted: over a quota.
  [[nodiscard]] Status check_room(std::uint32_t owner, std::uint64_t bytes) const;
  // Its file is there. On disk when it returns; one that is held already is only asked for.
  [[nodiscard]] Result<SentContent> hold(const SentContent& content, Instant now);
  // Of this user; root may use any. Asks for it.
  [[nodiscard]] std::optional<SentContent> find(std::uint32_t who, const Digest& digest, Instant now);
  [[nodiscard]] std::optional<SentContent> find(std::uint32_t who, SegmentId id, Instant now);
  // Gives back what may have to go, for ContentFiles::drop_unless. kNotFound: this user holds no such thing.
  [[nodiscard]] Result<Digest> release(std::uint32_t who, SegmentId id);
  // Lets go of what nobody has asked for in kUnused.
  [[nodiscard]] std::vector<Digest> forget_unused(Instant now);
  [[nodiscard]] std::vector<SentContent> list() const;
  [[nodiscard]] bool has(const Digest& digest) const;
  [[nodiscard]] std::uint64_t bytes() const;  // of all that is held, each content once

  // Keeps a content's file for who is about to commit a job that names it. kNotFound: the file is gone.
  [[nodiscard]] Result<std::shared_ptr<const void>> keep(SegmentId id) const;

 private:
  struct Held {
    SentContent content;
    ContentFiles::Hold hold;
    Instant used_at;
  };
  using Key = std::pair<Digest, std::uint32_t>;
  using HeldMap = std::map<Key, Held>;

  [[nodiscard]] std::string path(const Digest& digest, std::uint32_t owner) const;
  [[nodiscard]] Status check_room_locked(std::uint32_t owner, std::uint64_t bytes) const;
  [[nodiscard]] Status add(SentContent content, Instant now);
  [[nodiscard]] HeldMap::iterator seek(std::uint32_t who, const Digest& digest);

  const std::string directory_;
  const std::shared_ptr<ContentFiles> files_;
  mutable std::mutex mutex_;  // guards all below
  HeldMap held_;
};

}  // namespace futured
