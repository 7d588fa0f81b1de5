#include "segment/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "base/limits.h"

namespace futured {

namespace {

constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;
constexpr std::uint64_t kHugePageBytes = 2 * 1024 * 1024;

constexpr std::uint64_t kAllocationStepBytes = 64 * 1024 * 1024;  // some ms
constexpr std::size_t kWriteBytes = 8 * 1024 * 1024;              // of one system call

std::string allocation_of(std::uint64_t size) { return "allocate segment of " + std::to_string(size) + " bytes"; }

Error too_large(std::uint64_t size) {
  return {ErrorCode::kInvalidArgument,
          "segment of " + std::to_string(size) + " bytes is larger than " + std::to_string(limits::kSegmentBytesMax)};
}

// Of that size, with no page allocated yet.
Result<Fd> create_memory(const char* name, std::uint64_t size) {
  if (size > limits::kSegmentBytesMax) return too_large(size);
  Fd memory(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.is_open()) return system_error("memfd_create");
  if (ftruncate(memory.get(), static_cast<off_t>(size)) != 0) return system_error("ftruncate segment");
  return memory;
}

Result<Segment> seal_memory(Fd memory) {
  if (fcntl(memory.get(), F_ADD_SEALS, kSizeSeals | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
    if (errno != EBUSY) return system_error("seal segment");
    if (fcntl(memory.get(), F_ADD_SEALS, kSizeSeals) != 0) return system_error("seal segment");
  }
  return adopt_segment(std::move(memory));
}

// Every page of it now, so that no fault later finds the machine without room. Huge pages, where the machine lends them
// to shared memory, come only through a mapping that asks for them; fallocate then finds those pages in their places.
// Gives errno's number, 0 when it is done.
int allocate_pages(int descriptor, std::uint64_t at, std::span<std::byte> memory) {
  if (memory.size() >= kHugePageBytes && madvise(memory.data(), memory.size(), MADV_HUGEPAGE) == 0) {
    (void)madvise(memory.data(), memory.size(), MADV_POPULATE_WRITE);
  }
  int failed;
  do {
    failed = fallocate(descriptor, 0, static_cast<off_t>(at), static_cast<off_t>(memory.size())) == 0 ? 0 : errno;
  } while (failed == EINTR);
  return failed;
}

Result<Mapping> map(int descriptor, std::uint64_t size, int protection, int flags) {
  if (size == 0) return Mapping{};
  void* at = mmap(nullptr, size, protection, flags, descriptor, 0);
  if (at == MAP_FAILED) return system_error("map segment of " + std::to_string(size) + " bytes");
  return Mapping(at, size);
}

}  // namespace

Mapping::Mapping(Mapping&& other) noexcept
    : at_(std::exchange(other.at_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    reset();
    at_ = std::exchange(other.at_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void Mapping::reset() {
  if (at_ != nullptr) munmap(at_, size_);
  at_ = nullptr;
  size_ = 0;
}

Result<SegmentWriter> SegmentWriter::create(const char* name, std::uint64_t size) {
  auto writer = reserve(name, size);
  if (!writer) return writer.error();
  if (const Status allocated = writer->allocate(size); !allocated) return allocated.error();
  return writer;
}

Result<bool> SegmentWriter::allocate() {
  const std::uint64_t rest = memory_.size() - allocated_;
  if (const Status allocated = allocate(std::min(rest, kAllocationStepBytes)); !allocated) {
    return allocated.error();
  }
  return allocated_ == memory_.size();
}

Status SegmentWriter::allocate(std::uint64_t bytes) {
  if (bytes == 0) return {};
  const int failed = allocate_pages(descriptor_.get(), allocated_, this->bytes().subspan(allocated_, bytes));
  if (failed != 0) return system_error(allocation_of(memory_.size()), failed);
  allocated_ += bytes;
  return {};
}

Result<SegmentWriter> SegmentWriter::reserve(const char* name, std::uint64_t size) {
  auto created = create_memory(name, size);
  if (!created) return created.error();
  SegmentWriter writer;
  writer.descriptor_ = *std::move(created);
  if (size == 0) return writer;
  auto memory = map(writer.descriptor_.get(), size, PROT_READ | PROT_WRITE, MAP_SHARED);
  if (!memory) return memory.error();
  writer.memory_ = std::move(memory).value();
  return writer;
}

Result<Segment> SegmentWriter::seal() && {
  memory_.reset();  // the kernel refuses the write seal while a writable mapping exists
  return seal_memory(std::move(descriptor_));
}

Result<SegmentWriter::Begun> SegmentWriter::begin_seal() && {
  if (fcntl(descriptor_.get(), F_ADD_SEALS, kSizeSeals) != 0) return system_error("seal segment");
  Fd kept(fcntl(descriptor_.get(), F_DUPFD_CLOEXEC, 3));
  if (!kept.is_open()) return system_error("copy the descriptor of a segment");
  auto segment = adopt_segment(std::move(descriptor_));
  if (!segment) return segment.error();
  return Begun{std::move(*segment), Rest(std::move(kept), std::move(memory_))};
}

void SegmentWriter::Rest::finish() {
  memory_.reset();
  (void)fcntl(descriptor_.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL);
  descriptor_.reset();
}

Result<Segment> adopt_segment(Fd descriptor) {
  const int seals = fcntl(descriptor.get(), F_GET_SEALS);
  if (seals < 0) {
    if (errno != EINVAL) return system_error("read the seals of a segment");
    return Error{ErrorCode::kInvalidArgument, "descriptor is not a memfd that can be sealed"};
  }
  if ((seals & kSizeSeals) != kSizeSeals) {
    return Error{ErrorCode::kInvalidArgument, "segment is not sealed against shrinking and growing"};
  }
  struct stat status {};
  if (fstat(descriptor.get(), &status) != 0) return system_error("stat segment");
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > limits::kSegmentBytesMax) return too_large(size);
  return Segment{std::move(descriptor), size, {status.st_dev, status.st_ino}, (seals & F_SEAL_WRITE) != 0};
}

// Written, not mapped: that allocates as it goes, and spares a fault and an unmapping for every page.
Result<Segment> make_segment(const char* name, std::span<const std::byte> content) {
  auto memory = create_memory(name, content.size());
  if (!memory) return memory.error();
  for (std::size_t done = 0; done < content.size();) {
    const std::size_t count = std::min(content.size() - done, kWriteBytes);
    const ssize_t written = pwrite(memory->get(), content.data() + done, count, static_cast<off_t>(done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return system_error(allocation_of(content.size()), written < 0 ? errno : ENOSPC);
    done += static_cast<std::size_t>(written);
  }
  return seal_memory(*std::move(memory));
}

Result<Mapping> map_segment(const Segment& segment) {
  // Kernels before 6.7 refuse a shared mapping of write-sealed memory, and a shared one keeps others from sealing it. A
  // private one that is only read has the same pages.
  return map(segment.descriptor.get(), segment.size, PROT_READ, MAP_PRIVATE);
}

}  // namespace futured
