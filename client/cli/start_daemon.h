// Starting the user's own daemon: one of several `fut` starts it, the others wait for it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace futured::cli {

struct UserDaemon {
  std::string socket;
  std::string state_dir;
};
// Where it lives: $XDG_STATE_HOME/futured (else ~/.local/state/futured) and client::user_socket_path().
[[nodiscard]] UserDaemon user_daemon();

// Whether somebody accepts connections there.
[[nodiscard]] bool answers(const std::string& socket);

// Returns when the daemon answers, started by us or by another fut. Throws client::Unavailable with the daemon's own
// words when it does not come up, and when the socket's directory is not ours alone; UsageError when FUTURED_IDLE_EXIT,
// which is looked at by the fut that starts it, is no duration.
void start_user_daemon(const UserDaemon& daemon);

// One that only its starter knows: in an existing state directory, with this settings file. It has a session of its
// own, so Ctrl-C at the terminal does not reach it. Throws client::Unavailable when there is no futured.
[[nodiscard]] pid_t spawn_private_daemon(const UserDaemon& daemon, const std::string& config, std::int64_t idle_exit_s);
// Returns when it answers; throws client::Unavailable, with its own words, when it ended or takes too long.
void await_private_daemon(pid_t pid, const UserDaemon& daemon);

}  // namespace futured::cli
