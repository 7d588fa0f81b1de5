// What this spawner started, kept in a file so that the next one can kill what is left of it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace futured::spawner {

struct JournalEntry {
  pid_t pid = 0;
  std::uint64_t start_time = 0;
};

class Journal {
 public:
  // Kills everything that the spawner which wrote `path` left behind: what is in its control groups, the processes it
  // wrote down, and those that carry its instance in their environment. Blocks until they are dead, at most
  // kLeftoverMs; an error if not.
  [[nodiscard]] static Status kill_leftovers(const std::string& path);

  // Begins anew. `groups`: folders of the instance's control groups, one in each hierarchy.
  [[nodiscard]] static Result<Journal> create(const std::string& path, std::uint64_t instance,
                                              const std::vector<std::string>& groups);

  // Before the process may do anything. When it fails (disk full) the process is still found by its environment, unless
  // it clears that.
  [[nodiscard]] Status add(const JournalEntry& entry);
  // Rewrites the journal with only these when it has grown.
  void compact(const std::vector<JournalEntry>& living);
  void remove();

  static constexpr std::int64_t kLeftoverMs = 10'000;

 private:
  std::string path_;
  std::string head_;
  Fd file_;
  std::size_t bytes_ = 0;
};

// The environment entry that every process of an instance carries.
[[nodiscard]] std::string instance_entry(std::uint64_t instance);

}  // namespace futured::spawner
