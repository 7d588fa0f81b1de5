// The time zones that this machine has.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "daemon/core/rows.h"
#include "daemon/core/zone.h"

namespace futured {

inline constexpr const char* kZoneDirectory = "/usr/share/zoneinfo";

// By its IANA name; "": UTC. Read anew each time: a daemon that is told nothing keeps the rules that it began with.
// kInvalidArgument: it is no such name, or this machine does not have it.
[[nodiscard]] Result<std::shared_ptr<const Zone>> load_zone(const std::string& name,
                                                            const std::string& directory = kZoneDirectory);

// Those of the schedules; one that this machine does not have is left out.
[[nodiscard]] std::map<std::string, std::shared_ptr<const Zone>> zones_of(const Snapshot& snapshot);

}  // namespace futured
