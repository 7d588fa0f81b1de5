#include "worker/runtime/spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "base/limits.h"
#include "base/payload.h"

namespace futured::runtime {

std::string spool_path(const std::string& directory, const Fence& fence, std::string_view stream) {
  if (directory.empty()) return {};
  return directory + "/" + std::to_string(fence.job.value) + "." + std::to_string(fence.epoch.value) + "." +
         std::to_string(fence.attempt) + "." + std::string(stream);
}

Result<std::string> hand_over_spool(const std::string& directory, uid_t user, gid_t group) {
  const std::string users = directory + "/users";
  const std::string own = users + "/" + std::to_string(user);
  for (const std::string& path : {users, own}) {
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return system_error("mkdir " + path);
  }
  Fd folder(open(own.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.is_open()) return system_error("open " + own);
  if (fchown(folder.get(), user, group) != 0) return system_error("giving " + own + " to its user");
  return "/proc/self/fd/" + std::to_string(folder.release());
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
