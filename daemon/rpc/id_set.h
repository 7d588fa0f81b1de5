// IdSet: the ids that a wait is still open for. A range costs a bit an id.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "daemon/loop/sinks.h"
#include "daemon/rpc/convert.h"

namespace futured::rpc {

// The ranges of a request, sorted and joined. Refuses an id of 0, a range that ends before it begins, and more than
// `ids_max` ids.
[[nodiscard]] Result<std::vector<JobRange>> to_ranges(const google::protobuf::RepeatedPtrField<api::IdRange>& asked,
                                                      std::uint64_t ids_max);

// The same of ids in any order, each once.
[[nodiscard]] std::vector<JobRange> ranges_of(std::vector<JobId> ids);

class IdSet {
 public:
  // `ranges` as to_ranges gives them.
  explicit IdSet(std::vector<JobRange> ranges);

  [[nodiscard]] std::uint64_t size() const { return left_; }
  // False: it was not in the set, or was taken before.
  bool take(JobId id);
  [[nodiscard]] bool has(JobId id) const;

  // The next at most `most` ids from the place where the last call stopped.
  [[nodiscard]] std::vector<JobId> next(std::size_t most);
  [[nodiscard]] bool at_end() const { return cursor_ >= total_; }

 private:
  [[nodiscard]] std::uint64_t place_of(JobId id) const;  // total_: none
  [[nodiscard]] JobId id_at(std::uint64_t place) const;

  std::vector<JobRange> ranges_;
  std::vector<std::uint64_t> begins_;  // place of each range's first id
  std::vector<bool> taken_;            // by place
  std::uint64_t total_ = 0;
  std::uint64_t left_ = 0;
  std::uint64_t cursor_ = 0;
};

}  // namespace futured::rpc
