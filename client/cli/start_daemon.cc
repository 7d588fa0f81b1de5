#include "client/cli/start_daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <spawn.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/limits.h"
#include "base/result.h"
#include "base/time.h"
#include "client/cli/text.h"
#include "futured/client.h"

namespace futured::cli {

namespace fs = std::filesystem;

namespace {

constexpr Duration kStartWithin = std::chrono::seconds(20);  // a store with millions of jobs loads in five
constexpr std::int64_t kIdleExitSeconds = 600;
constexpr const char* kIdleExitVariable = "FUTURED_IDLE_EXIT";
constexpr std::size_t kLogTailBytes = 4 * 1024;

[[noreturn]] void fail(const std::string& message) { throw client::Unavailable(message); }

std::string home() {
  if (const char* given = std::getenv("HOME"); given != nullptr && *given == '/') return given;
  const passwd* entry = ::getpwuid(::getuid());
  if (entry == nullptr) fail("no home directory: set HOME, or name a daemon with --address");
  return entry->pw_dir;
}

// Anyone may make directories in /tmp: the one that holds our socket must be ours, and ours alone.
void secure_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    fail(system_error("cannot make " + path).message + ": set XDG_RUNTIME_DIR to a directory of your own");
  }
  struct stat found = {};
  if (::lstat(path.c_str(), &found) != 0) fail(system_error("cannot look at " + path).message);
  if (!S_ISDIR(found.st_mode) || found.st_uid != ::getuid() || (found.st_mode & 077) != 0) {
    fail(path + " is not a directory that only you can enter: remove it, or set XDG_RUNTIME_DIR");
  }
}

std::string find_daemon() {
  std::error_code problem;
  const fs::path self = fs::read_symlink("/proc/self/exe", problem);
  const fs::path beside = self.parent_path() / "futured";
  if (!problem && ::access(beside.c_str(), X_OK) == 0) return beside.string();
  const char* const path = std::getenv("PATH");
  const std::string folders = path == nullptr ? "" : path;
  for (std::size_t begin = 0; begin <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', begin), folders.size());
    const fs::path candidate = fs::path(folders.substr(begin, end - begin)) / "futured";
    if (::access(candidate.c_str(), X_OK) == 0) return candidate.string();
    begin = end + 1;
  }
  fail("cannot find futured, neither beside fut nor on PATH: install it, or name a daemon with --address");
}

// How long the daemon stays without work; 0: for ever. The daemon counts seconds: less than one is one, not none.
std::int64_t idle_exit_seconds() {
  const char* const given = std::getenv(kIdleExitVariable);
  if (given == nullptr || *given == '\0') return kIdleExitSeconds;
  return (parse_duration(given, kIdleExitVariable).count() + 999) / 1000;
}

// In a session of its own, with the log file for its output, so that closing this terminal does not touch it.
pid_t spawn_daemon(const UserDaemon& daemon, const std::string& log, std::int64_t idle_exit_s,
                   const std::vector<std::string>& more_words = {}) {
  const std::string program = find_daemon();
  std::vector<std::string> words = {program,   "--user",         "--socket",    daemon.socket,
                                    "--state", daemon.state_dir, "--idle-exit", std::to_string(idle_exit_s)};
  words.insert(words.end(), more_words.begin(), more_words.end());
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  ::posix_spawn_file_actions_addchdir_np(&files, "/");
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  sigset_t ignored_here;
  sigemptyset(&ignored_here);
  sigaddset(&ignored_here, SIGPIPE);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &ignored_here);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int problem = ::posix_spawn(&pid, program.c_str(), &files, &attributes, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (problem != 0) fail(system_error("cannot start " + program, problem).message);
  return pid;
}

std::string log_since(const std::string& log, std::uintmax_t begin) {
  std::string text = read_file(log);
  text.erase(0, std::min<std::size_t>(begin, text.size()));
  if (text.size() > kLogTailBytes) text.erase(0, text.size() - kLogTailBytes);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.empty() ? "it said nothing" : text;
}

// Wakes when the socket appears or the daemon ends.
void wait_until_ready(pid_t pid, const UserDaemon& daemon, const std::string& log, std::uintmax_t log_begin) {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const Fd directory(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  ::inotify_add_watch(directory.get(), fs::path(daemon.socket).parent_path().c_str(),
                      IN_CREATE | IN_MOVED_TO | IN_ATTRIB);
  const Instant until = monotonic_now() + kStartWithin;
  while (!answers(daemon.socket)) {
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) == pid) {
      fail("the daemon ended while it was starting; " + log + " says:\n" + log_since(log, log_begin));
    }
    if (monotonic_now() > until) {
      fail("the daemon (pid " + std::to_string(pid) + ") does not answer after 20 s; " + log + " says:\n" +
           log_since(log, log_begin));
    }
    pollfd wake[] = {{process.get(), POLLIN, 0}, {directory.get(), POLLIN, 0}};
    // The socket is made a moment before it is listened on, and that has no notice: hence the bound.
    ::poll(wake, 2, 20);
    char events[4096];
    while (::read(directory.get(), events, sizeof events) > 0) {
    }
  }
}

std::string log_of(const UserDaemon& daemon) { return daemon.state_dir + "/futured.log"; }

}  // namespace

UserDaemon user_daemon() {
  const char* const given = std::getenv("XDG_STATE_HOME");
  const std::string base = given != nullptr && *given == '/' ? given : home() + "/.local/state";
  return {client::user_socket_path(), base + "/futured"};
}

bool answers(const std::string& socket) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (socket.size() > limits::kSocketPathBytesMax) return false;
  std::memcpy(address.sun_path, socket.c_str(), socket.size() + 1);
  const Fd connection(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return ::connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

void start_user_daemon(const UserDaemon& daemon) {
  if (daemon.socket.size() > limits::kSocketPathBytesMax) {
    fail("the socket path " + daemon.socket + " is over " + std::to_string(limits::kSocketPathBytesMax) +
         " bytes: set XDG_RUNTIME_DIR to a shorter one");
  }
  const std::string directory = fs::path(daemon.socket).parent_path().string();
  const bool from_system = std::getenv("XDG_RUNTIME_DIR") != nullptr;
  if (!from_system) secure_directory(directory);
  if (answers(daemon.socket)) return;
  const std::int64_t idle_exit_s = idle_exit_seconds();  // before anything is made: it may be wrong
  std::error_code problem;
  fs::create_directories(daemon.state_dir, problem);
  if (problem) fail("cannot make " + daemon.state_dir + " (" + problem.message() + "): set XDG_STATE_HOME");
  fs::permissions(daemon.state_dir, fs::perms::owner_all, problem);
  const std::string lock_path = daemon.state_dir + "/start.lock";
  const Fd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.is_open()) fail(system_error("cannot open " + lock_path).message);
  while (::flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) fail(system_error("cannot lock " + lock_path).message);
  }
  if (answers(daemon.socket)) return;  // another fut was faster
  const std::string log = log_of(daemon);
  std::uintmax_t log_begin = fs::file_size(log, problem);
  if (problem) log_begin = 0;
  wait_until_ready(spawn_daemon(daemon, log, idle_exit_s), daemon, log, log_begin);
}

pid_t spawn_private_daemon(const UserDaemon& daemon, const std::string& config, std::int64_t idle_exit_s) {
  return spawn_daemon(daemon, log_of(daemon), idle_exit_s, {"--config", config});
}

void await_private_daemon(pid_t pid, const UserDaemon& daemon) {
  wait_until_ready(pid, daemon, log_of(daemon), /*log_begin=*/0);
}

}  // namespace futured::cli
