// The parts of argument conversion that are no templates.
#include "futured/convert.h"

#include <cstring>
#include <memory>

#include "segment/array_type.h"

namespace futured {

ChildFailed::ChildFailed(const ChildOutcome& outcome)
    : TaskError("ChildFailed", "job " + std::to_string(outcome.job) + " has not succeeded (" + outcome.cause + ")" +
                                   (outcome.error_class.empty() ? "" : ": " + outcome.error_class) +
                                   (outcome.message.empty() ? "" : ": " + outcome.message)),
      job_(outcome.job) {}

}  // namespace futured

namespace futured::sdk {

namespace {

constexpr std::size_t kShownBytes = 40;

std::string argument(std::size_t index) { return "argument " + std::to_string(index); }

// Appends a code point as UTF-8.
void append_utf8(std::string& out, std::uint32_t point) {
  if (point < 0x80) {
    out.push_back(static_cast<char>(point));
  } else if (point < 0x800) {
    out.push_back(static_cast<char>(0xc0 | point >> 6));
    out.push_back(static_cast<char>(0x80 | (point & 0x3f)));
  } else if (point < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | point >> 12));
    out.push_back(static_cast<char>(0x80 | (point >> 6 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (point & 0x3f)));
  } else {
    out.push_back(static_cast<char>(0xf0 | point >> 18));
    out.push_back(static_cast<char>(0x80 | (point >> 12 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (point >> 6 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (point & 0x3f)));
  }
}

// The four hexadecimal digits at the front of `text`, taken off it.
std::optional<std::uint32_t> take_hex4(std::string_view& text) {
  std::uint32_t value = 0;
  if (text.size() < 4) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + 4, value, 16);
  if (error != std::errc() || end != text.data() + 4) return std::nullopt;
  text.remove_prefix(4);
  return value;
}

// What stands after "\u", with the second half of a surrogate pair.
bool take_escaped_point(std::string_view& text, std::string& out) {
  auto point = take_hex4(text);
  if (!point) return false;
  if (*point >= 0xd800 && *point < 0xdc00) {
    if (!text.starts_with("\\u")) return false;
    text.remove_prefix(2);
    const auto low = take_hex4(text);
    if (!low || *low < 0xdc00 || *low > 0xdfff) return false;
    *point = 0x10000 + ((*point - 0xd800) << 10) + (*low - 0xdc00);
  } else if (*point >= 0xdc00 && *point < 0xe000) {
    return false;
  }
  append_utf8(out, *point);
  return true;
}

bool take_escape(std::string_view& text, std::string& out) {
  if (text.empty()) return false;
  const char escape = text.front();
  text.remove_prefix(1);
  if (escape == 'u') return take_escaped_point(text, out);
  constexpr std::string_view kFrom = "\"\\/bfnrt";
  constexpr std::string_view kTo = "\"\\/\b\f\n\r\t";
  const std::size_t at = kFrom.find(escape);
  if (at == std::string_view::npos) return false;
  out.push_back(kTo[at]);
  return true;
}

}  // namespace

bool is_json_string(const PartView& part) { return part.content_type == kJsonType && part.text().starts_with('"'); }

std::string unquote_json(const PartView& part, std::size_t index) {
  std::string_view text = part.text().substr(1);
  std::string out;
  while (!text.empty() && text.front() != '"') {
    const char next = text.front();
    text.remove_prefix(1);
    if (next != '\\') {
      out.push_back(next);
    } else if (!take_escape(text, out)) {
      refuse_argument(index, part, "JSON string");
    }
  }
  if (text != "\"") refuse_argument(index, part, "JSON string");
  return out;
}

std::string_view type_parameter(std::string_view content_type) {
  for (std::size_t at = content_type.find(';'); at != std::string_view::npos; at = content_type.find(';')) {
    content_type.remove_prefix(at + 1);
    std::string_view parameter = content_type.substr(0, content_type.find(';'));
    while (parameter.starts_with(' ')) parameter.remove_prefix(1);
    while (parameter.ends_with(' ')) parameter.remove_suffix(1);
    if (!parameter.starts_with("type=")) continue;
    parameter.remove_prefix(5);
    const bool quoted = parameter.size() >= 2 && parameter.starts_with('"') && parameter.ends_with('"');
    return quoted ? parameter.substr(1, parameter.size() - 2) : parameter;
  }
  return {};
}

ArrayView view_array(const PartView& part, std::size_t index, std::string_view dtype, std::size_t alignment) {
  if (!is_array_type(part.content_type)) refuse_argument(index, part, "array of " + std::string(dtype));
  auto type = parse_array_type(part.content_type);
  if (!type) throw BadArgument(argument(index) + ": " + type.error().message);
  if (type->dtype != dtype) {
    throw BadArgument(argument(index) + " is an array of " + type->dtype + ", the task takes " + std::string(dtype));
  }
  if (const auto bytes = array_bytes(*type); !bytes || *bytes != part.bytes.size()) {
    throw BadArgument(argument(index) + " has " + std::to_string(part.bytes.size()) +
                      " bytes, which is not what its shape takes");
  }
  ArrayView view{std::move(type->shape), part.bytes, part.owner};
  if (reinterpret_cast<std::uintptr_t>(part.bytes.data()) % alignment != 0) {
    // Parts inside a record lie at any byte; those are small. Segments begin on a page.
    const std::shared_ptr<std::byte[]> copy(new std::byte[part.bytes.size()]);
    std::memcpy(copy.get(), part.bytes.data(), part.bytes.size());
    view.bytes = {copy.get(), part.bytes.size()};
    view.owner = std::shared_ptr<const void>(copy, copy.get());
  }
  return view;
}

void refuse_argument(std::size_t index, const PartView& part, std::string_view wanted) {
  std::string message = argument(index) + " is not the " + std::string(wanted) + " that the task takes";
  const std::string_view text = part.text();
  if (part.content_type == kJsonType || part.content_type == kTextType) {
    message += ": " + std::string(text.substr(0, kShownBytes)) + (text.size() > kShownBytes ? "…" : "");
  } else {
    message += ": " + std::to_string(text.size()) + " bytes of " +
               (part.content_type.empty() ? "application/octet-stream" : std::string(part.content_type));
  }
  throw BadArgument(message);
}

void refuse_count(std::size_t given, std::size_t wanted, bool or_more) {
  throw BadArgument("the task takes " + std::to_string(wanted) + (or_more ? " or more" : "") + " argument" +
                    (wanted == 1 && !or_more ? "" : "s") + ", " + std::to_string(given) + " given");
}

}  // namespace futured::sdk
