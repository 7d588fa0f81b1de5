#include "daemon/loop/spool_sweep.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <deque>
#include <set>
#include <utility>

#include "base/fd.h"
#include "base/limits.h"
#include "daemon/store/store.h"

namespace futured {

namespace {

// Between two steps of a pass; between two passes while jobs are removed, and while none are. A pass that took long is
// followed by a longer rest.
constexpr Duration kBetweenSteps = std::chrono::milliseconds(10);
constexpr Duration kBetweenPasses = std::chrono::seconds(1);
constexpr Duration kBetweenCounts = std::chrono::seconds(10);
constexpr int kRestFactor = 4;
constexpr int kCountRestFactor = 20;  // where there is only to count

bool take_number(std::string_view& rest) {
  const std::size_t digits = std::min(rest.find('.'), rest.size());
  const bool is_number =
      digits > 0 && std::ranges::all_of(rest.substr(0, digits), [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number || digits == rest.size()) return false;
  rest.remove_prefix(digits + 1);
  return true;
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

// Null: there is none, or what is there is a link or no directory.
Directory open_directory(const std::string& path) {
  Fd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.is_open()) return nullptr;
  Directory opened(::fdopendir(folder.get()));
  if (opened) static_cast<void>(folder.release());
  return opened;
}

std::uint64_t bytes_on_disk(const struct stat& file) { return static_cast<std::uint64_t>(file.st_blocks) * 512; }

}  // namespace

JobId job_of_spool_file(std::string_view name) {
  constexpr std::string_view kStreams[] = {"stdout", "stderr", "emitted", "log", "stacks"};
  std::string_view rest = name;
  if (!take_number(rest) || !take_number(rest) || !take_number(rest)) return {};
  const std::string_view stream = rest.substr(0, rest.find('.'));
  if (std::ranges::find(kStreams, stream) == std::end(kStreams)) return {};
  std::uint64_t job = 0;
  for (const char digit : name.substr(0, name.find('.'))) {
    if (job > UINT64_MAX / 10 - 1) return {};
    job = job * 10 + static_cast<std::uint64_t>(digit - '0');
  }
  return JobId{job};
}

// One walk through the directory and the folders of users in it.
struct SpoolSweep::Pass {
  Instant began;
  Duration worked{0};
  std::deque<std::string> folders;  // still to be gone through, but for the one that is open
  Directory open;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::string problem;  // the first one
};

SpoolSweep::SpoolSweep(Setup setup) : setup_(std::move(setup)), thread_([this] { run(); }) {}

SpoolSweep::~SpoolSweep() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void SpoolSweep::jobs_removed() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(wanted_, true)) return;
    figures_.is_sweeping = true;
  }
  wake_.notify_one();
}

SpoolFigures SpoolSweep::figures() const {
  const std::lock_guard lock(mutex_);
  return figures_;
}

void SpoolSweep::run() {
  {
    const std::lock_guard lock(mutex_);
    figures_.is_sweeping = true;  // until the first pass has counted
  }
  Instant earliest = monotonic_now();
  Duration between_counts = kBetweenCounts;
  const auto is_stopping = [this] { return stopping_; };
  std::unique_lock lock(mutex_);
  for (;;) {
    // Never before `earliest`; then as soon as jobs were removed, or when it is time to count.
    if (wake_.wait_for(lock, std::max(earliest - monotonic_now(), Duration(0)), is_stopping)) return;
    if (wake_.wait_for(lock, wanted_ ? Duration(0) : between_counts, [this] { return stopping_ || wanted_; }) &&
        stopping_) {
      return;
    }
    wanted_ = false;
    Pass pass;
    pass.began = monotonic_now();
    pass.folders.push_back(setup_.directory);
    for (bool goes_on = true; goes_on;) {
      lock.unlock();
      const Instant begin = monotonic_now();
      gauge_->begin(begin);
      goes_on = step(pass);
      const Instant end = monotonic_now();
      gauge_->end(end, "sweeping the spool directory");
      pass.worked += end - begin;
      lock.lock();
      if (goes_on && wake_.wait_for(lock, kBetweenSteps, is_stopping)) return;
    }
    finish(pass);
    earliest = monotonic_now() + std::max(kBetweenPasses, pass.worked * kRestFactor);
    between_counts = std::max(kBetweenCounts, pass.worked * kCountRestFactor);
  }
}

