// Tasks that take and return protobuf messages: futured/protobuf.h needs protobuf (on Debian libprotobuf-dev).
#include <futured/protobuf.h>
#include <futured/task.h>

#include "worker/examples/geometry.pb.h"

namespace {

// `fut call centre @polygon.bin`
FUTURED_TASK("centre", [](const geometry::Polygon& polygon) {
  if (polygon.corners().empty()) throw futured::BadArgument("argument 1 has no corners");
  geometry::Point centre;
  for (const geometry::Point& corner : polygon.corners()) {
    centre.set_x(centre.x() + corner.x() / polygon.corners_size());
    centre.set_y(centre.y() + corner.y() / polygon.corners_size());
  }
  return centre;
});

}  // namespace
