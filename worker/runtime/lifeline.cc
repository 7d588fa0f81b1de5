#include "worker/runtime/lifeline.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "worker/runtime/descendants.h"

namespace futured::runtime {

namespace {

volatile std::sig_atomic_t g_is_busy = 0;
volatile std::sig_atomic_t g_has_closed = 0;
int g_lifeline = -1;

bool is_closed(int lifeline) {
  pollfd end{lifeline, 0, 0};
  return poll(&end, 1, 0) == 1 && (end.revents & (POLLHUP | POLLERR)) != 0;
}

void on_lifeline(int) {
  const int saved = errno;
  if (is_closed(g_lifeline)) {
    g_has_closed = 1;
    if (g_is_busy != 0) {
      Usage unused;
      end_descendants(unused);
      _exit(0);
    }
  }
  errno = saved;
}

}  // namespace

Status watch_lifeline(int lifeline) {
  g_lifeline = lifeline;
  g_has_closed = 0;
  struct sigaction action {};
  action.sa_handler = on_lifeline;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGIO, &action, nullptr) != 0) return system_error("sigaction SIGIO");
  f_owner_ex owner{F_OWNER_TID, gettid()};
  if (fcntl(lifeline, F_SETOWN_EX, &owner) != 0) return system_error("fcntl F_SETOWN_EX");
  const int flags = fcntl(lifeline, F_GETFL);
  if (flags < 0 || fcntl(lifeline, F_SETFL, flags | O_ASYNC) != 0) return system_error("fcntl O_ASYNC");
  if (is_closed(lifeline)) g_has_closed = 1;
  return {};
}

void set_busy(bool busy) { g_is_busy = busy ? 1 : 0; }

bool has_lifeline_closed() { return g_has_closed != 0; }

}  // namespace futured::runtime
