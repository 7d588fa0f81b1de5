// What a job waits for: --after, --after-ok, --after-failed, --after-any and --when of every verb that submits.
#pragma once

#include <string>
#include <vector>

#include "client/cli/cli.h"

namespace futured::cli {

struct DependencyFlags {
  std::vector<std::string> after;
  std::vector<std::string> after_ok;
  std::vector<std::string> after_failed;
  std::vector<std::string> after_any;
  std::vector<std::string> when;

  void add_to(CLI::App& verb);
  void put_into(client::JobOptions& options) const;  // throws UsageError
};

}  // namespace futured::cli
