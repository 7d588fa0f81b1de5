// Finds what a worker wrote into the spool directory.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace futured {

struct SpoolFile {
  Fd file;  // for reading; may still be anything but a regular file, for a worker may have put that there
  std::string path;
};

// The file of this name, which has no slash: in the directory itself, or else, from a worker that had another user than
// the spawner's, in users/<uid> of it. There it must be a regular file that is the user's own and has no other name, or
// a worker could hand out a file that only we may read; and one name in two users' folders is a lie of one of them.
// Never follows a link, never waits. kNotFound: there is none.
[[nodiscard]] Result<SpoolFile> open_spool_file(const std::string& directory, const std::string& name);

}  // namespace futured
