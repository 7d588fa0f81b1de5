// A command line as a job carries it: part 0 of the payload of a command job. docs/formats/command.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace futured {

// The content types of a command's payload, and of what jobs write beside their result: the last two are a task's
// chunks and its log.
inline constexpr std::string_view kCommandType = "application/x-futured-command";
inline constexpr std::string_view kStdoutType = "application/x-futured-stdout";
inline constexpr std::string_view kStderrType = "application/x-futured-stderr";
inline constexpr std::string_view kEmittedType = "application/x-futured-emitted";
inline constexpr std::string_view kLogType = "application/x-futured-log";

// Workers keep their own files to themselves; a command's are as readable as a shell's.
inline constexpr std::uint32_t kDefaultUmask = 022;

struct Command {
  std::vector<std::string> argv;       // argv[0] is looked up in PATH unless it holds a slash
  std::vector<std::string> env;        // KEY=VALUE, on top of the worker's own environment; a later one wins
  std::string cwd;                     // absolute, or empty for the worker's own
  std::optional<std::uint32_t> umask;  // of the files it makes, 0 to 0777; else kDefaultUmask

  bool operator==(const Command&) const = default;
};

// Whether the command can be run at all: argv not empty, no NUL bytes, env of the form KEY=VALUE, cwd absolute, and all
// of it within limits::kArgvCountMax and limits::kArgvBytesMax. Who takes a command in asks this before anything is
// kept.
[[nodiscard]] Status check_command(const Command& command);

[[nodiscard]] std::string encode_command(const Command& command);

// Refuses bytes that are damaged, of an unknown version or over the limits; says nothing about check_command.
[[nodiscard]] Result<Command> decode_command(std::string_view encoded);

}  // namespace futured
