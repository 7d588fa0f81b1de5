#include "daemon/store/content_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/fd.h"
#include "base/limits.h"
#include "base/stored_segment.h"
#include "base/whole_file.h"
#include "segment/compression.h"

namespace futured {

namespace {

constexpr std::string_view kPackedSuffix = ".zst";
constexpr std::string_view kPartSuffix = ".part-";  // as WholeFile has it

// One frame holds so much: the memory that compressing takes.
constexpr std::size_t kFrameBytes = 4 * 1024 * 1024;

// What is tried first: pieces from all over the content. It pays when an eighth is saved.
constexpr std::size_t kTrialPieces = 4;
constexpr std::size_t kTrialPieceBytes = 8 * 1024;

bool pays(std::size_t packed, std::size_t plain) { return packed <= plain - plain / 8; }

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

Result<bool> is_worth_packing(Compressor& compressor, std::string_view content) {
  if (content.size() <= kTrialPieces * kTrialPieceBytes) return true;
  std::string trial;
  for (std::size_t i = 0; i < kTrialPieces; ++i) {
    trial += content.substr((content.size() - kTrialPieceBytes) / (kTrialPieces - 1) * i, kTrialPieceBytes);
  }
  const auto packed = compressor.compress(bytes_of(trial));
  if (!packed.ok()) return packed.error();
  return pays(packed->size(), trial.size());
}

Result<std::string> read_whole(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat there {};
  if (!file.is_open() || ::fstat(file.get(), &there) != 0) return system_error(path);
  const auto size = static_cast<std::uint64_t>(there.st_size);
  if (!S_ISREG(there.st_mode) || size > frame_bytes_max(limits::kResultBytesMax)) {
    return Error{ErrorCode::kDataLoss, path + " is no file of ours"};
  }
  std::string bytes(size, '\0');
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t got = ::pread(file.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(path);
    if (got == 0) return Error{ErrorCode::kDataLoss, path + " became shorter while it was read"};
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

// A content in pieces of a frame each. Of one that may change they are copies, so that what is written is what was
// hashed.
class PiecesOfContent {
 public:
  PiecesOfContent(std::string_view content, ContentFiles::Care care)
      : content_(content), is_copied_(care == ContentFiles::Care::kChanging) {}

  bool next() {
    offset_ += piece_.size();
    if (offset_ == content_.size()) return false;
    piece_ = content_.substr(offset_, kFrameBytes);
    if (!is_copied_) return true;
    copy_.assign(piece_);
    piece_ = copy_;
    digest_.add(piece_);
    return true;
  }
  [[nodiscard]] std::string_view piece() const { return piece_; }
  [[nodiscard]] std::uint64_t offset() const { return offset_; }
  // After the last one.
  [[nodiscard]] Status check(const Digest& wanted) {
    if (!is_copied_ || digest_.finish() == wanted) return {};
    return Error{ErrorCode::kFailedPrecondition, "somebody wrote to the segment while it was stored: seal it first"};
  }

 private:
  const std::string_view content_;
  const bool is_copied_;
  std::string copy_;
  std::string_view piece_;
  std::uint64_t offset_ = 0;
  DigestOfPieces digest_;
};

// Fills a buffer from a place of a file. Less than was asked for: there the file ends.
Result<std::size_t> read_some(int file, std::uint64_t at, std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t got = ::pread(file, into.data() + done, into.size() - done, static_cast<off_t>(at + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("cannot read");
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

using TakePiece = std::function<void(std::span<const std::byte>)>;

// The content of a file, a piece after the other; never more than `size` bytes.
Status read_pieces(int file, bool is_packed, std::uint64_t size, const TakePiece& take) {
  std::vector<std::byte> raw(is_packed ? frame_bytes_max(kFrameBytes) : kFrameBytes);
  std::vector<std::byte> piece;
  auto decompressor = Decompressor::make();
  if (!decompressor.ok()) return decompressor.error();
  std::uint64_t at = 0;
  for (std::uint64_t done = 0;;) {
    const auto got = read_some(file, at, raw);
    if (!got.ok()) return got.error();
    if (*got == 0 && done == size) return {};
    if (*got == 0 || done == size) return Error{ErrorCode::kDataLoss, "it has not the size that was stored"};
    auto bytes = std::span<const std::byte>(raw).first(*got);
    if (is_packed) {
      const auto frame = frame_bytes(bytes);
      if (!frame.ok()) return frame.error();
      bytes = bytes.first(*frame);
      const auto gives = frame_content_bytes(bytes);
      if (!gives.ok()) return gives.error();
      if (*gives > kFrameBytes) return Error{ErrorCode::kDataLoss, "a frame is larger than any of ours"};
      piece.resize(*gives);
      if (const Status unpacked = decompressor->decompress(bytes, piece); !unpacked.ok()) return unpacked;
    }
    const auto out = is_packed ? std::span<const std::byte>(piece) : bytes;
    at += bytes.size();
    if (out.size() > size - done) return Error{ErrorCode::kDataLoss, "it has not the size that was stored"};
    take(out);
    done += out.size();
  }
}

Result<std::string> read_packed(const std::string& path, std::uint64_t size) {
  const auto packed = read_whole(path);
  if (!packed.ok()) return packed;
  if (size > limits::kResultBytesMax) return Error{ErrorCode::kDataLoss, "it was never so large"};
  auto decompressor = Decompressor::make();
  if (!decompressor.ok()) return decompressor.error();
  std::string content(size, '\0');
  const Status unpacked = decompressor->decompress(bytes_of(*packed), std::as_writable_bytes(std::span(content)));
  if (!unpacked.ok()) return unpacked.error();
  return content;
}

constexpr const char* kRemedy = ": restore it from a backup, or submit the job again";

// Errors name the file.
Status read_whole_content(const std::string& plain, const std::string& packed, const Digest& digest, std::uint64_t size,
                          const TakePiece& take) {
  std::string path = plain;
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  const bool is_packed = !file.is_open() && errno == ENOENT;
  if (is_packed) {
    path = packed;
    file = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  }
  if (!file.is_open()) {
    if (errno == ENOENT) return Error{ErrorCode::kNotFound, plain + " is gone" + kRemedy};
    return system_error(path);
  }
  DigestOfPieces found;
  const Status read = read_pieces(file.get(), is_packed, size, [&](std::span<const std::byte> piece) {
    found.add({reinterpret_cast<const char*>(piece.data()), piece.size()});
    take(piece);
  });
  if (!read.ok() && read.error().code != ErrorCode::kDataLoss) return read.error().in(path);
  if (read.ok() && found.finish() == digest) return {};
  return Error{ErrorCode::kDataLoss, path + " does not hold what was stored" +
                                         (read.ok() ? "" : " (" + read.error().message + ")") + kRemedy};
}

}  // namespace

// ---- Holds

ContentFiles::Hold& ContentFiles::Hold::operator=(Hold&& other) noexcept {
  std::swap(files_, other.files_);
  std::swap(held_, other.held_);
  return *this;
}

Result<Digest> ContentFiles::Hold::add(std::string_view content, Care care) {
  const Digest digest = Digest::of(content);
  {
    const std::lock_guard lock(files_->mutex_);
    ++files_->held_[digest].holds;
  }
  held_.push_back(digest);
  if (const Status kept = files_->keep(digest, content, care); !kept.ok()) return kept.error();
  return digest;
}

bool ContentFiles::Hold::add_known(const Digest& digest) {
  held_.push_back(digest);
  const std::lock_guard lock(files_->mutex_);
  ++files_->held_[digest].holds;
  struct stat found {};
  return ::lstat(files_->plain_path(digest).c_str(), &found) == 0 ||
         ::lstat(files_->packed_path(digest).c_str(), &found) == 0;
}

void ContentFiles::Hold::stay() const { files_->stay(held_); }

void ContentFiles::Hold::give_up() {
  if (files_) files_->release(held_);
  held_.clear();
}

void ContentFiles::stay(std::span<const Digest> held) {
  const std::lock_guard lock(mutex_);
  for (const Digest& digest : held) held_.at(digest).stays = true;
}

void ContentFiles::release(std::span<const Digest> held) {
  const std::lock_guard lock(mutex_);
  for (const Digest& digest : held) {
    const auto found = held_.find(digest);
    if (--found->second.holds > 0) continue;
    if (found->second.is_new && !found->second.stays && !is_closed_) remove(digest);
    held_.erase(found);
  }
}

// What is held may be named again by the next commit, which says then that it stays.
void ContentFiles::drop(const Digest& digest) {
  const std::lock_guard lock(mutex_);
  if (const auto found = held_.find(digest); found != held_.end()) {
    found->second.is_new = true;
  } else if (!is_closed_) {
    remove(digest);
  }
}

void ContentFiles::drop_unless(const Digest& digest, const std::function<bool()>& is_used) {
  const std::lock_guard lock(mutex_);
  if (!held_.contains(digest) && !is_closed_ && !is_used()) remove(digest);
}

Status ContentFiles::name(const Named& content) {
  const std::lock_guard lock(mutex_);
  const auto [known, is_new] = names_.try_emplace(stored_segment(content.digest.bytes), content);
  if (!is_new && known->second.digest != content.digest) {
    return Error{ErrorCode::kAlreadyExists, "sha256:" + content.digest.hex() + " and sha256:" +
                                                known->second.digest.hex() + " would be one segment: change a byte"};
  }
  names_any_.store(true, std::memory_order_relaxed);
  return {};
}

std::optional<ContentFiles::Named> ContentFiles::named(SegmentId id) const {
  const std::lock_guard lock(mutex_);
  const auto found = names_.find(id);
  return found != names_.end() ? std::optional(found->second) : std::nullopt;
}

void ContentFiles::close() {
  const std::lock_guard lock(mutex_);
  is_closed_ = true;
}

// ---- Writing

// Two who store the same content at once: the second waits, for a name is safe only when its directory was synced.
Status ContentFiles::keep(const Digest& digest, std::string_view content, Care care) {
  std::unique_lock lock(mutex_);
  written_.wait(lock, [&] { return !under_way_.contains(digest); });
  if (is_closed_) return Error{ErrorCode::kUnavailable, "the store is closed: connect again"};
  bool is_needed = damaged_.contains(digest) || !is_there(digest, content.size());
  if (!is_needed && (care == Care::kQuick || sound_.contains(digest))) return {};
  under_way_.insert(digest);
  lock.unlock();
  // One that is damaged is replaced by who brings the bytes.
  const bool was_damaged = !is_needed && !is_sound(digest, content.size());
  is_needed = is_needed || was_damaged;
  const std::uint64_t before = disk_bytes(digest);
  Status wrote = is_needed ? write(digest, content, care) : Status();
  bytes_ += disk_bytes(digest) - before;
  lock.lock();
  under_way_.erase(digest);
  if (wrote.ok()) {
    sound_.insert(digest);
    // A damaged one that is written anew belongs to jobs already.
    if (is_needed) held_[digest].is_new = damaged_.erase(digest) == 0 && !was_damaged;
  } else if (was_damaged) {
    damaged_.insert(digest);
  }
  written_.notify_all();
  return wrote;
}

bool ContentFiles::is_there(const Digest& digest, std::uint64_t size) const {
  struct stat found {};
  if (::lstat(plain_path(digest).c_str(), &found) == 0 && S_ISREG(found.st_mode)) {
    return static_cast<std::uint64_t>(found.st_size) == size;
  }
  return ::lstat(packed_path(digest).c_str(), &found) == 0 && S_ISREG(found.st_mode) && found.st_size > 0;
}

// Of the two names only one is ever left.
Status ContentFiles::write(const Digest& digest, std::string_view content, Care care) const {
  if (const Status made = make_directory(); !made.ok()) return made;
  if (compression_level_ > 0 && !content.empty()) {
    const auto packed = write_packed(digest, content, care);
    if (!packed.ok()) return packed.error();
    if (*packed) {
      ::unlink(plain_path(digest).c_str());
      return {};
    }
  }
  auto file = WholeFile::create(plain_path(digest));
  if (!file.ok()) return file.error();
  PiecesOfContent pieces(content, care);
  while (pieces.next()) {
    if (const Status wrote = file->write_at(pieces.offset(), bytes_of(pieces.piece())); !wrote.ok()) return wrote;
  }
  if (const Status same = pieces.check(digest); !same.ok()) return same;
  if (const Status finished = file->finish(); !finished.ok()) return finished;
  ::unlink(packed_path(digest).c_str());
  return {};
}

// False: it would not pay, and nothing was written.
Result<bool> ContentFiles::write_packed(const Digest& digest, std::string_view content, Care care) const {
  auto compressor = Compressor::make(compression_level_);
  if (!compressor.ok()) return compressor.error();
  const auto worth = is_worth_packing(*compressor, content);
  if (!worth.ok() || !*worth) return worth;
  auto file = WholeFile::create(packed_path(digest));
  if (!file.ok()) return file.error();
  std::uint64_t written = 0;
  PiecesOfContent pieces(content, care);
  while (pieces.next()) {
    const auto frame = compressor->compress(bytes_of(pieces.piece()));
    if (!frame.ok()) return frame.error();
    if (const Status wrote = file->write_at(written, *frame); !wrote.ok()) return wrote.error();
    written += frame->size();
  }
  if (!pays(written, content.size())) return false;
  if (const Status same = pieces.check(digest); !same.ok()) return same.error();
  if (const Status finished = file->finish(); !finished.ok()) return finished.error();
  return true;
}

Status ContentFiles::make_directory() const {
  if (::mkdir(directory_.c_str(), 0700) != 0) {
    if (errno == EEXIST) return {};
    return system_error("cannot make " + directory_);
  }
  const Fd above(::open((directory_ + "/..").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!above.is_open() || ::fsync(above.get()) != 0) return system_error("cannot sync the directory of " + directory_);
  return {};
}

std::uint64_t ContentFiles::disk_bytes(const Digest& digest) const {
  std::uint64_t bytes = 0;
  struct stat found {};
  for (const std::string& path : {plain_path(digest), packed_path(digest)}) {
    if (::lstat(path.c_str(), &found) == 0) bytes += static_cast<std::uint64_t>(found.st_size);
  }
  return bytes;
}

void ContentFiles::remove(const Digest& digest) {
  bytes_ -= disk_bytes(digest);
  ::unlink(plain_path(digest).c_str());
  ::unlink(packed_path(digest).c_str());
  sound_.erase(digest);
  const auto known = names_.find(stored_segment(digest.bytes));
  if (known != names_.end() && known->second.digest == digest) names_.erase(known);
  names_any_.store(!names_.empty(), std::memory_order_relaxed);
}

// ---- Reading

Result<std::string> ContentFiles::read(const Digest& digest, std::uint64_t size) {
  std::string path = plain_path(digest);
  auto content = read_whole(path);
  if (!content.ok() && content.error().code == ErrorCode::kNotFound) {
    path = packed_path(digest);
    content = read_packed(path, size);
  }
  if (content.ok() && content->size() == size && Digest::of(*content) == digest) return content;
  const ErrorCode code = content.ok() ? ErrorCode::kDataLoss : content.error().code;
  if (code == ErrorCode::kResourceExhausted) return content;  // of this process: the file may be sound
  const std::string remedy = kRemedy;
  if (code == ErrorCode::kNotFound) return Error{code, plain_path(digest) + " is gone" + remedy};
  const std::lock_guard lock(mutex_);
  damaged_.insert(digest);
  sound_.erase(digest);
  return Error{ErrorCode::kDataLoss, path + " does not hold what was stored" +
                                         (content.ok() ? "" : " (" + content.error().message + ")") + remedy};
}

bool ContentFiles::is_sound(const Digest& digest, std::uint64_t size) const {
  return read_whole_content(plain_path(digest), packed_path(digest), digest, size, [](auto) {}).ok();
}

Status ContentFiles::read_into(const Digest& digest, std::span<std::byte> out) {
  std::size_t done = 0;
  const Status read = read_whole_content(plain_path(digest), packed_path(digest), digest, out.size(), [&](auto piece) {
    std::ranges::copy(piece, out.subspan(done).begin());
    done += piece.size();
  });
  const std::lock_guard lock(mutex_);
  if (read.ok()) {
    sound_.insert(digest);
  } else if (read.error().code == ErrorCode::kDataLoss) {
    damaged_.insert(digest);
    sound_.erase(digest);
  }
  return read;
}

// ---- At the start

Status ContentFiles::sweep(const std::function<Result<bool>(const Digest&)>& is_needed) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(directory_.c_str()), ::closedir);
  if (!directory) return errno == ENOENT ? Status() : Status(system_error(directory_));
  while (const dirent* const entry = ::readdir(directory.get())) {
    std::string_view name = entry->d_name;
    const auto digest = Digest::from_hex(name.substr(0, Digest::kHexBytes));
    if (!digest) continue;
    name.remove_prefix(Digest::kHexBytes);
    if (name.starts_with(kPackedSuffix)) name.remove_prefix(kPackedSuffix.size());
    if (name.empty()) {
      const auto needed = is_needed(*digest);
      if (!needed.ok()) return needed.error();
      if (*needed) {
        struct stat found {};
        if (::fstatat(::dirfd(directory.get()), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) == 0) {
          bytes_ += static_cast<std::uint64_t>(found.st_size);
        }
        continue;
      }
    } else if (!name.starts_with(kPartSuffix)) {
      continue;
    }
    if (::unlinkat(::dirfd(directory.get()), entry->d_name, 0) != 0) {
      return system_error("cannot remove " + directory_ + "/" + entry->d_name);
    }
  }
  return {};
}

}  // namespace futured
