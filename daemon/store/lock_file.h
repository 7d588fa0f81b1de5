// LockFile: one daemon per database, by flock; the kernel lets go of it however the daemon ends.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace futured {

class LockFile {
 public:
  // Creates `path` when it is missing (mode 0600) and locks it for as long as the LockFile lives. The file holds the
  // pid of the holder, for the error of the next one, and is left behind: removing it would let two hold it.
  [[nodiscard]] static Result<LockFile> take(const std::string& path);

 private:
  explicit LockFile(Fd file) : file_(std::move(file)) {}

  Fd file_;
};

}  // namespace futured
