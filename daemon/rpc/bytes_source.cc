#include "daemon/rpc/bytes_source.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/spool_file.h"

namespace futured::rpc {

Result<BytesSource> BytesSource::of(const Part& part, SegmentTable& segments, const std::string& spool_directory) {
  BytesSource source;
  if (part.kind == PartKind::kSegment) {
    auto opened = segments.open(part.segment, 0);
    if (!opened.ok()) return opened.error().in("RESULT_LOST");
    if (part.end > opened->facts.bytes) return Error{ErrorCode::kDataLoss, "RESULT_LOST: the segment is another one"};
    source.file_ = std::move(opened->descriptor);
    source.begin_ = part.begin;
    source.size_ = part.end - part.begin;
    return source;
  }
  if (part.kind == PartKind::kLost) return Error{ErrorCode::kDataLoss, "RESULT_LOST: " + std::string(part.bytes)};
  const auto output = captured_output(part);
  if (!output || output->file.empty()) {
    source.bytes_ = part.bytes;
    source.size_ = part.bytes.size();
    return source;
  }
  auto opened = open_spool_file(spool_directory, output->file, output->spool_user);
  if (!opened.ok()) return Error{ErrorCode::kDataLoss, "RESULT_LOST: " + opened.error().message};
  source.file_ = std::move(opened->file);
  struct stat there {};
  if (fstat(source.file_.get(), &there) != 0 || !S_ISREG(there.st_mode) ||
      static_cast<std::uint64_t>(there.st_size) < output->kept()) {
    return Error{ErrorCode::kDataLoss, "RESULT_LOST: " + opened->path + " does not hold what was kept"};
  }
  source.size_ = output->kept();
  return source;
}

Status BytesSource::read(std::uint64_t offset, std::size_t count, std::string& into) const {
  if (!file_.is_open()) {
    into.assign(bytes_.substr(offset, count));
    return {};
  }
  into.resize(count);
  std::size_t done = 0;
  while (done < count) {
    const ssize_t got =
        pread(file_.get(), into.data() + done, count - done, static_cast<off_t>(begin_ + offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("reading a result");
    if (got == 0) return Error{ErrorCode::kDataLoss, "RESULT_LOST: a file or segment is shorter than it was"};
    done += static_cast<std::size_t>(got);
  }
  return {};
}

}  // namespace futured::rpc
