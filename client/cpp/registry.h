// Registry: which future a job id belongs to, for the outcomes that come in. Internal; knows no gRPC.
#pragma once

#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "client/cpp/block.h"

namespace futured::client {

class Registry {
 public:
  // A block of this client's own stream whose ids are known and whose outcomes will come. Held until all have.
  void add(BlockRef block);
  // One future that asked for the outcome of `id` by itself.
  void attach(std::uint64_t id, BlockRef block, std::uint32_t index);

  [[nodiscard]] bool is_open(std::uint64_t id);
  // Ids of the stream's own jobs whose outcomes have not come.
  [[nodiscard]] std::vector<std::uint64_t> open_ids();
  // Those of one executor, whoever tells their outcomes.
  [[nodiscard]] std::vector<std::uint64_t> open_ids_of(const Tally* tally);
  // The connection is gone for good.
  void refuse(const std::vector<std::uint64_t>& ids, const std::exception_ptr& why);
  void refuse_everything(const std::exception_ptr& why);

 private:
  friend class Delivery;
  std::mutex mutex_;
  std::map<std::uint64_t, BlockRef> own_;  // by first id; the ranges never overlap
  std::unordered_multimap<std::uint64_t, std::pair<BlockRef, std::uint32_t>> attached_;
};

// Hands in the outcomes of one message: one registry lock for all, one block lock for each run of ids, and those who
// wait are told at the end.
class Delivery {
 public:
  explicit Delivery(Registry& registry) : registry_(registry), guard_(registry.mutex_) {}
  ~Delivery();
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;

  void simple(std::uint64_t id, std::string_view bytes);
  void full(Outcome outcome);
  void refused(std::uint64_t id, const std::exception_ptr& why);

 private:
  bool select(std::uint64_t id);  // makes the own block of `id` the current one
  void leave();
  template <typename End>
  void each_attached(std::uint64_t id, const End& end);

  Notices notices_;  // told after guard_ is gone: see the destructor
  Registry& registry_;
  std::unique_lock<std::mutex> guard_;
  Block* current_ = nullptr;
  std::unique_lock<std::mutex> current_guard_;
};

}  // namespace futured::client
