#include "daemon/store/backlog_runs.h"

#include <algorithm>

namespace futured {

std::vector<BacklogRun> runs_of(std::vector<BacklogKey> keys) {
  if (!std::ranges::is_sorted(keys)) std::ranges::sort(keys);
  std::vector<BacklogRun> runs;
  for (const BacklogKey& key : keys) {
    if (!runs.empty()) {
      BacklogRun& run = runs.back();
      BacklogKey next = run.first;
      next.key.order = run.last() + 1;
      if (key == next) {
        ++run.count;
        continue;
      }
    }
    runs.push_back({key, 1});
  }
  return runs;
}

}  // namespace futured
