#include "client/cli/output.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <charconv>

#include "base/limits.h"
#include "base/result.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

void write_all(int descriptor, const char* stream, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(descriptor, bytes.data(), bytes.size());
    if (wrote >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(wrote));
    } else if (errno == EAGAIN) {  // somebody else made it non-blocking; it is shared
      pollfd room = {descriptor, POLLOUT, 0};
      ::poll(&room, 1, -1);
    } else if (errno != EINTR) {
      throw WriteError(stream, errno);
    }
  }
}

std::uint64_t dropped_bytes(const client::Part& part) {
  constexpr std::string_view kParameter = "; dropped=";
  const std::size_t at = part.content_type.find(kParameter);
  if (at == std::string::npos || !(is_stdout(part) || is_stderr(part))) return 0;
  std::uint64_t bytes = 0;
  std::from_chars(part.content_type.data() + at + kParameter.size(),
                  part.content_type.data() + part.content_type.size(), bytes);
  return bytes;
}

}  // namespace

WriteError::WriteError(const std::string& stream, int error_number)
    : std::runtime_error(system_error("cannot write to " + stream, error_number).message),
      error_number_(error_number) {}

void occupy_closed_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // The lowest free number is this one. Read-only: a write is refused instead of lost.
    if (::fcntl(stream, F_GETFD) < 0 && errno == EBADF) static_cast<void>(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
}

// What the caller has given has come through an exec. What would not was opened in this process: above, or by a library
// before main().
bool has_standard_input() {
  const int flags = ::fcntl(STDIN_FILENO, F_GETFD);
  return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

void print(std::string_view text) { write_all(STDOUT_FILENO, "standard output", text); }

void print_to_stderr(std::string_view text) { write_all(STDERR_FILENO, "standard error", text); }

std::uint64_t dropped_bytes(const client::Outcome& outcome) {
  std::uint64_t bytes = 0;
  for (const client::Part& part : outcome.result) bytes += dropped_bytes(part);
  return bytes;
}

std::string undelivered_text(std::uint64_t job, std::uint64_t bytes) {
  return bytes_text(static_cast<std::int64_t>(bytes)) + " of the output of job " + std::to_string(job) +
         " were not delivered: the daemon keeps " + bytes_text(limits::kOutputBytesMax) +
         " of each of standard output and standard error; let the command write to a file";
}

}  // namespace futured::cli
