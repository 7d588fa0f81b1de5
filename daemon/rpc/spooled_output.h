// What a running attempt has written, as it lies in its worker's file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/id.h"
#include "base/spool_file.h"

namespace futured::rpc {

// Bytes `from` on of a stream of a running attempt, at most `bytes_max`, from the file that its worker keeps them in
// (docs/formats/command.md). Empty: they do not lie there, or not yet, or may have been written over. Any thread.
[[nodiscard]] std::string spooled_output(const std::string& spool_directory, SpoolUser user, const Fence& fence,
                                         std::uint32_t stream, std::uint64_t from, std::size_t bytes_max);

}  // namespace futured::rpc
