// One form for every way to write the same JSON: members sorted, no blanks, escapes only where needed.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "base/result.h"

namespace futured::rpc {

// `text` in that form, without those members of the outermost object that `ignored` names. Numbers stay as they are
// written: 1 and 1.0 are different texts. kInvalidArgument, and at which byte: it is no JSON (RFC 8259), has a member
// twice, or is nested deeper than limits::kJsonDepthMax; or fields are to be ignored, and it is no object.
[[nodiscard]] Result<std::string> json_form(std::string_view text, const std::set<std::string>& ignored);

}  // namespace futured::rpc
