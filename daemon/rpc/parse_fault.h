// Says what is wrong with bytes that protobuf could not parse, which itself says only that something is.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include "base/result.h"

namespace futured::rpc {

// Names the first text in the bytes that is not UTF-8 by its fields ("spec.queue: …"); failing that, says that they are
// no message of this type. Walks all of the bytes: for refusals only.
[[nodiscard]] Error parse_fault(const google::protobuf::Descriptor& type,
                                google::protobuf::io::ZeroCopyInputStream& bytes);

}  // namespace futured::rpc
