// WholeFile: a file that stands under its name once all of it is on disk, and not before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace futured {

// Written beside its name and renamed at the end. Who reads or maps a file of that name keeps what was there before.
// Every error names the file and leaves it as it was. For one thread.
class WholeFile {
 public:
  // A link stays, and what it names is replaced, with its permissions. What is no regular file is refused.
  [[nodiscard]] static Result<WholeFile> create(const std::string& path);
  WholeFile(WholeFile&& other) noexcept;
  WholeFile& operator=(WholeFile&& other) noexcept;
  ~WholeFile();  // not finished: nothing of it is left

  [[nodiscard]] Status write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  // On disk, under its name, when this returns without an error.
  [[nodiscard]] Status finish();

 private:
  WholeFile(Fd file, std::string path, std::string part);

  Fd file_;
  std::string path_;
  std::string part_;  // the name until then; "" = there is no such file (any more)
};

}  // namespace futured
