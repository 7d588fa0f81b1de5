#include "client/cpp/resumption.h"

namespace futured::client {

void Resumption::wake() {
  if (is_woken_.exchange(true)) return;
  // Nothing of this is touched after post(): the coroutine may have gone on by then.
  here_.loop->post([handle = handle_] { handle.resume(); });
}

void Resumption::watch_stop() {
  on_stop_.emplace(here_.stop, [this] {
    if (is_woken_.exchange(true)) return;
    is_stopped_ = true;
    here_.loop->post([handle = handle_] { handle.resume(); });
  });
}

void Resumption::end() {
  on_stop_.reset();
  if (is_stopped_) throw Stopped();
}

}  // namespace futured::client
