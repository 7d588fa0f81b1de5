// A slot's shared memory and the descriptors around it; made by the spawner, mapped by the daemon and by the worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/fd.h"
#include "base/id.h"
#include "base/result.h"
#include "worker/channel/layout.h"

namespace futured::channel {

// What one end of a channel holds. The memory and the eventfds belong to the slot, the sockets to one generation.
struct ChannelFds {
  Fd memory;       // the sealed memfd
  Fd to_worker;    // eventfd that the worker sleeps on
  Fd to_host;      // eventfd that the daemon sleeps on; never read, watched edge-triggered
  Fd descriptors;  // this end of the slot's descriptor socket (SEQPACKET)
};

struct Geometry {
  std::uint32_t request_ring_bytes = limits::kRequestRingBytes;
  std::uint32_t response_ring_bytes = limits::kResponseRingBytes;
  std::uint32_t run_places = limits::kOffersPerSlotMax;
  std::uint32_t runs_at_once = 1;

  friend bool operator==(const Geometry&, const Geometry&) = default;
};

// For a worker that has so many runs at once.
[[nodiscard]] Geometry geometry_for(std::uint32_t runs);

// A sealed memfd of the right size; its header is written by initialise().
[[nodiscard]] Result<Fd> create_memory(std::string_view name, const Geometry& geometry = {});

// Empties both rings and begins `generation`. Only while no worker has the channel and no response is still wanted.
[[nodiscard]] Status initialise(int memory, SlotId slot, std::uint32_t generation, const Geometry& geometry = {});

// A private, sealed (never shrinks, grows or changes) memfd that holds `bytes`.
[[nodiscard]] Result<Fd> sealed_copy(std::string_view name, std::string_view bytes);

// A read-only mapping of a memfd that can neither shrink nor change, or an error when it is not sealed so.
class SealedView {
 public:
  SealedView() = default;
  SealedView(SealedView&& other) noexcept;
  SealedView& operator=(SealedView&& other) noexcept;
  ~SealedView();

  [[nodiscard]] static Result<SealedView> map(int memfd, std::uint64_t bytes);
  [[nodiscard]] std::string_view bytes() const { return {data_, size_}; }

 private:
  const char* data_ = nullptr;
  std::size_t size_ = 0;
};

// The mapped channel: header and tables once, each ring twice, back to back, so that every record is contiguous.
class ChannelMap {
 public:
  ChannelMap() = default;
  ChannelMap(ChannelMap&& other) noexcept;
  ChannelMap& operator=(ChannelMap&& other) noexcept;
  ~ChannelMap();

  // Refuses memory of another magic, version or size, or without its seals.
  [[nodiscard]] static Result<ChannelMap> map(int memory);

  [[nodiscard]] Header& header() const { return *header_; }
  [[nodiscard]] LoopFigures& loop_figures() const {
    return *reinterpret_cast<LoopFigures*>(reinterpret_cast<char*>(header_) + kLoopFiguresAt);
  }
  [[nodiscard]] char* request(std::uint64_t position) const { return request_ + (position & (request_bytes_ - 1)); }
  [[nodiscard]] char* response(std::uint64_t position) const { return response_ + (position & (response_bytes_ - 1)); }
  [[nodiscard]] RunPlace& place(std::uint32_t number) const { return places_[number]; }     // below run_places()
  [[nodiscard]] ReplyPlace& reply(std::uint32_t number) const { return replies_[number]; }  // likewise
  // Private copies, checked once: what stands in shared memory afterwards no longer matters.
  [[nodiscard]] std::uint32_t request_bytes() const { return request_bytes_; }
  [[nodiscard]] std::uint32_t response_bytes() const { return response_bytes_; }
  [[nodiscard]] std::uint32_t run_places() const { return run_places_; }
  [[nodiscard]] std::uint32_t runs_at_once() const { return runs_at_once_; }
  [[nodiscard]] std::uint32_t generation() const { return generation_; }

 private:
  void unmap();

  Header* header_ = nullptr;
  RunPlace* places_ = nullptr;
  ReplyPlace* replies_ = nullptr;
  char* request_ = nullptr;
  char* response_ = nullptr;
  std::uint32_t request_bytes_ = 0;
  std::uint32_t response_bytes_ = 0;
  std::uint32_t run_places_ = 0;
  std::uint32_t runs_at_once_ = 1;
  std::uint32_t generation_ = 0;
};

// True while a run of this channel is offered or taken, by its table alone: for who holds only the memory.
[[nodiscard]] bool has_unfinished(const ChannelMap& map);

}  // namespace futured::channel
