// Finds what a worker wrote into the spool directory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace futured {

struct SpoolFile {
  Fd file;  // for reading; may still be anything but a regular file, for a worker may have put that there
  std::string path;
};

// The uid of the workers that wrote it; nothing: they were of our own user.
using SpoolUser = std::optional<std::uint32_t>;

// Of a pool whose workers are of the user that is so called. Nothing, too, for a user that there is not.
[[nodiscard]] SpoolUser spool_user(const std::string& user_name);

// The file of this name, which has no slash: in the directory itself, or else in users/<uid> of it, and in no other
// user's. There it must be a regular file that is the user's own and has no other name, or a worker could hand out a
// file that only we may read. Never follows a link, never waits. kNotFound: there is none.
[[nodiscard]] Result<SpoolFile> open_spool_file(const std::string& directory, const std::string& name, SpoolUser user);

}  // namespace futured
