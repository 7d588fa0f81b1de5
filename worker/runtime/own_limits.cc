#include "worker/runtime/own_limits.h"

#include <unistd.h>

#include <cstdio>

namespace futured::runtime {

namespace {

__rlimit_resource resource(std::size_t index) { return static_cast<__rlimit_resource>(index); }

}  // namespace

OwnLimits::OwnLimits() {
  for (std::size_t i = 0; i < limits_.size(); ++i) getrlimit(resource(i), &limits_[i]);
}

void OwnLimits::keep() const {
  for (std::size_t i = 0; i < limits_.size(); ++i) {
    const rlimit& kept = limits_[i];
    rlimit now{};
    if (getrlimit(resource(i), &now) != 0) continue;
    if (now.rlim_cur == kept.rlim_cur && now.rlim_max == kept.rlim_max) continue;
    if (setrlimit(resource(i), &kept) == 0) continue;
    std::fputs("futured worker: a job lowered its limits for good\n", stderr);
    _exit(1);
  }
}

}  // namespace futured::runtime
