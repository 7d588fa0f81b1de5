#include "worker/runtime/output_capture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace futured::runtime {

OutputCapture::OutputCapture(std::string spool_path, const CaptureLimits& limits)
    : spool_path_(std::move(spool_path)), limits_(limits) {}

void OutputCapture::append(std::string_view bytes) {
  while (!bytes.empty()) {
    // The head is written once; after it the tail is a ring.
    std::uint64_t offset = total_;
    std::uint64_t room = head_bytes_max() - std::min(total_, head_bytes_max());
    if (room == 0) {
      const std::uint64_t in_tail = (total_ - head_bytes_max()) % tail_bytes_max();
      offset = head_bytes_max() + in_tail;
      room = tail_bytes_max() - in_tail;
    }
    const std::string_view piece = bytes.substr(0, room);
    write(offset, piece);
    total_ += piece.size();
    bytes.remove_prefix(piece.size());
  }
}

void OutputCapture::write(std::uint64_t offset, std::string_view bytes) {
  if (!fault_.empty()) return;
  if (!file_.is_open() && offset + bytes.size() > limits_.memory_bytes_max) {
    spool();
    // Without a file the beginning is kept as far as memory goes.
    if (!fault_.empty()) bytes = bytes.substr(0, limits_.memory_bytes_max - std::min(offset, limits_.memory_bytes_max));
  }
  if (!file_.is_open()) {
    const std::uint64_t end = offset + bytes.size();
    if (memory_.size() < end) memory_.resize(end);
    std::memcpy(memory_.data() + offset, bytes.data(), bytes.size());
    written_ = std::max(written_, end);
    return;
  }
  while (!bytes.empty()) {
    const ssize_t count = pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(system_error("write " + spool_path_).message);
    offset += static_cast<std::uint64_t>(count);
    bytes.remove_prefix(static_cast<std::size_t>(count));
    written_ = std::max(written_, offset);
  }
}

void OutputCapture::spool() {
  if (file_.is_open() || spool_path_.empty() || !fault_.empty()) return;
  file_ = Fd(open(spool_path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file_.is_open()) return fail(system_error("open " + spool_path_).message);
  const std::string kept = std::move(memory_);
  memory_.clear();
  written_ = 0;
  if (!kept.empty()) write(0, kept);
}

// From here on everything is dropped: a gap in the middle of what is kept could not be told apart from output.
void OutputCapture::fail(std::string why) {
  fault_ = std::move(why);
  // What wrapped over older bytes of the tail is neither here nor there any more.
  written_ = std::min(written_, head_bytes_max());
}

void OutputCapture::finish() {
  if (total_ > limits_.kept_bytes_max) straighten_tail();
  const std::uint64_t kept = fault_.empty() ? std::min(total_, limits_.kept_bytes_max) : std::min(written_, total_);
  dropped_ = total_ - kept;
  dropped_at_ = fault_.empty() ? std::min(total_, head_bytes_max()) : kept;
  if (!file_.is_open()) {
    memory_.resize(std::min<std::uint64_t>(memory_.size(), kept));
    return;
  }
  if (const Status durable = make_durable(kept); !durable) give_up_file(durable.error().message);
}

// The ring's oldest byte stands where the next one would have been written.
void OutputCapture::straighten_tail() {
  if (!fault_.empty()) return;
  const std::uint64_t oldest = (total_ - head_bytes_max()) % tail_bytes_max();
  std::string ring(tail_bytes_max(), '\0');
  if (!read(head_bytes_max(), ring)) return fail("cannot read " + spool_path_ + " back");
  std::rotate(ring.begin(), ring.begin() + static_cast<std::ptrdiff_t>(oldest), ring.end());
  write(head_bytes_max(), ring);
}

// The outcome that names this file is only worth its commit when the file is as durable.
Status OutputCapture::make_durable(std::uint64_t kept) const {
  if (ftruncate(file_.get(), static_cast<off_t>(kept)) != 0) return system_error("truncate " + spool_path_);
  if (fdatasync(file_.get()) != 0) return system_error("sync " + spool_path_);
  const std::string folder = spool_path_.substr(0, spool_path_.rfind('/') + 1);
  const Fd directory(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.is_open()) return system_error("open " + folder);
  // EINVAL: a file system that knows no sync of a directory; it can do no more.
  if (fsync(directory.get()) != 0 && errno != EINVAL) return system_error("sync " + folder);
  return {};
}

// As much as a report shows of a spooled stream anyway moves into memory, which goes into the report and is as durable
// as that; the rest counts as dropped. After an earlier fault that is the beginning, for the end is already missing.
void OutputCapture::give_up_file(std::string why) {
  const std::uint64_t kept = total_ - dropped_;
  const bool has_end = fault_.empty();
  const std::uint64_t whole = has_end && dropped_ > 0 ? kept - dropped_at_ : kept;
  std::string rest(std::min<std::uint64_t>(whole, limits::kOutputTailBytes), '\0');
  if (!read(has_end ? kept - rest.size() : 0, rest)) rest.clear();
  struct stat found {};
  if (fstat(file_.get(), &found) == 0 && S_ISREG(found.st_mode)) (void)unlink(spool_path_.c_str());
  file_.reset();
  memory_ = std::move(rest);
  dropped_ = total_ - memory_.size();
  dropped_at_ = has_end ? 0 : memory_.size();
  if (has_end) fault_ = std::move(why);
}

std::string OutputCapture::tail(std::size_t bytes_max) const {
  const std::uint64_t kept = total_ - dropped_;
  std::string bytes(std::min<std::uint64_t>(kept, bytes_max), '\0');
  if (!read(kept - bytes.size(), bytes)) bytes.clear();
  return bytes;
}

bool OutputCapture::read(std::uint64_t offset, std::string& bytes) const {
  if (!file_.is_open()) {
    if (offset + bytes.size() > memory_.size()) return false;
    std::memcpy(bytes.data(), memory_.data() + offset, bytes.size());
    return true;
  }
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count =
        pread(file_.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += static_cast<std::size_t>(count);
  }
  return true;
}

}  // namespace futured::runtime
