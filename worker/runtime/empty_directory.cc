#include "worker/runtime/empty_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace futured::runtime {

namespace {

// A look at the directory for each level of the tree below it; more only while somebody goes on writing there.
constexpr int kPassesMax = 100'000;

using Folder = std::unique_ptr<DIR, int (*)(DIR*)>;

// A directory in `parent`, made such that its owner can empty and move it.
Fd open_for_removal(int parent, const char* name) {
  // What is mounted there is not the job's.
  const open_how how{O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS};
  const Fd place(static_cast<int>(syscall(SYS_openat2, parent, name, &how, sizeof how)));
  if (!place.is_open()) return {};
  // By its descriptor: between two looks at a name a job could put a link there.
  const std::string path = "/proc/self/fd/" + std::to_string(place.get());
  (void)chmod(path.c_str(), 0700);  // another user's stays as it is, and then fails below
  return Fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

Folder list(int directory) {
  Fd again(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));  // with a position of its own
  Folder folder(fdopendir(again.get()), closedir);
  if (folder) (void)again.release();
  return folder;
}

// False, with errno: it cannot be listed.
template <typename Visit>
[[nodiscard]] bool for_each_entry(int directory, const Visit& visit) {
  const Folder folder = list(directory);
  if (!folder) return false;
  while (const dirent* const entry = readdir(folder.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") visit(entry->d_name);
  }
  return true;
}

class Emptying {
 public:
  explicit Emptying(int top) : top_(top) {}

  Status run() {
    for (int pass = 0; pass < kPassesMax; ++pass) {
      bool has_any = false;
      has_removed_ = false;
      stuck_.clear();
      const bool is_listed = for_each_entry(top_, [&](const char* name) {
        has_any = true;
        remove(name);
      });
      if (!is_listed) return system_error("list it");
      if (!has_any) return {};
      if (!has_removed_) break;
    }
    return system_error("remove " + stuck_, why_);
  }

 private:
  void remove(const char* name) {
    if (unlinkat(top_, name, 0) == 0) return count();
    if (errno != EISDIR && errno != EPERM) return fail(name);  // EPERM is POSIX's word for a directory
    if (unlinkat(top_, name, AT_REMOVEDIR) == 0) return count();
    if (errno == ENOTDIR) return fail(name, EPERM);
    const Fd directory = open_for_removal(top_, name);
    if (!directory.is_open()) return fail(name);
    const bool is_listed = for_each_entry(directory.get(), [&](const char* inner) {
      if (unlinkat(directory.get(), inner, 0) == 0 || unlinkat(directory.get(), inner, AT_REMOVEDIR) == 0) {
        return count();
      }
      if (!move_up(directory.get(), inner)) fail(inner);
    });
    if (!is_listed) return fail(name);
    if (unlinkat(top_, name, AT_REMOVEDIR) == 0) return count();
    if (stuck_.empty()) fail(name);
  }

  bool move_up(int from, const char* name) {
    if (!open_for_removal(from, name).is_open()) return false;  // its ".." changes, so it must be writable
    // A name that a job took is passed; an empty directory in the way is as well replaced.
    for (;;) {
      const std::string next = "moved-" + std::to_string(++moved_);
      if (renameat(from, name, top_, next.c_str()) == 0) {
        count();
        return true;
      }
      if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR) return false;
    }
  }

  void count() { has_removed_ = true; }
  void fail(const char* name, int why = errno) {
    stuck_ = name;
    why_ = why;
  }

  const int top_;
  bool has_removed_ = false;
  std::uint64_t moved_ = 0;
  std::string stuck_;
  int why_ = 0;
};

}  // namespace

Status empty_directory(int directory) { return Emptying(directory).run(); }

}  // namespace futured::runtime
