// The channel of this process, as it lies in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

struct Mapping {
  std::uint8_t* from = nullptr;
  std::size_t bytes = 0;
};

// The writable shared mappings of memfds.
inline std::vector<Mapping> shared_mappings() {
  std::vector<Mapping> found;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long from = 0;
    unsigned long until = 0;
    char access[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &from, &until, access) != 3) continue;
    if (std::string(access) != "rw-s" || line.find("memfd:") == std::string::npos) continue;
    found.push_back({reinterpret_cast<std::uint8_t*>(from), until - from});
  }
  return found;
}
