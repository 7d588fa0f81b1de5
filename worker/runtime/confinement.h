// What a worker does to itself to be held to its pool's terms: docs/pools.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/pool_terms.h"
#include "base/result.h"

namespace futured::runtime {

// Confines this process, which has one thread, and all that it will start: limits, nice, network, user, privileges, in
// this order. Once; there is no way back. The error names the setting and the way out, and leaves the process half
// confined: it must end.
//
// In command mode the limits hold for commands only (spawn() sets them): the worker, which keeps their output and lives
// longer than they do, would die of them. Here they are only made such that a command can be given them.
[[nodiscard]] Status confine(const PoolTerms& terms);

// Soft and hard.
[[nodiscard]] Status set_limits(const std::map<std::string, std::uint64_t>& limits);

// Takes all variables out of this process's environment but those that are allowed, and wipes them from its memory,
// which /proc shows. FUTURED_INSTANCE always stays. No names, or "*": all stay. Before any thread, and before anybody
// holds a pointer from getenv.
void drop_environment(const std::vector<std::string>& allowed);

}  // namespace futured::runtime
