#include "client/cli/bench_cheatsheet_daemon.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/result.h"
#include "client/cli/cli.h"
#include "client/cli/start_daemon.h"

namespace futured::cli::cheatsheet {

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kIdleExitSeconds = 60;
constexpr int kEndWithinMs = 15'000;
constexpr client::Milliseconds kConnectTimeout(5'000);

// A pool of each mode that is measured. 50 at once: the sleeps of the table take a round or two.
constexpr const char* kConfig =
    "[pools.default]\nmode = \"process\"\nsize = \"auto\"\n"
    "[pools.thread]\nmode = \"thread\"\nsize = 1\njobs_at_once = 50\n"
    "[pools.async]\nmode = \"async\"\nsize = 1\n";

std::string make_folder() {
  const char* const given = std::getenv("TMPDIR");
  std::string path = (given != nullptr && *given == '/' ? std::string(given) : "/tmp") + "/futured-bench-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) {
    throw client::Unavailable(system_error("cannot make " + path).message + ": set TMPDIR to a folder of your own");
  }
  return path;
}

void write_config(const std::string& path) {
  std::ofstream file(path);
  file << kConfig;
  file.close();
  if (!file) throw client::Unavailable("cannot write " + path + ": make room there, or set TMPDIR");
}

Fd watch(pid_t pid) { return Fd(pid <= 0 ? -1 : static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))); }

bool ended_within(const Fd& process, int milliseconds) {
  pollfd ended = {process.get(), POLLIN, 0};
  return ::poll(&ended, 1, milliseconds) == 1;
}

// Asks, and kills what does not end.
void end_process(const Fd& process, const char* name) {
  if (!process.is_open()) return;
  ::syscall(SYS_pidfd_send_signal, process.get(), SIGTERM, nullptr, 0);
  if (ended_within(process, kEndWithinMs)) return;
  complain(std::string("the private ") + name + " did not end when it was told to: it is killed");
  ::syscall(SYS_pidfd_send_signal, process.get(), SIGKILL, nullptr, 0);
  static_cast<void>(ended_within(process, kEndWithinMs));
}

}  // namespace

std::string PrivateDaemon::start() {
  const std::lock_guard guard(mutex_);
  if (ended_) throw client::Unavailable("the private daemon was ended before it was started");
  folder_ = make_folder();
  const UserDaemon place = {folder_ + "/s", folder_ + "/state"};
  const std::string address = "unix:" + place.socket;
  check_address(address);
  const std::string config = folder_ + "/futured.toml";
  write_config(config);
  fs::create_directory(place.state_dir);
  pid_ = spawn_private_daemon(place, config, kIdleExitSeconds);
  daemon_ = watch(pid_);
  await_private_daemon(pid_, place);
  spawner_ = watch(client::Client::connect(address, {.connect_timeout = kConnectTimeout}).info().spawner_pid);
  return address;
}

void PrivateDaemon::end() {
  const std::lock_guard guard(mutex_);
  ended_ = true;
  if (folder_.empty()) return;
  end_process(daemon_, "daemon");
  if (pid_ > 0) ::waitpid(pid_, nullptr, WNOHANG);
  end_process(spawner_, "spawner");  // and with it all workers
  std::error_code problem;
  fs::remove_all(folder_, problem);
  if (problem) complain("cannot remove " + folder_ + " (" + problem.message() + "): remove it");
  folder_.clear();
}

}  // namespace futured::cli::cheatsheet
