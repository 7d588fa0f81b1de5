// How a forked worker becomes what its pool's terms say, and keeps what it needs for its work.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "worker/runtime/work_directory.h"
#include "worker/runtime/zygote.h"

namespace futured::runtime {

// The exit status of a worker that could not be confined, and so has run nothing: EX_CONFIG.
inline constexpr int kExitUnconfined = 78;

// Confines this process, which is attached to its channel and has run nothing yet. From then on `options` say where its
// long output goes, and its attempts begin in the directory that is returned. An error leaves it fit for nothing but to
// exit with kExitUnconfined.
[[nodiscard]] Result<WorkDirectory> settle(ZygoteOptions& options, std::uint32_t slot);

// The same, in a fork that ends at once: for a zygote to say why its workers could not work before there are any.
// The process has one thread.
[[nodiscard]] Status rehearse(const ZygoteOptions& options);

}  // namespace futured::runtime
