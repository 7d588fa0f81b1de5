#include "daemon/store/stored_bytes.h"

#include <algorithm>
#include <cstdint>

#include "base/limits.h"
#include "base/payload.h"
#include "base/stored_segment.h"
#include "base/wire.h"

namespace futured {

namespace {

// First bytes that no sound encoding of parts has.
constexpr char kWithFiles = 2;
constexpr char kVerbatim = 3;  // what follows is stored as it came, whatever it begins with

// Behind kWithFiles, beside the kinds of parts.
constexpr std::uint8_t kFileKind = 16;
constexpr std::uint8_t kStoredSegmentKind = 17;  // a stretch of a segment whose bytes are a file

bool is_large(const Part& part) {
  return part.kind == PartKind::kInline && part.bytes.size() > limits::kStoredInlineBytesMax;
}

bool needs_escape(std::string_view bytes) {
  return !bytes.empty() && (bytes[0] == kWithFiles || bytes[0] == kVerbatim);
}

// A worker may have written anything: what is no list of parts that a worker may give stays in the database.
std::vector<Part> parts_of(std::string_view bytes) {
  if (bytes.size() <= limits::kStoredInlineBytesMax) return {};
  auto parts = decode_parts(bytes);
  const bool is_sound = parts.ok() && std::ranges::find(*parts, PartKind::kLost, &Part::kind) == parts->end();
  return is_sound ? *std::move(parts) : std::vector<Part>();
}

void append_lost(std::string& out, std::string_view content_type, const Error& why) {
  append_part(out, {.kind = PartKind::kLost, .content_type = content_type, .bytes = why.message});
}

// One part behind kWithFiles. False: what is stored is damaged.
Result<bool> restore_part(WireReader& reader, ContentFiles& files, std::string& out) {
  const std::uint8_t kind = reader.byte();
  Part part{.content_type = reader.bytes()};
  if (kind == static_cast<std::uint8_t>(PartKind::kInline)) {
    part.bytes = reader.bytes();
  } else if (kind == static_cast<std::uint8_t>(PartKind::kSegment)) {
    part.kind = PartKind::kSegment;
    part.segment = SegmentId{reader.varint()};
    part.begin = reader.varint();
    part.end = reader.varint();
  } else if (kind == static_cast<std::uint8_t>(PartKind::kResult)) {
    part.kind = PartKind::kResult;
    part.result_of = JobId{reader.varint()};
    part.item = static_cast<std::uint32_t>(reader.varint());
    part.only_first = reader.varint() != 0;
  } else if (kind == kFileKind) {
    const auto digest = Digest::from_raw(reader.bytes());
    const std::uint64_t size = reader.varint();
    if (reader.failed() || !digest) return false;
    const auto content = files.read(*digest, size);
    if (content.ok()) {
      append_part(out, {.content_type = part.content_type, .bytes = *content});
    } else if (content.error().code == ErrorCode::kResourceExhausted) {
      return content.error();
    } else {
      append_lost(out, part.content_type, content.error());
    }
    return true;
  } else if (kind == kStoredSegmentKind) {
    const auto digest = Digest::from_raw(reader.bytes());
    const std::uint64_t size = reader.varint();
    part.kind = PartKind::kSegment;
    part.begin = reader.varint();
    part.end = reader.varint();
    if (reader.failed() || !digest || part.begin > part.end || part.end > size) return false;
    part.segment = stored_segment(digest->bytes);
    // From here on it is known by that number. Its file is read when a worker is to have it.
    if (const Status named = files.name({*digest, size}); !named.ok()) {
      append_lost(out, part.content_type, named.error());
      return true;
    }
  } else {
    return false;
  }
  if (reader.failed()) return false;
  append_part(out, part);
  return true;
}

}  // namespace

bool StoredForms::has_files(std::string_view bytes) { return std::ranges::any_of(parts_of(bytes), is_large); }

Status StoredForms::add(JobId job, std::string_view bytes) {
  const std::vector<Part> parts = parts_of(bytes);
  if (std::ranges::any_of(parts, is_large)) return add_parts(job, bytes, parts);
  if (needs_escape(bytes)) forms_[bytes.data()] = kVerbatim + std::string(bytes);
  return {};
}

Status StoredForms::add_payload(JobId job, std::string_view bytes) {
  if (!files_->names_any() || !names_segment(bytes)) return add(job, bytes);
  const auto parts = decode_parts(bytes);
  const auto is_stored_part = [&](const Part& part) { return stored_content(part).has_value(); };
  if (!parts.ok() || std::ranges::none_of(*parts, is_stored_part)) return add(job, bytes);
  return add_parts(job, bytes, *parts);
}

std::optional<ContentFiles::Named> StoredForms::stored_content(const Part& part) const {
  if (part.kind != PartKind::kSegment || !is_stored(part.segment)) return std::nullopt;
  return files_->named(part.segment);
}

Status StoredForms::add_parts(JobId job, std::string_view bytes, const std::vector<Part>& parts) {
  std::string form(1, kWithFiles);
  for (const Part& part : parts) {
    if (const auto stored = stored_content(part)) {
      hold_.add_known(stored->digest);
      uses_.push_back({stored->digest, job});
      form.push_back(static_cast<char>(kStoredSegmentKind));
      append_bytes(form, part.content_type);
      append_bytes(form, stored->digest.raw());
      append_varint(form, stored->size);
      append_varint(form, part.begin);
      append_varint(form, part.end);
      continue;
    }
    if (!is_large(part)) {
      append_part(form, part);
      continue;
    }
    const auto digest = hold_.add(part.bytes);
    if (!digest.ok()) return digest.error();
    uses_.push_back({*digest, job});
    form.push_back(static_cast<char>(kFileKind));
    append_bytes(form, part.content_type);
    append_bytes(form, digest->raw());
    append_varint(form, part.bytes.size());
  }
  forms_[bytes.data()] = std::move(form);
  return {};
}

// Payloads of a batch lie one behind the other: an empty one begins where the next one does.
std::string_view StoredForms::of(std::string_view bytes) const {
  const auto form = forms_.empty() || bytes.empty() ? forms_.end() : forms_.find(bytes.data());
  return form != forms_.end() ? std::string_view(form->second) : bytes;
}

Result<PayloadHold> FileKeeper::keep(const std::vector<std::string_view>& payloads) {
  auto hold = std::make_shared<ContentFiles::Hold>(files_);
  for (const std::string_view payload : payloads) {
    for (const Part& part : parts_of(payload)) {
      if (!is_large(part)) continue;
      if (const auto kept = hold->add(part.bytes, ContentFiles::Care::kVerified); !kept.ok()) return kept.error();
    }
  }
  return PayloadHold(std::move(hold));
}

Result<PayloadKeeper::KeptSegment> FileKeeper::keep_segment(std::string_view content, bool may_change) {
  using Care = ContentFiles::Care;
  auto hold = std::make_shared<ContentFiles::Hold>(files_);
  const auto digest = hold->add(content, may_change ? Care::kChanging : Care::kVerified);
  if (!digest.ok()) return digest.error();
  if (const Status named = files_->name({*digest, content.size()}); !named.ok()) return named.error();
  return KeptSegment{stored_segment(digest->bytes), digest->bytes, std::move(hold)};
}

Result<std::uint64_t> FileKeeper::segment_bytes(SegmentId id) {
  const auto named = files_->named(id);
  if (named) return named->size;
  return Error{ErrorCode::kNotFound, "no segment " + std::to_string(id.value) + " is stored"};
}

Status FileKeeper::fetch_segment(SegmentId id, std::span<std::byte> into) {
  const auto named = files_->named(id);
  if (!named || named->size != into.size()) {
    return Error{ErrorCode::kNotFound, "no segment " + std::to_string(id.value) + " is stored"};
  }
  return files_->read_into(named->digest, into);
}

void FileKeeper::drop_unused(const Digest& digest) {
  if (is_used_) files_->drop_unless(digest, [&] { return is_used_(digest); });
}

std::vector<Digest> files_of(std::string_view stored) {
  std::vector<Digest> files;
  if (stored.empty() || stored[0] != kWithFiles) return files;
  WireReader reader(stored.substr(1));
  while (!reader.at_end() && !reader.failed()) {
    const std::uint8_t kind = reader.byte();
    (void)reader.bytes();  // the content type
    if (kind == kFileKind) {
      const auto digest = Digest::from_raw(reader.bytes());
      (void)reader.varint();
      if (reader.failed() || !digest) break;
      files.push_back(*digest);
    } else if (kind == kStoredSegmentKind) {
      const auto digest = Digest::from_raw(reader.bytes());
      for (int i = 0; i < 3; ++i) (void)reader.varint();
      if (reader.failed() || !digest) break;
      files.push_back(*digest);
    } else if (kind == static_cast<std::uint8_t>(PartKind::kInline)) {
      (void)reader.bytes();
    } else if (kind == static_cast<std::uint8_t>(PartKind::kSegment) ||
               kind == static_cast<std::uint8_t>(PartKind::kResult)) {
      for (int i = 0; i < 3; ++i) (void)reader.varint();
    } else {
      break;
    }
  }
  return files;
}

Result<std::string> restore(std::string_view stored, ContentFiles& files) {
  if (stored.empty() || !needs_escape(stored)) return std::string(stored);
  const bool has_files = stored[0] == kWithFiles;
  stored.remove_prefix(1);
  if (!has_files) return std::string(stored);
  std::string bytes;
  WireReader reader(stored);
  while (!reader.at_end()) {
    const auto sound = restore_part(reader, files, bytes);
    if (!sound.ok()) return sound.error();
    if (*sound) continue;
    append_lost(bytes, {}, {ErrorCode::kDataLoss, "what the database says of it is damaged: restore it from a backup"});
    break;
  }
  return bytes;
}

}  // namespace futured
