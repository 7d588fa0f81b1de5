// Whether what a database gives back fits together. The core takes it as a bug of ours when rows do not; but somebody
// may have edited them, and then the daemon stops with a word instead. Nothing of what is refused is changed.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "daemon/core/rows.h"

namespace futured {

using HasQueue = std::function<bool(const std::string&)>;

[[nodiscard]] Status check(const Snapshot& snapshot);
// Of unfinished jobs only: an ended one may outlive its queue.
[[nodiscard]] Status check(const ClaimAnswer& answer, const HasQueue& has_queue);
[[nodiscard]] Status check(const DelayedAnswer& answer, const HasQueue& has_queue);
[[nodiscard]] Status check(const LoadAnswer& answer, const HasQueue& has_queue);

// The queues of a daemon that starts from it.
[[nodiscard]] HasQueue queues_of(const Snapshot& snapshot);

}  // namespace futured
