// Vault: the segments that must outlive the daemon, by descriptor. docs/formats/spawner.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "worker/spawner/connection.h"
#include "worker/spawner/wire.h"

namespace futured::spawner {

// What a segment is and who needs it is the daemon's to know; here it is only handed to the next one.
class Vault {
 public:
  // False: not of this protocol, or more than a daemon may give.
  [[nodiscard]] bool handle(std::string_view message, std::vector<Fd>& descriptors);
  // All that is kept, then VAULT_TOLD. False: the connection is gone.
  [[nodiscard]] bool tell(Connection& daemon) const;
  [[nodiscard]] bool empty() const { return segments_.empty(); }

 private:
  struct Kept {
    std::string message;  // KEEP_SEGMENT as it came
    Fd descriptor;
    std::string need;  // NEED_SEGMENT, if one came
  };
  std::map<std::uint64_t, Kept> segments_;
};

}  // namespace futured::spawner
