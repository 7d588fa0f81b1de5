// Segments that lie in files of their content: how a batch's arrays come there, and how they come back into memory.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "daemon/core/event.h"
#include "daemon/pool/segment_table.h"
#include "daemon/store/digest.h"
#include "daemon/store/sent_contents.h"
#include "daemon/store/store.h"
#include "daemon/store/store_thread.h"

namespace futured::rpc {

// "sha256:" and 64 hexadecimal digits, lower case. Nothing: it is none.
[[nodiscard]] std::optional<Digest> digest_of(std::string_view text);
[[nodiscard]] std::string digest_text(const Digest& digest);

// Copies each segment in memory that the batch's payloads name to its file, and has the payloads name that one instead.
// On the keeper's thread. The hold keeps the files until the batch is committed or refused. An error names the segment,
// and of what was new nothing is left.
[[nodiscard]] Result<PayloadHold> store_segments(event::Submit& submit, SegmentTable& segments, PayloadKeeper& keeper);

// The descriptors of all segments of a payload, in its order. Those that lie in files only are read, into memory that
// the next job that names them is given as well. `then` is called on the keeper's thread, or at once when too much
// waits there: kResourceExhausted, as when there is no memory now.
using Descriptors = std::function<void(Result<std::vector<Fd>>)>;
void fetch_segments(SegmentTable& segments, KeeperThread& keeper, std::string payload, Descriptors then);

// The descriptor of one that lies in a file, read if need be. On the keeper's thread.
[[nodiscard]] Result<Fd> fetch_segment(SegmentTable& segments, PayloadKeeper& keeper, SegmentId id);

// Keeps an upload's bytes in a file, and has its user hold it. On the keeper's thread. An error leaves nothing.
[[nodiscard]] Result<SentContent> store_upload(SentContents& sent, PayloadKeeper& keeper, const Segment& segment,
                                               SentContent content);

// Several holds as one.
[[nodiscard]] PayloadHold both(PayloadHold one, PayloadHold other);

}  // namespace futured::rpc
