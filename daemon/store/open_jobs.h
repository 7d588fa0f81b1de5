// OpenJobs: the ids of jobs that are unfinished and not in the backlog, that is of those a restart must find by itself.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

namespace futured {

// One bit an id, in chunks that exist only where a bit is set: about 20 ns an operation for ids that come in order, and
// memory for what is open, however far apart.
class OpenJobs {
 public:
  void open(std::uint64_t id);
  void settle(std::uint64_t id);  // ended, or in the backlog: for good
  [[nodiscard]] bool contains(std::uint64_t id) const;

  // The smallest open id that is at least `id`; 0: none.
  [[nodiscard]] std::uint64_t first_from(std::uint64_t id) const;
  // Largest id that open() or note() ever named.
  [[nodiscard]] std::uint64_t newest() const { return newest_; }
  void note(std::uint64_t id) { newest_ = id > newest_ ? id : newest_; }

 private:
  static constexpr std::uint64_t kChunkIds = 512;
  using Chunk = std::array<std::uint64_t, kChunkIds / 64>;

  std::map<std::uint64_t, Chunk> chunks_;  // by id / kChunkIds; none but *last_ is all zero
  // The chunk that open() used last: submits come in ascending order.
  std::uint64_t last_number_ = UINT64_MAX;
  Chunk* last_ = nullptr;
  std::uint64_t newest_ = 0;
};

}  // namespace futured
