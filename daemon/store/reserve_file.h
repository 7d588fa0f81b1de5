// ReserveFile: room on the disk that is given back when the disk is full, so that outcomes can still be committed.
#pragma once

#include <cstdint>
#include <string>

namespace futured {

class ReserveFile {
 public:
  // `bytes` 0: no reserve at all.
  ReserveFile(std::string path, std::int64_t bytes) : path_(std::move(path)), bytes_(bytes) {}

  // Allocates it anew where it is missing or short. False: the disk has no room for it now.
  [[nodiscard]] bool fill();
  // Gives its room back. False: there was none to give.
  [[nodiscard]] bool spend();
  [[nodiscard]] bool is_filled() const { return filled_; }

 private:
  std::string path_;
  std::int64_t bytes_;
  bool filled_ = false;
};

}  // namespace futured
