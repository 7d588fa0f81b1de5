#include "base/out_of_memory.h"

#include <fstream>

namespace futured {

std::uint64_t out_of_memory_kills(const std::string& vmstat) {
  std::ifstream file(vmstat);
  std::uint64_t count = 0;
  for (std::string name; file >> name >> count;) {
    if (name == "oom_kill") return count;
  }
  return 0;
}

}  // namespace futured
