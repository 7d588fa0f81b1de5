#include "worker/runtime/work_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "worker/runtime/empty_directory.h"

namespace futured::runtime {

namespace {

constexpr mode_t kPassOnly = 0711;
constexpr mode_t kOwnerOnly = 0700;

// One that is there already is taken as it is, but for its mode.
Result<Fd> make_directory(const std::string& path, mode_t mode) {
  const std::string what = "private_directory: " + path;
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return system_error(what);
  Fd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.is_open()) return system_error(what);
  struct stat found {};
  if (fstat(directory.get(), &found) != 0) return system_error(what);
  // Also less than asked for, by our umask.
  if ((found.st_mode & 07777) != mode && fchmod(directory.get(), mode) != 0) return system_error(what);
  return directory;
}

void tell_what_is_left(const std::string& path, const Status& emptied) {
  if (emptied) return;
  std::fprintf(stderr, "futured worker: what a job left in %s stays there: %s\n", path.c_str(),
               emptied.error().message.c_str());
}

Error cannot_enter(const std::string& path) {
  Error error = system_error("private_directory: the workers' user cannot enter " + path);
  error.message += "; let it pass through the directories above (chmod o+x, StateDirectoryMode=0711)";
  return error;
}

}  // namespace

Result<std::string> make_work_root(const std::string& spool_directory) {
  if (spool_directory.empty()) {
    return Error{ErrorCode::kFailedPrecondition, "private_directory: this zygote has no --spool to make it beside"};
  }
  std::error_code problem;
  const auto spool = std::filesystem::absolute(spool_directory, problem);
  if (problem) return Error{ErrorCode::kInternal, "private_directory: " + spool_directory + ": " + problem.message()};
  std::string root = spool.parent_path() / "work";
  if (auto made = make_directory(root, kPassOnly); !made) return made.error();
  return root;
}

Status enter_work_root(const std::string& root) {
  if (chdir(root.c_str()) != 0) return cannot_enter(root);
  return {};
}

Result<WorkDirectory> WorkDirectory::open(const std::string& root, std::uint32_t slot, const Owner& owner) {
  std::string path = root + "/slot-" + std::to_string(slot);
  auto made = make_directory(path, kOwnerOnly);
  if (!made) return made.error();
  struct stat found {};
  if (fstat(made->get(), &found) != 0) return system_error("private_directory: " + path);
  const bool is_given_away = owner.user != geteuid() || found.st_uid != owner.user;
  // Its last owner's other processes are not to come in while we empty it.
  if (is_given_away && fchown(made->get(), geteuid(), getegid()) != 0)
    return system_error("private_directory: " + path);
  tell_what_is_left(path, empty_directory(made->get()));
  if (is_given_away && fchown(made->get(), owner.user, owner.group) != 0) {
    return system_error("private_directory: giving " + path + " to its user");
  }
  return WorkDirectory(std::move(path), std::move(*made), found.st_dev, found.st_ino);
}

void WorkDirectory::check_slot() const {
  struct stat found {};
  if (fstat(slot_.get(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_) return;
  std::fprintf(stderr, "futured worker: a job closed the descriptor of %s\n", path_.c_str());
  _exit(1);
}

Status WorkDirectory::settle() {
  if (slot_.is_open() && chdir(path_.c_str()) != 0) return cannot_enter(path_);
  return {};
}

Result<std::string> WorkDirectory::make(const Fence& fence) {
  if (!slot_.is_open()) return std::string();
  check_slot();
  const std::string name =
      std::to_string(fence.job.value) + "." + std::to_string(fence.epoch.value) + "." + std::to_string(fence.attempt);
  std::string path = path_ + "/" + name;
  if (mkdirat(slot_.get(), name.c_str(), kOwnerOnly) != 0) return system_error("private_directory: " + path);
  return path;
}

Status WorkDirectory::enter(const Fence& fence) {
  const auto made = make(fence);
  if (!made) return made.error();
  if (!made->empty() && chdir(made->c_str()) != 0) return system_error("private_directory: " + *made);
  return {};
}

void WorkDirectory::leave() {
  if (!slot_.is_open()) return;
  check_slot();
  (void)fchmod(slot_.get(), kOwnerOnly);  // a job may have closed it behind itself
  if (fchdir(slot_.get()) != 0) {
    std::fprintf(stderr, "futured worker: %s\n", system_error("back to " + path_).message.c_str());
  }
  tell_what_is_left(path_, empty_directory(slot_.get()));
}

}  // namespace futured::runtime
