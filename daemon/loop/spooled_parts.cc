#include "daemon/loop/spooled_parts.h"

#include <algorithm>

#include "base/payload.h"

namespace futured {

namespace {

bool names_file(const Part& part) {
  return part.kind == PartKind::kInline && part.content_type.starts_with("application/x-futured-") &&
         part.content_type.find("file=") != std::string_view::npos;
}

}  // namespace

std::optional<std::string> with_spool_user(std::string_view result, SpoolUser user) {
  if (!user || result.empty()) return std::nullopt;
  const auto parts = decode_parts(result);
  if (!parts.ok() || std::ranges::none_of(*parts, names_file)) return std::nullopt;
  std::string told;
  for (Part part : *parts) {
    std::string type;
    if (names_file(part)) {
      type = std::string(part.content_type) + "; user=" + std::to_string(*user);
      part.content_type = type;
    }
    append_part(told, part);
  }
  return told;
}

}  // namespace futured
