#include "base/command.h"

#include <span>

#include "base/limits.h"
#include "base/wire.h"

namespace futured {

namespace {

constexpr std::uint8_t kVersion = 1;

void append_strings(std::string& out, std::span<const std::string> strings) {
  append_varint(out, strings.size());
  for (const std::string& string : strings) append_bytes(out, string);
}

bool read_strings(WireReader& reader, std::vector<std::string>& strings) {
  const std::uint64_t count = reader.varint();
  if (count > limits::kArgvCountMax) return false;
  strings.reserve(count);
  for (std::uint64_t i = 0; i < count && !reader.failed(); ++i) strings.emplace_back(reader.bytes());
  return true;
}

Error refuse(std::string message) { return {ErrorCode::kInvalidArgument, std::move(message)}; }

bool has_nul(std::string_view string) { return string.find('\0') != std::string_view::npos; }

}  // namespace

Status check_command(const Command& command) {
  if (command.argv.empty() || command.argv[0].empty()) return refuse("command is empty: argv[0] must name a program");
  if (command.argv.size() > limits::kArgvCountMax || command.env.size() > limits::kArgvCountMax) {
    return refuse("command has more than " + std::to_string(limits::kArgvCountMax) + " arguments or variables");
  }
  std::size_t bytes = command.cwd.size();
  for (const std::string& argument : command.argv) {
    if (has_nul(argument)) return refuse("command argument holds a NUL byte");
    bytes += argument.size() + 1;
  }
  for (const std::string& variable : command.env) {
    if (has_nul(variable)) return refuse("command environment holds a NUL byte");
    if (variable.find('=') == std::string::npos || variable[0] == '=') {
      return refuse("command environment entry is not KEY=VALUE: " + variable.substr(0, limits::kNameBytesMax));
    }
    bytes += variable.size() + 1;
  }
  if (has_nul(command.cwd)) return refuse("working directory holds a NUL byte");
  if (!command.cwd.empty() && command.cwd[0] != '/') return refuse("working directory is not absolute: " + command.cwd);
  if (command.umask && *command.umask > 0777) return refuse("umask has bits beyond 0777");
  if (bytes > limits::kArgvBytesMax) {
    return refuse("command takes " + std::to_string(bytes) + " bytes, more than " +
                  std::to_string(limits::kArgvBytesMax));
  }
  return {};
}

std::string encode_command(const Command& command) {
  std::string encoded(1, static_cast<char>(kVersion));
  append_strings(encoded, command.argv);
  append_strings(encoded, command.env);
  append_bytes(encoded, command.cwd);
  append_varint(encoded, command.umask ? *command.umask + 1 : 0);
  return encoded;
}

Result<Command> decode_command(std::string_view encoded) {
  WireReader reader(encoded);
  const std::uint8_t version = reader.byte();
  if (reader.failed()) return Error{ErrorCode::kDataLoss, "command is empty"};
  if (version != kVersion) {
    return Error{ErrorCode::kInvalidArgument, "command of unknown version " + std::to_string(version)};
  }
  Command command;
  if (!read_strings(reader, command.argv) || !read_strings(reader, command.env)) {
    return refuse("command has more than " + std::to_string(limits::kArgvCountMax) + " arguments or variables");
  }
  command.cwd = reader.bytes();
  const std::uint64_t umask = reader.varint();
  if (umask > 01000) return refuse("umask has bits beyond 0777");
  if (umask > 0) command.umask = static_cast<std::uint32_t>(umask - 1);
  if (reader.failed()) return Error{ErrorCode::kDataLoss, "command is cut short"};
  if (!reader.at_end()) return Error{ErrorCode::kDataLoss, "command has bytes after its end"};
  return command;
}

}  // namespace futured
