#include "segment/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "base/limits.h"

namespace futured {

namespace {

constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;

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
  if (size > limits::kSegmentBytesMax) {
    return Error{ErrorCode::kInvalidArgument, "segment of " + std::to_string(size) + " bytes is larger than " +
                                                  std::to_string(limits::kSegmentBytesMax)};
  }
  SegmentWriter writer;
  writer.descriptor_ = Fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!writer.descriptor_.is_open()) return system_error("memfd_create");
  if (size == 0) return writer;
  if (ftruncate(writer.descriptor_.get(), static_cast<off_t>(size)) != 0) return system_error("ftruncate segment");
  int failed;
  do {
    failed = fallocate(writer.descriptor_.get(), 0, 0, static_cast<off_t>(size)) == 0 ? 0 : errno;
  } while (failed == EINTR);
  if (failed != 0) return system_error("allocate segment of " + std::to_string(size) + " bytes", failed);
  auto memory = map(writer.descriptor_.get(), size, PROT_READ | PROT_WRITE, MAP_SHARED);
  if (!memory) return memory.error();
  writer.memory_ = std::move(memory).value();
  return writer;
}

Result<Segment> SegmentWriter::seal() && {
  memory_.reset();  // the kernel refuses the write seal while a writable mapping exists
  const int descriptor = descriptor_.get();
  if (fcntl(descriptor, F_ADD_SEALS, kSizeSeals | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
    if (errno != EBUSY) return system_error("seal segment");
    if (fcntl(descriptor, F_ADD_SEALS, kSizeSeals) != 0) return system_error("seal segment");
  }
  return adopt_segment(std::move(descriptor_));
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
  if (size > limits::kSegmentBytesMax) {
    return Error{ErrorCode::kInvalidArgument, "segment of " + std::to_string(size) + " bytes is larger than " +
                                                  std::to_string(limits::kSegmentBytesMax)};
  }
  return Segment{std::move(descriptor), size, {status.st_dev, status.st_ino}, (seals & F_SEAL_WRITE) != 0};
}

Result<Segment> make_segment(const char* name, std::span<const std::byte> content) {
  auto writer = SegmentWriter::create(name, content.size());
  if (!writer) return writer.error();
  if (!content.empty()) std::memcpy(writer->bytes().data(), content.data(), content.size());
  return std::move(*writer).seal();
}

Result<Mapping> map_segment(const Segment& segment) {
  // Kernels before 6.7 refuse a shared mapping of write-sealed memory. A private one that is only read has the same
  // pages.
  return map(segment.descriptor.get(), segment.size, PROT_READ, segment.immutable ? MAP_PRIVATE : MAP_SHARED);
}

}  // namespace futured
