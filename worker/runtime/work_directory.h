// The directory of its own that each attempt of a worker begins in: <state>/work/slot-N/<job>.<epoch>.<attempt>.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/id.h"
#include "base/result.h"

namespace futured::runtime {

// Where the directories of all workers lie, made if need be: "work" beside the spool directory. Everybody may pass
// through it and nobody look around in it.
[[nodiscard]] Result<std::string> make_work_root(const std::string& spool_directory);

// The process goes there. Refused, with the way out, when its user may not come so far.
[[nodiscard]] Status enter_work_root(const std::string& root);

// One thread, one attempt at a time. What a worker that was killed left behind is removed by the next one of its slot.
class WorkDirectory {
 public:
  // None: attempts begin where the worker is, and nothing below does anything.
  WorkDirectory() = default;

  struct Owner {
    uid_t user;
    gid_t group;
  };
  // Makes the slot's directory, empty and for the owner alone; as who may give it away, if it is to be given away.
  [[nodiscard]] static Result<WorkDirectory> open(const std::string& root, std::uint32_t slot, const Owner& owner);

  // As the owner: the process goes into the slot's directory, and is there between attempts.
  [[nodiscard]] Status settle();

  // The attempt's, new and empty; its path, absolute. Empty when there is none.
  [[nodiscard]] Result<std::string> make(const Fence& fence);
  // make(), and the process goes into it.
  [[nodiscard]] Status enter(const Fence& fence);
  // Ends what make() or enter() began: the process is in the slot's directory again, and everything in that is removed.
  // What cannot be removed is told on standard error, and the next attempt still has an empty directory.
  void leave();

 private:
  WorkDirectory(std::string path, Fd slot, dev_t device, ino_t inode)
      : path_(std::move(path)), slot_(std::move(slot)), device_(device), inode_(inode) {}
  // A task may have closed our descriptor, and somebody else's directory have its number: then there is no going on.
  void check_slot() const;

  std::string path_;
  Fd slot_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace futured::runtime
