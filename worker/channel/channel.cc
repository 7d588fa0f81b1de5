#include "worker/channel/channel.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace futured::channel {

namespace {

constexpr int kMemorySeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
constexpr int kCopySeals = kMemorySeals | F_SEAL_WRITE;
constexpr std::uint32_t kRingBytesMin = 16 * 1024;
constexpr std::uint32_t kRingBytesMax = 256 * 1024 * 1024;

[[nodiscard]] bool is_ring_size(std::uint32_t bytes) {
  return std::has_single_bit(bytes) && bytes >= kRingBytesMin && bytes <= kRingBytesMax;
}

[[nodiscard]] Error damaged(std::string_view what) {
  return {ErrorCode::kDataLoss, "channel memory: " + std::string(what)};
}

// One ring of `bytes` at `offset`, mapped twice in a row.
[[nodiscard]] Result<char*> map_ring(int memory, std::uint32_t bytes, off_t offset) {
  const std::size_t both = std::size_t{bytes} * 2;
  void* place = ::mmap(nullptr, both, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (place == MAP_FAILED) return system_error("mmap");
  char* base = static_cast<char*>(place);
  for (char* half : {base, base + bytes}) {
    if (::mmap(half, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory, offset) == MAP_FAILED) {
      const Error error = system_error("mmap");
      ::munmap(place, both);
      return error;
    }
  }
  return base;
}

}  // namespace

Result<Fd> create_memory(std::string_view name, const Geometry& geometry) {
  if (!is_ring_size(geometry.request_ring_bytes) || !is_ring_size(geometry.response_ring_bytes)) {
    return Error{ErrorCode::kInvalidArgument, "a ring is a power of two from 16 KiB to 256 MiB"};
  }
  Fd memory(::memfd_create(std::string(name).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.is_open()) return system_error("memfd_create");
  const off_t size =
      static_cast<off_t>(kHeaderBytes) + geometry.request_ring_bytes + off_t{geometry.response_ring_bytes};
  if (::ftruncate(memory.get(), size) != 0) return system_error("ftruncate");
  if (::fcntl(memory.get(), F_ADD_SEALS, kMemorySeals) != 0) return system_error("fcntl F_ADD_SEALS");
  return memory;
}

Status initialise(int memory, SlotId slot, std::uint32_t generation, const Geometry& geometry) {
  alignas(Header) char page[sizeof(Header)] = {};
  auto* header = new (page) Header{};
  header->magic = kMagic;
  header->version = kVersion;
  header->header_bytes = kHeaderBytes;
  header->request_ring_bytes = geometry.request_ring_bytes;
  header->response_ring_bytes = geometry.response_ring_bytes;
  header->slot = slot.value;
  header->generation = generation;
  if (::pwrite(memory, page, sizeof page, 0) != ssize_t{sizeof page}) return system_error("pwrite channel header");
  return {};
}

Result<Fd> sealed_copy(std::string_view name, std::string_view bytes) {
  Fd memory(::memfd_create(std::string(name).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.is_open()) return system_error("memfd_create");
  while (!bytes.empty()) {
    const ssize_t written = ::write(memory.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_error("write to memfd");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fcntl(memory.get(), F_ADD_SEALS, kCopySeals) != 0) return system_error("fcntl F_ADD_SEALS");
  return memory;
}

SealedView::SealedView(SealedView&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

SealedView& SealedView::operator=(SealedView&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

SealedView::~SealedView() {
  if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_);
}

Result<SealedView> SealedView::map(int memfd, std::uint64_t bytes) {
  const int seals = ::fcntl(memfd, F_GET_SEALS);
  if (seals < 0) return system_error("fcntl F_GET_SEALS");
  if ((seals & (F_SEAL_SHRINK | F_SEAL_WRITE)) != (F_SEAL_SHRINK | F_SEAL_WRITE)) {
    return Error{ErrorCode::kInvalidArgument, "the memfd is not sealed against shrinking and writing"};
  }
  struct stat status {};
  if (::fstat(memfd, &status) != 0) return system_error("fstat");
  if (bytes > static_cast<std::uint64_t>(status.st_size)) {
    return Error{ErrorCode::kInvalidArgument, "the memfd is shorter than was said"};
  }
  SealedView view;
  if (bytes == 0) return view;
  // Private, since kernels before 6.7 refuse shared mappings of write-sealed memory; the pages are the same ones.
  void* place = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, memfd, 0);
  if (place == MAP_FAILED) return system_error("mmap");
  view.data_ = static_cast<const char*>(place);
  view.size_ = bytes;
  return view;
}

ChannelMap::ChannelMap(ChannelMap&& other) noexcept
    : header_(std::exchange(other.header_, nullptr)),
      request_(std::exchange(other.request_, nullptr)),
      response_(std::exchange(other.response_, nullptr)),
      request_bytes_(other.request_bytes_),
      response_bytes_(other.response_bytes_),
      generation_(other.generation_) {}

ChannelMap& ChannelMap::operator=(ChannelMap&& other) noexcept {
  if (this != &other) {
    unmap();
    header_ = std::exchange(other.header_, nullptr);
    request_ = std::exchange(other.request_, nullptr);
    response_ = std::exchange(other.response_, nullptr);
    request_bytes_ = other.request_bytes_;
    response_bytes_ = other.response_bytes_;
    generation_ = other.generation_;
  }
  return *this;
}

ChannelMap::~ChannelMap() { unmap(); }

void ChannelMap::unmap() {
  if (header_ != nullptr) ::munmap(header_, kHeaderBytes);
  if (request_ != nullptr) ::munmap(request_, std::size_t{request_bytes_} * 2);
  if (response_ != nullptr) ::munmap(response_, std::size_t{response_bytes_} * 2);
}

Result<ChannelMap> ChannelMap::map(int memory) {
  const int seals = ::fcntl(memory, F_GET_SEALS);
  if (seals < 0) return system_error("fcntl F_GET_SEALS");
  if ((seals & F_SEAL_SHRINK) == 0) return damaged("not sealed against shrinking");
  struct stat status {};
  if (::fstat(memory, &status) != 0) return system_error("fstat");
  if (status.st_size < static_cast<off_t>(kHeaderBytes)) return damaged("too short for its header");

  ChannelMap map;
  void* place = ::mmap(nullptr, kHeaderBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (place == MAP_FAILED) return system_error("mmap");
  map.header_ = static_cast<Header*>(place);

  // The sizes are used from these copies only; a worker that changes the header later changes nothing here.
  const volatile Header& header = *map.header_;
  const std::uint32_t request_bytes = header.request_ring_bytes;
  const std::uint32_t response_bytes = header.response_ring_bytes;
  if (header.magic != kMagic) return damaged("wrong magic");
  if (header.version != kVersion) return damaged("unknown version");
  if (header.header_bytes != kHeaderBytes) return damaged("wrong header size");
  if (!is_ring_size(request_bytes) || !is_ring_size(response_bytes)) return damaged("wrong ring size");
  if (status.st_size != static_cast<off_t>(kHeaderBytes) + request_bytes + off_t{response_bytes}) {
    return damaged("its size is not what its header says");
  }
  map.generation_ = header.generation;

  auto request = map_ring(memory, request_bytes, kHeaderBytes);
  if (!request) return request.error();
  map.request_ = *request;
  map.request_bytes_ = request_bytes;
  auto response = map_ring(memory, response_bytes, static_cast<off_t>(kHeaderBytes) + request_bytes);
  if (!response) return response.error();
  map.response_ = *response;
  map.response_bytes_ = response_bytes;
  return map;
}

bool has_unfinished(const ChannelMap& map) {
  const std::uint64_t published = map.header().request_published.load(std::memory_order_acquire);
  std::uint64_t at = map.header().request_tail.load(std::memory_order_acquire);
  if (at % 8 != 0 || published % 8 != 0 || published - at > map.request_bytes()) return false;
  while (at < published) {
    RecordHeader header;
    std::memcpy(&header, map.request(at), sizeof header);
    if (header.bytes < sizeof header || header.bytes % 8 != 0 || header.bytes > published - at) return false;
    if (header.type == static_cast<std::uint16_t>(RecordType::kRun) && header.bytes >= sizeof(RunRecord)) {
      const auto* run = reinterpret_cast<const RunRecord*>(map.request(at));
      const auto state = static_cast<RunState>(run->state.load(std::memory_order_acquire));
      if (state == RunState::kOffered || state == RunState::kTaken) return true;
    }
    at += header.bytes;
  }
  return false;
}

}  // namespace futured::channel
