// Segments: sealed memory that is filled once, then shared by descriptor between processes.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "base/fd.h"
#include "base/result.h"

namespace futured {

// A stretch of mapped memory; unmaps itself.
class Mapping {
 public:
  Mapping() = default;
  Mapping(void* at, std::size_t size) : at_(at), size_(size) {}
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { reset(); }

  [[nodiscard]] std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(at_), size_}; }
  [[nodiscard]] void* data() const { return at_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  void reset();

 private:
  void* at_ = nullptr;
  std::size_t size_ = 0;
};

// Which memory a descriptor stands for, whatever number it has in which process.
struct SegmentIdentity {
  dev_t device = 0;
  ino_t inode = 0;

  bool operator==(const SegmentIdentity&) const = default;
};

// A segment that can no longer change in size, so that nobody who maps it is hit by SIGBUS.
struct Segment {
  Fd descriptor;
  std::uint64_t size = 0;
  SegmentIdentity identity;
  bool immutable = false;  // sealed against writing too: what was checked stays true
};

// Memory of one segment while it is filled. `name` is only seen in /proc. A size of 0 is fine.
class SegmentWriter {
 public:
  // All of it is allocated at once, so a machine without room says kResourceExhausted here, and no page fault does
  // later.
  [[nodiscard]] static Result<SegmentWriter> create(const char* name, std::uint64_t size);
  // Nothing is allocated yet: allocate() does, step by step, for a thread that has others to serve meanwhile. Nobody
  // touches bytes() before that is done.
  [[nodiscard]] static Result<SegmentWriter> reserve(const char* name, std::uint64_t size);
  // The next 64 MiB of it. True: all is allocated.
  [[nodiscard]] Result<bool> allocate();

  [[nodiscard]] std::span<std::byte> bytes() const { return {static_cast<std::byte*>(memory_.data()), memory_.size()}; }

  // Stays the segment's own when it is sealed.
  [[nodiscard]] int descriptor() const { return descriptor_.get(); }

  // Ends the writing: unmaps, seals against resizing, writing and further seals. bytes() is gone. If somebody else
  // still has the memory mapped for writing, the segment is sealed in size only, and `immutable` is false.
  [[nodiscard]] Result<Segment> seal() &&;

  // The same in two steps, for a writer who has better to do than to unmap: the segment, sealed in size, which may be
  // handed on at once; and finish(), any time later and on any thread, which unmaps and seals it against writing.
  // Nobody may write to bytes() in between.
  class Rest;
  struct Begun;
  [[nodiscard]] Result<Begun> begin_seal() &&;

 private:
  [[nodiscard]] Status allocate(std::uint64_t bytes);

  Fd descriptor_;
  Mapping memory_;
  std::uint64_t allocated_ = 0;
};

class SegmentWriter::Rest {
 public:
  Rest(Fd descriptor, Mapping memory) : descriptor_(std::move(descriptor)), memory_(std::move(memory)) {}
  // A segment that cannot be sealed stays as it is: that harms nobody but its writer.
  void finish();

 private:
  Fd descriptor_;
  Mapping memory_;
};

struct SegmentWriter::Begun {
  Segment segment;
  Rest rest;
};

// A descriptor that came from elsewhere, if it is a segment: a memfd sealed against shrinking and growing.
// Nothing else may be mapped by daemon, spawner or worker.
[[nodiscard]] Result<Segment> adopt_segment(Fd descriptor);

// Copies the bytes into a new segment.
[[nodiscard]] Result<Segment> make_segment(const char* name, std::span<const std::byte> content);

// The whole segment, read-only. Costs microseconds; pages are faulted in when touched. A size of 0 gives no memory.
[[nodiscard]] Result<Mapping> map_segment(const Segment& segment);

}  // namespace futured