bool SpoolSweep::step(Pass& pass) {
  if (!pass.open) {
    if (pass.folders.empty()) return false;
    const std::string path = std::move(pass.folders.front());
    pass.folders.pop_front();
    pass.open = open_directory(path);
    if (!pass.open) {
      // Before the first long output there is no directory; and whose folder it was may have put anything there.
      const bool is_missing = errno == ENOENT || path != setup_.directory;
      if (!is_missing && pass.problem.empty()) pass.problem = system_error(path).message;
      return !pass.folders.empty();
    }
    if (path == setup_.directory) {
      if (const Directory users = open_directory(path + "/users")) {
        while (const dirent* const entry = ::readdir(users.get())) {
          const std::string_view name = entry->d_name;
          const bool is_uid = std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
          if (is_uid) pass.folders.push_back(path + "/users/" + std::string(name));
        }
      }
    }
  }
  std::vector<std::string> names;
  bool is_read = false;
  for (std::size_t i = 0; i < limits::kSpoolStepFiles; ++i) {
    const dirent* const entry = ::readdir(pass.open.get());
    if (entry == nullptr) {
      is_read = true;
      break;
    }
    if (job_of_spool_file(entry->d_name).is_set()) names.emplace_back(entry->d_name);
  }
  look_at(pass, ::dirfd(pass.open.get()), names);
  if (is_read) pass.open.reset();
  return !is_read || !pass.folders.empty();
}

// A name is never taken from anywhere but the folder itself, and nothing is followed: a folder may be its user's.
void SpoolSweep::look_at(Pass& pass, int folder, const std::vector<std::string>& names) {
  if (names.empty()) return;
  std::set<JobId> jobs;
  for (const std::string& name : names) jobs.insert(job_of_spool_file(name));
  const Result<std::vector<JobId>> found = setup_.reader->gone({jobs.begin(), jobs.end()});
  if (!found.ok() && pass.problem.empty()) pass.problem = found.error().message;
  const std::set<JobId> gone = found.ok() ? std::set<JobId>(found->begin(), found->end()) : std::set<JobId>();
  std::uint64_t removed = 0;
  std::uint64_t removed_bytes = 0;
  for (const std::string& name : names) {
    struct stat file = {};
    if (::fstatat(folder, name.c_str(), &file, AT_SYMLINK_NOFOLLOW) != 0) continue;  // taken meanwhile
    const bool goes = gone.contains(job_of_spool_file(name)) && !S_ISDIR(file.st_mode);
    if (goes && ::unlinkat(folder, name.c_str(), 0) == 0) {
      ++removed;
      removed_bytes += bytes_on_disk(file);
      continue;
    }
    if (goes && errno != ENOENT && pass.problem.empty()) pass.problem = system_error("removing " + name).message;
    ++pass.files;
    pass.bytes += bytes_on_disk(file);
  }
  if (removed == 0) return;
  const std::lock_guard lock(mutex_);
  figures_.removed_files += removed;
  figures_.removed_bytes += removed_bytes;
}

// The caller has the lock.
void SpoolSweep::finish(const Pass& pass) {
  figures_.files = pass.files;
  figures_.bytes = pass.bytes;
  figures_.is_sweeping = wanted_;
  const bool failed = !pass.problem.empty();
  if (failed && !figures_.is_failing) {
    setup_.log("long outputs of jobs that retention removed stay in " + setup_.directory + ": " + pass.problem);
  }
  figures_.is_failing = failed;
}

}  // namespace futured
