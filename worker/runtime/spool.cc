#include "worker/runtime/spool.h"

#include "base/limits.h"
#include "base/payload.h"

namespace futured::runtime {

std::string spool_path(const std::string& directory, const Fence& fence, std::string_view stream) {
  if (directory.empty()) return {};
  return directory + "/" + std::to_string(fence.job.value) + "." + std::to_string(fence.epoch.value) + "." +
         std::to_string(fence.attempt) + "." + std::string(stream);
}

void append_output(std::string& encoded, std::string_view type, const OutputCapture& capture) {
  std::string content_type(type);
  std::string shown;
  std::string_view bytes = capture.memory();
  if (capture.is_spooled()) {
    shown = capture.tail(limits::kOutputTailBytes);
    bytes = shown;
    content_type += "; file=\"" + capture.spool_path().substr(capture.spool_path().rfind('/') + 1) + "\"";
  }
  if (capture.total() != bytes.size()) content_type += "; total=" + std::to_string(capture.total());
  if (capture.dropped() > 0) {
    content_type += "; dropped=" + std::to_string(capture.dropped()) + "; at=" + std::to_string(capture.dropped_at());
  }
  append_part(encoded, {.content_type = content_type, .bytes = bytes});
}

}  // namespace futured::runtime
