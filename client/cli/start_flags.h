// When a job may start: --at and --in of every verb that submits.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "client/cli/cli.h"

namespace futured::cli {

// "2026-12-01T08:00", with seconds or without, by this machine's clock; with Z behind it, UTC. In µs since 1970.
// Throws UsageError naming `option`.
[[nodiscard]] std::int64_t parse_time(const std::string& word, std::string_view option);

struct StartFlags {
  std::string at;
  std::string in;

  void add_to(CLI::App& verb);
  void put_into(client::JobOptions& options) const;  // throws UsageError
};

}  // namespace futured::cli
