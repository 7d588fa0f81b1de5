// Which daemon a verb speaks to, and how errors are spoken.
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

#include "base/limits.h"
#include "base/time.h"
#include "client/cli/cli.h"
#include "client/cli/start_daemon.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

constexpr client::Milliseconds kConnectTimeout(2'000);
constexpr client::Milliseconds kReconnectTimeout(30'000);

// Nothing names a daemon, and the machine has none: then it is the user's own.
bool is_users_own(const Globals& globals) {
  if (!globals.address.empty()) return false;
  const char* const given = std::getenv("FUTURED_ADDRESS");
  if (given != nullptr && *given != '\0') return false;
  return client::default_address() == "unix:" + client::user_socket_path();
}

[[noreturn]] void unreachable(const Globals& globals, const client::Unavailable& error) {
  const char* const way_out = !is_users_own(globals) ? "is it running there, and may you connect? see fut doctor"
                              : globals.no_start     ? "start it with any verb without --no-start"
                                                     : "fut run starts one, and so does every verb that needs one";
  throw client::Unavailable(std::string(error.what()) + ": " + way_out);
}

[[noreturn]] void refuse_address(const std::string& address, const std::string& why) {
  throw UsageError("address \"" + address + "\": " + why);
}

bool is_port(std::string_view word) {
  unsigned port = 0;
  const auto [end, problem] = std::from_chars(word.data(), word.data() + word.size(), port);
  return problem == std::errc() && end == word.data() + word.size() && port >= 1 && port <= 65'535;
}

std::string address_of(const Globals& globals) {
  return globals.address.empty() ? client::default_address() : globals.address;
}

// Says once of each loss of the daemon that it is waited for: else a verb would be silent until it gives up. From any
// thread.
class LossNotice {
 public:
  explicit LossNotice(std::string address) : address_(std::move(address)) {}

  // Before that, a verb waits for no daemon that it has lost.
  void connected() {
    const std::lock_guard guard(mutex_);
    was_there_ = true;
  }
  // With each try to reach it that failed.
  void missed() {
    const std::lock_guard guard(mutex_);
    const Instant now = monotonic_now();
    const bool was_back = now - last_missed_ > kBetweenTriesMax;
    last_missed_ = now;
    if (was_back) {
      lost_at_ = now;
      told_ = false;
    }
    if (!was_there_ || told_ || now - lost_at_ < kSilence) return;
    told_ = true;
    complain("the daemon at " + address_ + " is not there: waiting for it, up to " +
             exact_duration_text(kReconnectTimeout));
  }

 private:
  static constexpr Duration kSilence = std::chrono::seconds(1);
  static constexpr Duration kBetweenTriesMax = std::chrono::seconds(5);

  const std::string address_;
  std::mutex mutex_;  // guards what follows
  bool was_there_ = false;
  Instant last_missed_{0};
  Instant lost_at_{0};
  bool told_ = false;
};

// Starts the user's daemon again when it was killed under us: it left its socket behind. One that ended in order, as by
// fut shutdown, has removed it, and is not wanted back.
std::function<void()> reviver(const Globals& globals) {
  if (globals.no_start || !is_users_own(globals)) return [] {};
  return [daemon = user_daemon(), told = std::make_shared<std::atomic<bool>>(false)] {
    if (::access(daemon.socket.c_str(), F_OK) != 0 || answers(daemon.socket)) return;
    try {
      start_user_daemon(daemon);
    } catch (const std::exception& error) {
      if (!told->exchange(true)) std::fprintf(stderr, "fut: %s\n", error.what());
    }
  };
}

}  // namespace

void check_address(const std::string& address) {
  constexpr std::string_view kUnix = "unix:";
  const std::string_view path = std::string_view(address).substr(address.starts_with(kUnix) ? kUnix.size() : 0);
  if (path.starts_with('/')) {
    if (path.size() <= limits::kSocketPathBytesMax) return;
    refuse_address(address, "its path has " + std::to_string(path.size()) + " bytes, and a socket's at most " +
                                std::to_string(limits::kSocketPathBytesMax) + ": use a shorter one");
  }
  const std::size_t colon = address.rfind(':');
  const std::string host = address.substr(0, colon);
  if (colon == std::string::npos || host.empty() || address.starts_with(kUnix) || host.find('/') != std::string::npos) {
    refuse_address(address, "is none of unix:/path, /path and host:port");
  }
  if (!is_port(std::string_view(address).substr(colon + 1))) refuse_address(address, "its port is not 1 to 65535");
}

client::Client connect_only(const Globals& globals) {
  check_address(address_of(globals));
  try {
    return client::Client::connect(globals.address,
                                   {.connect_timeout = client::Milliseconds(0), .reconnect_timeout = kConnectTimeout});
  } catch (const client::Unavailable& error) {
    unreachable(globals, error);
  }
}

client::Client connect(const Globals& globals) {
  if (!globals.no_start && is_users_own(globals)) start_user_daemon(user_daemon());
  check_address(address_of(globals));
  const auto loss = std::make_shared<LossNotice>(address_of(globals));
  const auto when_unreachable = [loss, revive = reviver(globals)] {
    loss->missed();
    revive();
  };
  try {
    client::Client client = client::Client::connect(globals.address, {.connect_timeout = kConnectTimeout,
                                                                      .reconnect_timeout = kReconnectTimeout,
                                                                      .when_unreachable = when_unreachable});
    loss->connected();
    return client;
  } catch (const client::Unavailable& error) {
    unreachable(globals, error);
  }
}

void cancel_job(const client::Client& client, std::uint64_t job, const client::CancelOptions& how) {
  const std::uint64_t ids[] = {job};
  try {
    client.cancel(ids, how);
  } catch (const client::Unavailable& error) {
    const std::string number = std::to_string(job);
    throw client::Unavailable(std::string(error.what()) + ": job " + number + " was not cancelled: fut cancel " +
                              number);
  }
}

void lose_sight(std::uint64_t job, const client::Unavailable& error) {
  const std::string number = std::to_string(job);
  throw client::Unavailable(std::string(error.what()) + ": job " + number + " goes on if it was running: fut wait " +
                            number + ", fut logs -f " + number);
}

std::vector<std::string> command_words(const char* verb, std::vector<std::string> before, const Globals& globals) {
  before.insert(before.end(), globals.words.begin(), globals.words.end());
  if (before.empty()) {
    throw UsageError(std::string(verb) + ": no command: write fut " + verb + " -- COMMAND ARGUMENT…");
  }
  return before;
}

// A message may quote what somebody else wrote.
void complain(const std::string& message) { std::fprintf(stderr, "fut: %s\n", harmless_lines(message).c_str()); }

}  // namespace futured::cli
