#include "daemon/store/sent_contents.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <span>

#include "base/fd.h"
#include "base/limits.h"
#include "base/stored_segment.h"
#include "base/whole_file.h"

namespace futured {

namespace {

constexpr std::string_view kHeldMark = ".held-";
constexpr std::string_view kPartMark = ".part-";
constexpr std::string_view kHead = "futured 1\n";

std::optional<std::uint64_t> number_in(std::string_view word) {
  std::uint64_t number = 0;
  const auto [end, wrong] = std::from_chars(word.data(), word.data() + word.size(), number);
  return wrong == std::errc() && end == word.data() + word.size() ? std::optional(number) : std::nullopt;
}

// "futured 1", the size and the content type, a line each. Nothing: it is not sound.
std::optional<SentContent> parse(std::string_view text) {
  if (!text.starts_with(kHead) || !text.ends_with('\n')) return std::nullopt;
  text.remove_prefix(kHead.size());
  text.remove_suffix(1);
  const std::size_t line = text.find('\n');
  if (line == std::string_view::npos) return std::nullopt;
  const auto bytes = number_in(text.substr(0, line));
  if (!bytes) return std::nullopt;
  return SentContent{.bytes = *bytes, .content_type = std::string(text.substr(line + 1))};
}

std::string read_small(int directory, const char* name) {
  const Fd file(::openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  std::string text(limits::kContentTypeBytesMax + 64, '\0');
  const ssize_t got = file.is_open() ? ::pread(file.get(), text.data(), text.size(), 0) : 0;
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return text;
}

Error over(const std::string& what, std::uint64_t wanted, std::uint64_t most) {
  return {ErrorCode::kResourceExhausted, what + " would be " + std::to_string(wanted) + ", over the quota of " +
                                             std::to_string(most) + "; release uploads that are not needed"};
}

}  // namespace

std::string SentContents::path(const Digest& digest, std::uint32_t owner) const {
  return directory_ + "/" + digest.hex() + std::string(kHeldMark) + std::to_string(owner);
}

Status SentContents::load(Instant now) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(directory_.c_str()), ::closedir);
  if (!directory) return errno == ENOENT ? Status() : Status(system_error(directory_));
  const std::lock_guard lock(mutex_);
  while (const dirent* const entry = ::readdir(directory.get())) {
    std::string_view name = entry->d_name;
    const auto digest = Digest::from_hex(name.substr(0, Digest::kHexBytes));
    if (!digest || !name.substr(Digest::kHexBytes).starts_with(kHeldMark)) continue;
    name.remove_prefix(Digest::kHexBytes + kHeldMark.size());
    const auto owner = number_in(name);
    auto content =
        owner && *owner <= UINT32_MAX ? parse(read_small(::dirfd(directory.get()), entry->d_name)) : std::nullopt;
    Status held = Error{ErrorCode::kDataLoss, "not sound"};
    if (content) {
      content->digest = *digest;
      content->owner = static_cast<std::uint32_t>(*owner);
      held = add(*std::move(content), now);
    }
    // What was not finished, or holds what is gone.
    const bool is_ours = owner || name.find(kPartMark) != std::string_view::npos;
    if (!held.ok() && is_ours) (void)::unlinkat(::dirfd(directory.get()), entry->d_name, 0);
  }
  return {};
}

Status SentContents::add(SentContent content, Instant now) {
  ContentFiles::Hold hold(files_);
  if (!hold.add_known(content.digest)) {
    return Error{ErrorCode::kNotFound, "the file of sha256:" + content.digest.hex() + " is gone: upload it again"};
  }
  hold.stay();
  if (const Status named = files_->name({content.digest, content.bytes}); !named.ok()) return named;
  content.id = stored_segment(content.digest.bytes);
  const Key key{content.digest, content.owner};
  held_.erase(key);
  held_.emplace(key, Held{std::move(content), std::move(hold), now});
  return {};
}

Status SentContents::check_room(std::uint32_t owner, std::uint64_t bytes) const {
  const std::lock_guard lock(mutex_);
  return check_room_locked(owner, bytes);
}

