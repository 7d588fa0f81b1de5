#include "worker/runtime/command_spawn.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/pool_terms.h"

namespace futured::runtime {

namespace {

constexpr std::size_t kStackBytes = 64 * 1024;
// What an exec of a program without a directory is tried with when the environment has no PATH.
constexpr std::string_view kDefaultPath = "/usr/local/bin:/usr/bin:/bin";
// Finds what a dead spawner left behind; a command cannot take it off itself by its env.
constexpr std::string_view kInstanceKey = "FUTURED_INSTANCE=";

enum class Step { kNone, kDescriptors, kDirectory, kLimits, kExec };

struct Limit {
  __rlimit_resource resource;
  rlimit value;
};

// Everything the child needs, made before it exists: between clone and exec it only makes system calls.
struct Plan {
  std::vector<const char*> argv;
  std::vector<const char*> env;
  std::vector<std::string> candidates;  // paths to try, in order
  const char* directory = nullptr;
  mode_t umask = 0;
  std::vector<Limit> limits;
  int descriptors[3] = {-1, -1, -1};

  // Written by the child into the memory that it shares with us.
  Step failed_step = Step::kNone;
  int failed_errno = 0;
};

std::string_view key_of(std::string_view variable) { return variable.substr(0, variable.find('=') + 1); }

void set_variable(std::vector<const char*>& env, const char* variable) {
  const std::string_view key = key_of(variable);
  for (const char*& existing : env) {
    if (std::string_view(existing).starts_with(key)) {
      existing = variable;
      return;
    }
  }
  env.push_back(variable);
}

void fill_environment(Plan& plan, const SpawnRequest& request) {
  for (char** variable = environ; *variable != nullptr; ++variable) plan.env.push_back(*variable);
  for (const std::string& variable : request.variables) set_variable(plan.env, variable.c_str());
  for (const std::string& variable : request.command.env) {
    if (!variable.starts_with(kInstanceKey)) set_variable(plan.env, variable.c_str());
  }
}

void fill_candidates(Plan& plan, const std::string& program) {
  if (program.find('/') != std::string::npos) {
    plan.candidates.push_back(program);
    return;
  }
  std::string_view path = kDefaultPath;
  for (const char* variable : plan.env) {
    if (std::string_view(variable).starts_with("PATH=")) path = variable + 5;
  }
  for (;;) {
    const std::size_t colon = path.find(':');
    const std::string_view directory = path.substr(0, colon);
    // An empty entry would mean the current directory, which is never a good place to look.
    if (!directory.empty()) plan.candidates.push_back(std::string(directory) + "/" + program);
    if (colon == std::string_view::npos) return;
    path.remove_prefix(colon + 1);
  }
}

void exec_candidates(Plan& plan) {
  // As execvp does: a name that exists but may not be executed is remembered, and the search goes on.
  int result = ENOENT;
  for (const std::string& candidate : plan.candidates) {
    execve(candidate.c_str(), const_cast<char* const*>(plan.argv.data()), const_cast<char* const*>(plan.env.data()));
    if (errno == EACCES) {
      result = EACCES;
    } else if (errno != ENOENT && errno != ENOTDIR) {
      result = errno;
      break;
    }
  }
  plan.failed_step = Step::kExec;
  plan.failed_errno = result;
}

// Runs in the child, on a stack of its own, in our memory.
__attribute__((no_sanitize("address", "thread", "undefined"))) int run_child(void* argument) {
  Plan& plan = *static_cast<Plan*>(argument);
  setpgid(0, 0);
  // Handlers would run in our memory; exec would reset them, but signals are let in before it.
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  sigaction(SIGTERM, &standard, nullptr);
  sigaction(SIGIO, &standard, nullptr);
  for (int i = 0; i < 3; ++i) {
    if (dup2(plan.descriptors[i], i) < 0) {
      plan.failed_step = Step::kDescriptors;
      plan.failed_errno = errno;
      _exit(127);
    }
  }
  syscall(SYS_close_range, 3U, ~0U, 0U);
  if (plan.directory != nullptr && chdir(plan.directory) != 0) {
    plan.failed_step = Step::kDirectory;
    plan.failed_errno = errno;
    _exit(127);
  }
  umask(plan.umask);  // the child's own: CLONE_FS is not shared
  for (const Limit& limit : plan.limits) {
    if (setrlimit(limit.resource, &limit.value) != 0) {
      plan.failed_step = Step::kLimits;
      plan.failed_errno = errno;
      _exit(127);
    }
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  exec_candidates(plan);
  _exit(127);
}

Spawned explain(const Plan& plan, const Command& command) {
  const std::string why = std::generic_category().message(plan.failed_errno);
  const std::string& program = command.argv[0];
  Spawned failed;
  failed.retry_is_pointless = true;
  if (plan.failed_step == Step::kDirectory) {
    failed.error_class = command.cwd.empty() ? "SpawnFailed" : "InvalidCommand";
    failed.message = "cannot enter the working directory " + std::string(plan.directory) + ": " + why;
    failed.retry_is_pointless = !command.cwd.empty();
  } else if (plan.failed_step == Step::kLimits) {
    failed.error_class = "SpawnFailed";
    failed.message = "cannot set the limits of the pool: " + why;
    failed.retry_is_pointless = false;
  } else if (plan.failed_step == Step::kDescriptors) {
    failed.error_class = "SpawnFailed";
    failed.message = "cannot set up the command's descriptors: " + why;
    failed.retry_is_pointless = false;
  } else if (plan.failed_errno == ENOENT || plan.failed_errno == ENOTDIR) {
    failed.error_class = "ProgramNotFound";
    failed.message = program.find('/') == std::string::npos ? "program not found in PATH: " + program
                                                            : "program not found: " + program;
    // execve also says so when a script's interpreter is missing.
    if (access(program.c_str(), F_OK) == 0 && program.find('/') != std::string::npos) {
      failed.message = "the interpreter of " + program + " is not found";
    }
  } else if (plan.failed_errno == EACCES || plan.failed_errno == ENOEXEC || plan.failed_errno == EISDIR) {
    failed.error_class = "NotExecutable";
    failed.message = "program is not executable: " + program + ": " + why;
  } else if (plan.failed_errno == E2BIG) {
    failed.error_class = "InvalidCommand";
    failed.message = "arguments and environment are too long for the system: " + program;
  } else {
    failed.error_class = "SpawnFailed";
    failed.message = program + ": " + why;
    failed.retry_is_pointless = false;
  }
  return failed;
}

}  // namespace

Spawned spawn(const SpawnRequest& request) {
  Plan plan;
  for (const std::string& argument : request.command.argv) plan.argv.push_back(argument.c_str());
  plan.argv.push_back(nullptr);
  fill_environment(plan, request);
  fill_candidates(plan, request.command.argv[0]);
  plan.env.push_back(nullptr);
  plan.umask = request.command.umask.value_or(kDefaultUmask);
  const std::string& directory = request.command.cwd.empty() ? request.directory : request.command.cwd;
  if (!directory.empty()) plan.directory = directory.c_str();
  for (const auto& [name, value] : request.limits) {
    plan.limits.push_back({static_cast<__rlimit_resource>(resource_of(name)), {value, value}});
  }
  plan.descriptors[0] = request.stdin_descriptor;
  plan.descriptors[1] = request.stdout_descriptor;
  plan.descriptors[2] = request.stderr_descriptor;

  // Signals wait until child and parent are apart: a handler in the child would write into our memory.
  alignas(16) static char stack[kStackBytes];
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  int pidfd = -1;
  const int pid = clone(run_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &plan, &pidfd);
  const int clone_errno = errno;
  sigprocmask(SIG_SETMASK, &before, nullptr);

  Spawned spawned;
  if (pid < 0) {
    spawned.error_class = "SpawnFailed";
    spawned.message = "cannot make a process: " + std::generic_category().message(clone_errno);
    return spawned;
  }
  spawned.pidfd = Fd(pidfd);
  if (plan.failed_step != Step::kNone) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    return explain(plan, request.command);
  }
  spawned.pid = pid;
  return spawned;
}

}  // namespace futured::runtime
