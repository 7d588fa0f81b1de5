#include "worker/channel/channel.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
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

[[nodiscard]] bool is_table_size(std::uint32_t places) { return places >= 1 && places <= limits::kRunPlacesMax; }

[[nodiscard]] off_t rings_at(std::uint32_t run_places) {
  return static_cast<off_t>(kHeaderBytes + table_bytes(run_places));
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

// Half of the response ring is for DONEs. As many again may wait to be committed, and every run has a record to be
// offered in.
Geometry geometry_for(std::uint32_t runs) {
  Geometry geometry;
  if (runs == 1) return geometry;
  geometry.runs_at_once = runs;
  geometry.run_places = std::max(geometry.run_places, 2 * runs);
  const auto least = static_cast<std::uint32_t>(geometry.run_places * kDoneReserveBytes * 2);
  geometry.response_ring_bytes = std::max(geometry.response_ring_bytes, std::bit_ceil(least));
  geometry.request_ring_bytes = std::max(geometry.request_ring_bytes, std::bit_ceil(least) / 4);
  return geometry;
}

Result<Fd> create_memory(std::string_view name, const Geometry& geometry) {
  if (!is_ring_size(geometry.request_ring_bytes) || !is_ring_size(geometry.response_ring_bytes)) {
    return Error{ErrorCode::kInvalidArgument, "a ring is a power of two from 16 KiB to 256 MiB"};
  }
  if (!is_table_size(geometry.run_places)) {
    return Error{ErrorCode::kInvalidArgument,
                 "a run table has 1 to " + std::to_string(limits::kRunPlacesMax) + " places"};
  }
  Fd memory(::memfd_create(std::string(name).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.is_open()) return system_error("memfd_create");
  const off_t size = rings_at(geometry.run_places) + geometry.request_ring_bytes + off_t{geometry.response_ring_bytes};
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
  header->run_places = geometry.run_places;
  header->runs_at_once = geometry.runs_at_once;
  if (::pwrite(memory, page, sizeof page, 0) != ssize_t{sizeof page}) return system_error("pwrite channel header");
  const LoopFigures figures{};
  if (::pwrite(memory, &figures, sizeof figures, kLoopFiguresAt) != ssize_t{sizeof figures}) {
    return system_error("pwrite channel header");
  }
  // Empty places are zeros, and so is a hole.
  if (::fallocate(memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(kHeaderBytes),
                  static_cast<off_t>(table_bytes(geometry.run_places))) != 0) {
    return system_error("fallocate the tables");
  }
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
      places_(std::exchange(other.places_, nullptr)),
      replies_(std::exchange(other.replies_, nullptr)),
      request_(std::exchange(other.request_, nullptr)),
      response_(std::exchange(other.response_, nullptr)),
      request_bytes_(other.request_bytes_),
      response_bytes_(other.response_bytes_),
      run_places_(other.run_places_),
      runs_at_once_(other.runs_at_once_),
      generation_(other.generation_) {}

ChannelMap& ChannelMap::operator=(ChannelMap&& other) noexcept {
  if (this != &other) {
    unmap();
    header_ = std::exchange(other.header_, nullptr);
    places_ = std::exchange(other.places_, nullptr);
    replies_ = std::exchange(other.replies_, nullptr);
    request_ = std::exchange(other.request_, nullptr);
    response_ = std::exchange(other.response_, nullptr);
    request_bytes_ = other.request_bytes_;
    response_bytes_ = other.response_bytes_;
    run_places_ = other.run_places_;
    runs_at_once_ = other.runs_at_once_;
    generation_ = other.generation_;
  }
  return *this;
}

ChannelMap::~ChannelMap() { unmap(); }

void ChannelMap::unmap() {
  if (header_ != nullptr) ::munmap(header_, kHeaderBytes + table_bytes(run_places_));
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

  // The sizes are used from these copies only; a worker that changes the header later changes nothing here.
  alignas(Header) char page[sizeof(Header)];
  if (::pread(memory, page, sizeof page, 0) != ssize_t{sizeof page}) return system_error("pread channel header");
  const auto& header = *reinterpret_cast<const Header*>(page);
  const std::uint32_t request_bytes = header.request_ring_bytes;
  const std::uint32_t response_bytes = header.response_ring_bytes;
  if (header.magic != kMagic) return damaged("wrong magic");
  if (header.version != kVersion) return damaged("unknown version");
  if (header.header_bytes != kHeaderBytes) return damaged("wrong header size");
  if (!is_ring_size(request_bytes) || !is_ring_size(response_bytes)) return damaged("wrong ring size");
  if (!is_table_size(header.run_places)) return damaged("wrong size of its run table");
  const off_t rings = rings_at(header.run_places);
  if (status.st_size != rings + request_bytes + off_t{response_bytes}) {
    return damaged("its size is not what its header says");
  }
  ChannelMap map;
  map.run_places_ = header.run_places;
  map.runs_at_once_ = header.runs_at_once;
  void* place = ::mmap(nullptr, static_cast<std::size_t>(rings), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (place == MAP_FAILED) return system_error("mmap");
  map.header_ = static_cast<Header*>(place);
  map.places_ = reinterpret_cast<RunPlace*>(static_cast<char*>(place) + kHeaderBytes);
  map.replies_ =
      reinterpret_cast<ReplyPlace*>(static_cast<char*>(place) + kHeaderBytes + run_table_bytes(map.run_places_));
  map.generation_ = header.generation;

  auto request = map_ring(memory, request_bytes, rings);
  if (!request) return request.error();
  map.request_ = *request;
  map.request_bytes_ = request_bytes;
  auto response = map_ring(memory, response_bytes, rings + request_bytes);
  if (!response) return response.error();
  map.response_ = *response;
  map.response_bytes_ = response_bytes;
  return map;
}

bool has_unfinished(const ChannelMap& map) {
  const std::uint64_t published = map.header().request_published.load(std::memory_order_acquire);
  for (std::uint32_t number = 0; number < map.run_places(); ++number) {
    const RunPlace& place = map.place(number);
    const auto state = static_cast<RunState>(place.state.load(std::memory_order_acquire));
    if ((state == RunState::kOffered || state == RunState::kTaken) && place.position < published) return true;
  }
  return false;
}

}  // namespace futured::channel
