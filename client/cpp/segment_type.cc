#include "client/cpp/segment_type.h"

#include <utility>

#include "client/cpp/checked.h"
#include "futured/client.h"
#include "segment/array_type.h"

namespace futured::client {

std::string content_type_of(std::string_view dtype, const std::vector<std::int64_t>& shape, std::uint64_t bytes) {
  if (dtype.empty()) return {};
  ArrayType type{std::string(dtype), {}};
  for (const std::int64_t extent : shape) {
    if (extent < 0) throw Error(ErrorKind::kInvalidArgument, "shape: " + std::to_string(extent) + " is negative");
    type.shape.push_back(static_cast<std::uint64_t>(extent));
  }
  const std::uint64_t wanted = checked(array_bytes(type));
  if (wanted != bytes) {
    throw Error(ErrorKind::kInvalidArgument,
                "shape: this array takes " + std::to_string(wanted) + " bytes, but there are " + std::to_string(bytes));
  }
  return format_array_type(type);
}

MappedBytes mapped(const std::byte* bytes, std::uint64_t size, std::shared_ptr<const void> owner,
                   const std::string& content_type) {
  ArrayType type;
  if (is_array_type(content_type)) type = checked(parse_array_type(content_type));
  return MappedBytes({bytes, size}, std::move(owner), content_type, type.dtype, type.shape);
}

}  // namespace futured::client
