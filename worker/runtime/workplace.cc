#include "worker/runtime/workplace.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "worker/runtime/confinement.h"
#include "worker/runtime/pool_user.h"
#include "worker/runtime/spool.h"

namespace futured::runtime {

namespace {

bool confines(const PoolTerms& terms) {
  return !terms.user.empty() || !terms.limits.empty() || terms.nice != 0 || terms.no_new_privileges ||
         terms.no_network || terms.private_directory;
}

Status try_here(const ZygoteOptions& options) {
  std::string root;
  if (options.terms.private_directory) {
    auto made = make_work_root(options.spool_directory);
    if (!made) return made.error();
    root = std::move(*made);
  }
  if (Status confined = confine(options.terms); !confined) return confined;
  if (Status limited = set_limits(options.terms.limits); !limited) return limited;
  return root.empty() ? Status() : enter_work_root(root);
}

std::string read_to_end(int pipe) {
  std::string text;
  char buffer[PIPE_BUF];
  for (;;) {
    const ssize_t size = read(pipe, buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(size));
  }
}

}  // namespace

Result<WorkDirectory> settle(ZygoteOptions& options, std::uint32_t slot) {
  const PoolTerms& terms = options.terms;
  const auto user = find_user(terms.user);
  if (!user) return user.error();
  WorkDirectory directory;
  if (terms.private_directory) {
    const auto root = make_work_root(options.spool_directory);
    if (!root) return root.error();
    const WorkDirectory::Owner owner =
        *user ? WorkDirectory::Owner{(*user)->id, (*user)->group} : WorkDirectory::Owner{geteuid(), getegid()};
    auto opened = WorkDirectory::open(*root, slot, owner);
    if (!opened) return opened.error();
    directory = std::move(*opened);
    // The worker will be somewhere else.
    std::error_code problem;
    options.spool_directory = std::filesystem::absolute(options.spool_directory, problem);
    if (problem) return Error{ErrorCode::kInternal, "--spool: " + problem.message()};
  }
  if (*user && !options.spool_directory.empty()) {
    auto spool = hand_over_spool(options.spool_directory, (*user)->id, (*user)->group);
    if (!spool) return spool.error();
    options.spool_directory = std::move(*spool);
  }
  if (const Status confined = confine(terms); !confined) return confined.error();
  if (const Status settled = directory.settle(); !settled) return settled.error();
  return directory;
}

Status rehearse(const ZygoteOptions& options) {
  if (!confines(options.terms)) return {};
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return system_error("pipe");
  const Fd theirs_to_us(ends[0]);
  Fd ours(ends[1]);
  const pid_t child = fork();
  if (child < 0) return system_error("fork");
  if (child == 0) {
    const Status tried = try_here(options);
    const std::string_view why = tried ? std::string_view() : std::string_view(tried.error().message);
    (void)!write(ours.get(), why.data(), why.size());
    _exit(tried ? 0 : kExitUnconfined);
  }
  ours.reset();
  const std::string why = read_to_end(theirs_to_us.get());
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (status == 0) return {};
  if (!why.empty()) return Error{ErrorCode::kFailedPrecondition, why};
  return Error{ErrorCode::kFailedPrecondition,
               "a worker with these settings does not live: wait status " + std::to_string(status)};
}

}  // namespace futured::runtime