// Uploads are few, and each brings its bytes: counting them anew costs nothing beside that.
Status SentContents::check_room_locked(std::uint32_t owner, std::uint64_t bytes) const {
  std::uint64_t all = 0;
  std::uint64_t own = 0;
  std::size_t owned = 0;
  for (const auto& [key, held] : held_) {
    all += held.content.bytes;
    if (key.second != owner) continue;
    own += held.content.bytes;
    ++owned;
  }
  if (held_.size() >= kContentsMax) return over("durable uploads of all users", held_.size() + 1, kContentsMax);
  if (owned >= kContentsPerUserMax) {
    return over("durable uploads of user " + std::to_string(owner), owned + 1, kContentsPerUserMax);
  }
  if (bytes > kBytesMax - std::min(all, kBytesMax)) {
    return over("bytes of durable uploads of all users", all + bytes, kBytesMax);
  }
  if (bytes > kBytesPerUserMax - std::min(own, kBytesPerUserMax)) {
    return over("bytes of durable uploads of user " + std::to_string(owner), own + bytes, kBytesPerUserMax);
  }
  return {};
}

Result<SentContent> SentContents::hold(const SentContent& content, Instant now) {
  const std::lock_guard lock(mutex_);
  if (const auto known = held_.find({content.digest, content.owner}); known != held_.end()) {
    known->second.used_at = now;
    known->second.content.content_type = content.content_type;
    return known->second.content;
  }
  if (const Status room = check_room_locked(content.owner, content.bytes); !room.ok()) return room.error();
  auto file = WholeFile::create(path(content.digest, content.owner));
  if (!file.ok()) return file.error();
  const std::string text = std::string(kHead) + std::to_string(content.bytes) + "\n" + content.content_type + "\n";
  if (const Status wrote = file->write_at(0, std::as_bytes(std::span(text))); !wrote.ok()) return wrote.error();
  if (const Status finished = file->finish(); !finished.ok()) return finished.error();
  if (const Status added = add(content, now); !added.ok()) {
    ::unlink(path(content.digest, content.owner).c_str());
    return added.error();
  }
  return held_.at({content.digest, content.owner}).content;
}

SentContents::HeldMap::iterator SentContents::seek(std::uint32_t who, const Digest& digest) {
  if (const auto own = held_.find({digest, who}); own != held_.end() || who != 0) return own;
  const auto any = held_.lower_bound({digest, 0});
  return any != held_.end() && any->first.first == digest ? any : held_.end();
}

std::optional<SentContent> SentContents::find(std::uint32_t who, const Digest& digest, Instant now) {
  const std::lock_guard lock(mutex_);
  const auto found = seek(who, digest);
  if (found == held_.end()) return std::nullopt;
  found->second.used_at = now;
  return found->second.content;
}

std::optional<SentContent> SentContents::find(std::uint32_t who, SegmentId id, Instant now) {
  const auto named = files_->named(id);
  return named ? find(who, named->digest, now) : std::nullopt;
}

Result<Digest> SentContents::release(std::uint32_t who, SegmentId id) {
  const auto named = files_->named(id);
  const std::lock_guard lock(mutex_);
  const auto found = named ? seek(who, named->digest) : held_.end();
  if (found == held_.end()) {
    return Error{ErrorCode::kNotFound, "segment " + std::to_string(id.value) + " is no durable upload of yours"};
  }
  ::unlink(path(named->digest, found->first.second).c_str());
  held_.erase(found);
  return named->digest;
}

std::vector<Digest> SentContents::forget_unused(Instant now) {
  std::vector<Digest> forgotten;
  const std::lock_guard lock(mutex_);
  for (auto next = held_.begin(); next != held_.end();) {
    const auto held = next++;
    if (now - held->second.used_at <= kUnused) continue;
    forgotten.push_back(held->first.first);
    ::unlink(path(held->first.first, held->first.second).c_str());
    held_.erase(held);
  }
  return forgotten;
}

std::vector<SentContent> SentContents::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<SentContent> all;
  for (const auto& [key, held] : held_) all.push_back(held.content);
  return all;
}

bool SentContents::has(const Digest& digest) const {
  const std::lock_guard lock(mutex_);
  const auto found = held_.lower_bound({digest, 0});
  return found != held_.end() && found->first.first == digest;
}

std::uint64_t SentContents::bytes() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t bytes = 0;
  const Digest* last = nullptr;
  for (const auto& [key, held] : held_) {
    if (last == nullptr || *last != key.first) bytes += held.content.bytes;
    last = &key.first;
  }
  return bytes;
}

Result<std::shared_ptr<const void>> SentContents::keep(SegmentId id) const {
  const auto named = files_->named(id);
  auto hold = std::make_shared<ContentFiles::Hold>(files_);
  if (!named || !hold->add_known(named->digest)) {
    return Error{ErrorCode::kNotFound, "the file of segment " + std::to_string(id.value) + " is gone: upload it again"};
  }
  return std::shared_ptr<const void>(std::move(hold));
}

}  // namespace futured
