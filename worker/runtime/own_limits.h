// The resource limits of this process, against jobs that change them from outside with prlimit(2).
#pragma once

#include <sys/resource.h>

#include <array>

namespace futured::runtime {

// Of a worker whose jobs are processes of the same user below it.
class OwnLimits {
 public:
  OwnLimits();  // as they are now

  // Puts back what was changed since, some hundred nanoseconds a call when nothing was. A hard limit that was lowered
  // stays so without privileges: then the process ends here, which the job that was the last to run is blamed for.
  void keep() const;

 private:
  std::array<rlimit, RLIM_NLIMITS> limits_{};
};

}  // namespace futured::runtime
