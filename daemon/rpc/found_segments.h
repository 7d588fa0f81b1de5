// Jobs of an earlier daemon get their shares in segments back.
#pragma once

#include <vector>

#include "base/result.h"
#include "daemon/loop/loop.h"
#include "daemon/pool/segment_table.h"
#include "daemon/store/store.h"

namespace futured::rpc {

// Of what the spawner's vault had, the jobs keep alive what those of them name that have not ended. Before the loop
// runs.
[[nodiscard]] Status give_back(const std::vector<SegmentTable::Found>& found, StoreReader& reader, Loop& loop);

}  // namespace futured::rpc
