// Standard output and standard error: every failure to write is told, and how much of a job's output never came.
#pragma once

#include <cerrno>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include "futured/client.h"

namespace futured::cli {

// A standard stream does not take what it is given.
class WriteError : public std::runtime_error {
 public:
  WriteError(const std::string& stream, int error_number);
  // Nobody reads any more. Others would have been ended by SIGPIPE, without a word.
  [[nodiscard]] bool reader_is_gone() const { return error_number_ == EPIPE; }

 private:
  int error_number_;
};

// A stream that the caller has closed must not become the number of a socket of ours: to write to it fails, and to read
// from it gives nothing.
void occupy_closed_streams();
// False: the caller has closed it.
[[nodiscard]] bool has_standard_input();

// Whole, and at once. They throw WriteError.
void print(std::string_view text);
void print_to_stderr(std::string_view text);

// Bytes that a command wrote and that its result has not kept (docs/formats/command.md).
[[nodiscard]] std::uint64_t dropped_bytes(const client::Outcome& outcome);
// "104 MiB of the output of job 7 were not delivered: …"
[[nodiscard]] std::string undelivered_text(std::uint64_t job, std::uint64_t bytes);

}  // namespace futured::cli
