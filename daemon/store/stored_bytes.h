// How payloads and results lie in the database: as they are, but for large parts, which are files (ContentFiles).
// docs/formats/database.md.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/id.h"
#include "base/payload.h"
#include "base/result.h"
#include "daemon/store/content_files.h"
#include "daemon/store/store.h"

namespace futured {

// What one commit stores of payloads and results. For one thread.
class StoredForms {
 public:
  explicit StoredForms(std::shared_ptr<ContentFiles> files) : files_(std::move(files)), hold_(files_) {}

  // Quick: whether add() would write files.
  [[nodiscard]] static bool has_files(std::string_view bytes);

  // Of `bytes`, which outlive this, the large parts are on disk when it returns. An error of ContentFiles.
  [[nodiscard]] Status add(JobId job, std::string_view bytes);
  // The same of a payload, which alone may name segments that lie in files.
  [[nodiscard]] Status add_payload(JobId job, std::string_view bytes);
  // What to store of bytes that were added.
  [[nodiscard]] std::string_view of(std::string_view bytes) const;

  struct Use {
    Digest file;
    JobId job;
  };
  [[nodiscard]] const std::vector<Use>& uses() const { return uses_; }
  // They go to the database now: what becomes of that, their files stay.
  void stay() const { hold_.stay(); }

 private:
  [[nodiscard]] Status add_parts(JobId job, std::string_view bytes, const std::vector<Part>& parts);
  [[nodiscard]] std::optional<ContentFiles::Named> stored_content(const Part& part) const;

  std::shared_ptr<ContentFiles> files_;
  ContentFiles::Hold hold_;
  std::vector<Use> uses_;
  std::unordered_map<const char*, std::string> forms_;  // by where the bytes begin; only those stored otherwise
};

class FileKeeper final : public PayloadKeeper {
 public:
  // `is_used`: whether a row names a file; asked on the thread that drops it.
  explicit FileKeeper(std::shared_ptr<ContentFiles> files, std::function<bool(const Digest&)> is_used = nullptr)
      : files_(std::move(files)), is_used_(std::move(is_used)) {}

  Result<PayloadHold> keep(const std::vector<std::string_view>& payloads) override;
  Result<KeptSegment> keep_segment(std::string_view content, bool may_change) override;
  Result<std::uint64_t> segment_bytes(SegmentId id) override;
  Status fetch_segment(SegmentId id, std::span<std::byte> into) override;
  void drop_unused(const Digest& digest) override;

 private:
  const std::shared_ptr<ContentFiles> files_;
  const std::function<bool(const Digest&)> is_used_;
};

// The files that what is stored names; of damaged bytes, those before the damage.
[[nodiscard]] std::vector<Digest> files_of(std::string_view stored);

// The bytes again. A part whose file is gone or damaged is kLost and says so. kResourceExhausted: not now.
[[nodiscard]] Result<std::string> restore(std::string_view stored, ContentFiles& files);

}  // namespace futured
