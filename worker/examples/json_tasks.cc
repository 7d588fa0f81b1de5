// Tasks that take and return JSON: futured/json.h needs nlohmann-json (on Debian nlohmann-json3-dev).
#include <futured/json.h>
#include <futured/task.h>

#include <string>

namespace {

// A type of your own, with nlohmann's macro: what lacks a field or has another shape never reaches the task.
struct Point {
  double x = 0;
  double y = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Point, x, y)

// `fut call mirror '{"x": 1, "y": 2}'`
FUTURED_TASK("mirror", [](const Point& point) { return Point{-point.x, -point.y}; });

// JSON of any shape: `fut call pick '{"a": [1, {"b": 2}]}' /a/1`
FUTURED_TASK("pick", [](const nlohmann::json& document, const std::string& path) {
  try {
    return document.at(nlohmann::json::json_pointer(path));
  } catch (const nlohmann::json::exception& error) {
    throw futured::TaskError("NoSuchPart", error.what(), futured::Retry::kPointless);
  }
});

}  // namespace
