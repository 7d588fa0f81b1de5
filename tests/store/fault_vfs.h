// FaultDisk: a SQLite VFS over the real one whose disk fills up, fails to sync, and remembers what a power cut would
// leave.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace futured {

// One at a time: making it resets the VFS's state. Used by the threads of one store; not locked.
class FaultDisk {
 public:
  FaultDisk();
  FaultDisk(const FaultDisk&) = delete;
  FaultDisk& operator=(const FaultDisk&) = delete;
  ~FaultDisk();

  // For SqliteOptions::vfs.
  [[nodiscard]] static const char* name() { return "futured-fault"; }

  // Bytes by which files may still grow; overwriting what they hold is free, as on a disk.
  std::int64_t room = INT64_MAX;
  // Asked when `room` is too small, before the write fails: more of it, once somebody gave some back.
  std::function<std::int64_t()> more_room;
  // The next syncs of a file whose name ends in this fail. Empty: none.
  std::string failing_sync;
  // Called before each sync is done: the moments between which a power cut loses something.
  std::function<void()> before_sync;

  // What might be on the disk after a power cut now: of each file what was synced, and of the writes since then some,
  // and of some of those only some sectors. Written into `folder`, under the files' own names.
  void write_crash_image(const std::string& folder, std::mt19937_64& random) const;

  // For the VFS.
  struct Write {
    std::int64_t offset;
    std::string bytes;
  };
  struct File {
    std::string synced;
    std::vector<Write> since;
    std::int64_t size = 0;
  };
  std::map<std::string, File> files;  // by path
};

}  // namespace futured
