// Fields that a newer client has set and this server does not know: protobuf keeps them aside without a word, and a
// client whose wish was dropped would never learn of it. So they are refused by number.
#pragma once

#include <google/protobuf/message.h>

#include "base/result.h"

namespace futured::rpc {

// Of the message and of all in it. Looks at fields that are messages only, so bytes and numbers cost nothing.
[[nodiscard]] Status check_known(const google::protobuf::Message& message);
// Of the message alone.
[[nodiscard]] Status check_known_here(const google::protobuf::Message& message);

}  // namespace futured::rpc
