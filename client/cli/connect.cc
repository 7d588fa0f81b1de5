// Which daemon a verb speaks to, and how errors are spoken.
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "client/cli/cli.h"
#include "client/cli/start_daemon.h"

namespace futured::cli {

namespace {

constexpr client::Milliseconds kConnectTimeout(2'000);

// Nothing names a daemon, and the machine has none: then it is the user's own.
bool is_users_own(const Globals& globals) {
  if (!globals.address.empty()) return false;
  const char* const given = std::getenv("FUTURED_ADDRESS");
  if (given != nullptr && *given != '\0') return false;
  return client::default_address() == "unix:" + client::user_socket_path();
}

[[noreturn]] void unreachable(const Globals& globals, const client::Unavailable& error) {
  const std::string way_out = is_users_own(globals) ? "start it with any verb without --no-start"
                                                    : "is it running there, and may you connect? see fut doctor";
  throw client::Unavailable(std::string(error.what()) + ": " + way_out);
}

}  // namespace

client::Client connect_only(const Globals& globals) {
  try {
    return client::Client::connect(globals.address,
                                   {.connect_timeout = client::Milliseconds(0), .reconnect_timeout = kConnectTimeout});
  } catch (const client::Unavailable& error) {
    unreachable(globals, error);
  }
}

client::Client connect(const Globals& globals) {
  if (!globals.no_start && is_users_own(globals)) start_user_daemon(user_daemon());
  try {
    return client::Client::connect(globals.address, {.connect_timeout = kConnectTimeout});
  } catch (const client::Unavailable& error) {
    unreachable(globals, error);
  }
}

std::vector<std::string> command_words(const char* verb, std::vector<std::string> before, const Globals& globals) {
  before.insert(before.end(), globals.words.begin(), globals.words.end());
  if (before.empty()) {
    throw UsageError(std::string(verb) + ": no command: write fut " + verb + " -- COMMAND ARGUMENT…");
  }
  return before;
}

void complain(const std::string& message) { std::fprintf(stderr, "fut: %s\n", message.c_str()); }

}  // namespace futured::cli
