// The type of the bytes in a segment, in the client's words. Internal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "futured/segments.h"

namespace futured::client {

// "" for no array. Throws when the array does not take just these bytes.
[[nodiscard]] std::string content_type_of(std::string_view dtype, const std::vector<std::int64_t>& shape,
                                          std::uint64_t bytes);
[[nodiscard]] MappedBytes mapped(const std::byte* bytes, std::uint64_t size, std::shared_ptr<const void> owner,
                                 const std::string& content_type);

}  // namespace futured::client
