// ContentUsage: what lies in the directory of ContentFiles, for people. docs/formats/content_file.md.
#pragma once

#include <cstdint>
#include <string>

namespace futured {

struct ContentUsage {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;       // of those files, as they lie on the disk
  std::uint64_t unfinished = 0;  // of a process that is gone: the next daemon removes them
  std::uint64_t foreign = 0;     // of other names: nobody removes them
  bool is_whole = true;          // false: there are more than limits::kContentFilesCountedMax
  bool is_writable = true;       // by this process; of a directory that is not there yet, that one can be made
};

// Walks the directory: some microseconds a file. Any thread.
[[nodiscard]] ContentUsage content_usage(const std::string& directory);

}  // namespace futured
