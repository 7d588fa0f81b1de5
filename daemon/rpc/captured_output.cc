#include "daemon/rpc/captured_output.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/command.h"

namespace futured::rpc {

namespace {

struct StreamType {
  std::string_view content_type;
  OutputStream stream;
};
constexpr StreamType kStreamTypes[] = {
    {kStdoutType, OutputStream::kStdout},
    {kStderrType, OutputStream::kStderr},
    {kEmittedType, OutputStream::kEmitted},
    {kLogType, OutputStream::kLog},
};

bool is_type(std::string_view content_type, std::string_view wanted) {
  return content_type.starts_with(wanted) &&
         (content_type.size() == wanted.size() || content_type[wanted.size()] == ';');
}

bool parse_number(std::string_view text, std::uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

// The worker wrote it: a name and nothing else, so that it can only lie in the spool directory.
bool is_file_name(std::string_view name) {
  if (name.empty() || name[0] == '.') return false;
  return std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  });
}

// What stands last holds: the daemon put it there, whatever the worker had said of itself.
bool parse_user(std::string_view text, SpoolUser& user) {
  std::uint64_t number = 0;
  if (!parse_number(text, number) || number > std::numeric_limits<std::uint32_t>::max()) return false;
  user = static_cast<std::uint32_t>(number);
  return true;
}

bool take_parameter(std::string_view parameter, CapturedOutput& output) {
  const std::size_t equals = parameter.find('=');
  if (equals == std::string_view::npos) return false;
  const std::string_view name = parameter.substr(0, equals);
  std::string_view value = parameter.substr(equals + 1);
  if (name == "total") return parse_number(value, output.total);
  if (name == "dropped") return parse_number(value, output.dropped);
  if (name == "at") return parse_number(value, output.dropped_at);
  if (name == "user") return parse_user(value, output.spool_user);
  if (name != "file" || value.size() < 2 || value.front() != '"' || value.back() != '"') return false;
  value = value.substr(1, value.size() - 2);
  output.file = value;
  return is_file_name(value);
}

}  // namespace

bool is_beside_result(const Part& part) {
  return part.kind != PartKind::kSegment &&
         (is_type(part.content_type, kEmittedType) || is_type(part.content_type, kLogType));
}

std::optional<OutputStream> stream_of(const Part& part) {
  const auto* const known = std::ranges::find_if(
      kStreamTypes, [&](const StreamType& stream) { return is_type(part.content_type, stream.content_type); });
  return known != std::end(kStreamTypes) ? std::optional(known->stream) : std::nullopt;
}

std::optional<CapturedOutput> captured_output(const Part& part) {
  if (part.kind != PartKind::kInline) return std::nullopt;
  const auto stream = stream_of(part);
  if (!stream) return std::nullopt;
  CapturedOutput output;
  output.stream = *stream;
  output.bytes = part.bytes;
  output.total = part.bytes.size();
  for (std::size_t from = part.content_type.find(';'); from != std::string_view::npos;) {
    const std::size_t to = part.content_type.find(';', from + 1);
    std::string_view parameter = part.content_type.substr(from + 1, to == std::string_view::npos ? to : to - from - 1);
    while (parameter.starts_with(' ')) parameter.remove_prefix(1);
    if (!take_parameter(parameter, output)) return std::nullopt;
    from = to;
  }
  if (output.dropped > output.total || output.dropped_at > output.kept()) return std::nullopt;
  if (output.file.empty() && output.bytes.size() != output.kept()) return std::nullopt;
  return output;
}

CapturedOutput::Place CapturedOutput::place_of(std::uint64_t offset) const {
  Place place;
  if (dropped == 0 || offset < dropped_at) {
    place.offset = std::min(offset, total);
    place.at = place.offset;
    place.bytes = (dropped == 0 ? total : dropped_at) - place.offset;
    return place;
  }
  place.offset = std::min(std::max(offset, dropped_at + dropped), total);
  place.skipped = place.offset - std::min(offset, place.offset);
  place.at = place.offset - dropped;
  place.bytes = total - place.offset;
  return place;
}

}  // namespace futured::rpc
