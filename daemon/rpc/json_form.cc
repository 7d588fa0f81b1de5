#include "daemon/rpc/json_form.h"

#include <array>
#include <cstdint>
#include <map>
#include <optional>

#include "base/limits.h"
#include "daemon/rpc/convert.h"

namespace futured::rpc {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void append_utf8(std::string& out, std::uint32_t point) {
  const auto tail = [&](unsigned shift) { out.push_back(static_cast<char>(0x80 | ((point >> shift) & 0x3f))); };
  if (point < 0x80) {
    out.push_back(static_cast<char>(point));
  } else if (point < 0x800) {
    out.push_back(static_cast<char>(0xc0 | (point >> 6)));
    tail(0);
  } else if (point < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | (point >> 12)));
    tail(6);
    tail(0);
  } else {
    out.push_back(static_cast<char>(0xf0 | (point >> 18)));
    tail(12);
    tail(6);
    tail(0);
  }
}

// A lone surrogate has no UTF-8, and stays an escape.
void append_escape(std::string& out, std::uint32_t unit) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out.push_back(kDigits[(unit >> shift) & 0xf]);
}

class Former {
 public:
  Former(std::string_view text, const std::set<std::string>& ignored) : text_(text), ignored_(ignored) {}

  Result<std::string> form() {
    std::string out;
    blanks();
    if (!ignored_.empty() && (at_ >= text_.size() || text_[at_] != '{')) return wrong("no object");
    if (!value(out, 0)) return wrong(problem_);
    blanks();
    if (at_ != text_.size()) return wrong("more behind its end");
    return out;
  }

 private:
  [[nodiscard]] Error wrong(const std::string& what) const {
    return {ErrorCode::kInvalidArgument, what + " at byte " + std::to_string(at_)};
  }
  bool fail(const char* what) {
    problem_ = what;
    return false;
  }
  void blanks() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  bool take(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool value(std::string& out, std::size_t depth) {
    if (depth > limits::kJsonDepthMax) return fail("nested too deep");
    if (at_ >= text_.size()) return fail("no value");
    switch (text_[at_]) {
      case '{':
        return object(out, depth);
      case '[':
        return array(out, depth);
      case '"':
        return string(out);
      case 't':
        return word("true", out);
      case 'f':
        return word("false", out);
      case 'n':
        return word("null", out);
      default:
        return number(out);
    }
  }

  bool object(std::string& out, std::size_t depth) {
    std::map<std::string, std::string> members;  // as they are written
    ++at_;
    blanks();
    while (!take('}')) {
      if (!members.empty() && !take(',')) return fail("no comma");
      blanks();
      std::string name;
      if (at_ >= text_.size() || text_[at_] != '"') return fail("no member name");
      if (!string(name)) return false;
      blanks();
      if (!take(':')) return fail("no colon");
      blanks();
      std::string member;
      if (!value(member, depth + 1)) return false;
      if (!members.emplace(std::move(name), std::move(member)).second) return fail("a member twice");
      blanks();
    }
    out.push_back('{');
    bool first = true;
    for (const auto& [name, member] : members) {
      if (depth == 0 && ignored_.contains(name.substr(1, name.size() - 2))) continue;
      if (!std::exchange(first, false)) out.push_back(',');
      out += name + ':' + member;
    }
    out.push_back('}');
    return true;
  }

  bool array(std::string& out, std::size_t depth) {
    out.push_back('[');
    ++at_;
    blanks();
    for (bool first = true; !take(']'); first = false) {
      if (!first && !take(',')) return fail("no comma");
      if (!first) out.push_back(',');
      blanks();
      if (!value(out, depth + 1)) return false;
      blanks();
    }
    out.push_back(']');
    return true;
  }

  bool string(std::string& out) {
    out.push_back('"');
    ++at_;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') {
        out.push_back('"');
        return true;
      }
      if (static_cast<unsigned char>(c) < 0x20) return fail("a control character in a string");
      if (c != '\\') {
        out.push_back(c);
      } else if (!escape(out)) {
        return fail("no escape");
      }
    }
    return fail("a string without an end");
  }

  bool escape(std::string& out) {
    if (at_ >= text_.size()) return false;
    const char c = text_[at_++];
    constexpr std::string_view kShort = "bfnrt";
    constexpr std::string_view kMeant = "\b\f\n\r\t";
    if (c == '"' || c == '\\' || c == '/') {
      character(out, static_cast<unsigned char>(c));
      return true;
    }
    if (const std::size_t found = kShort.find(c); found != std::string_view::npos) {
      character(out, static_cast<unsigned char>(kMeant[found]));
      return true;
    }
    if (c != 'u') return false;
    const auto unit = hex4();
    if (!unit) return false;
    if (*unit < 0xd800 || *unit > 0xdfff) {
      character(out, *unit);
      return true;
    }
    const std::size_t behind = at_;
    if (*unit < 0xdc00 && take('\\') && take('u')) {
      const auto low = hex4();
      if (low && *low >= 0xdc00 && *low <= 0xdfff) {
        character(out, 0x10000 + ((*unit - 0xd800) << 10) + (*low - 0xdc00));
        return true;
      }
    }
    at_ = behind;
    append_escape(out, *unit);
    return true;
  }

  static void character(std::string& out, std::uint32_t point) {
    if (point < 0x20) return append_escape(out, point);
    if (point == '"' || point == '\\') out.push_back('\\');
    append_utf8(out, point);
  }

  std::optional<std::uint32_t> hex4() {
    if (text_.size() - at_ < 4) return std::nullopt;
    std::uint32_t unit = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = text_[at_++];
      const bool is_lower = c >= 'a' && c <= 'f';
      const bool is_upper = c >= 'A' && c <= 'F';
      if (!is_digit(c) && !is_lower && !is_upper) return std::nullopt;
      unit = unit * 16 + static_cast<std::uint32_t>(is_digit(c) ? c - '0' : is_lower ? c - 'a' + 10 : c - 'A' + 10);
    }
    return unit;
  }

  bool word(std::string_view wanted, std::string& out) {
    if (!text_.substr(at_).starts_with(wanted)) return fail("no value");
    at_ += wanted.size();
    out += wanted;
    return true;
  }

  bool number(std::string& out) {
    const std::size_t begin = at_;
    (void)take('-');
    if (!take('0') && !digits()) return fail("no value");
    if (take('.') && !digits()) return fail("no digit behind the point");
    if ((take('e') || take('E'))) {
      (void)(take('+') || take('-'));
      if (!digits()) return fail("no digit in the exponent");
    }
    out += text_.substr(begin, at_ - begin);
    return true;
  }
  bool digits() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
    return at_ > begin;
  }

  const std::string_view text_;
  const std::set<std::string>& ignored_;
  std::size_t at_ = 0;
  std::string problem_;
};

}  // namespace

Result<std::string> json_form(std::string_view text, const std::set<std::string>& ignored) {
  if (!is_utf8(text)) return Error{ErrorCode::kInvalidArgument, "not UTF-8"};
  return Former(text, ignored).form();
}

}  // namespace futured::rpc
