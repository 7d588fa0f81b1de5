// The flags that say whether a job may get another one's outcome, of every verb that submits.
#pragma once

#include <string>
#include <vector>

#include "client/cli/cli.h"

namespace futured::cli {

struct CacheFlags {
  bool cache = false;
  std::string ttl;
  std::string key;
  std::vector<std::string> ignored;  // numbers of parts, and names of fields
  bool failures = false;
  bool explain = false;

  void add_to(CLI::App& verb);
  void put_into(client::JobOptions& options) const;  // throws UsageError
};

}  // namespace futured::cli
