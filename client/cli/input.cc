#include "client/cli/input.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/fd.h"
#include "base/limits.h"
#include "base/result.h"
#include "client/cli/cli.h"
#include "client/cli/output.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

// Nothing: there is more than the bound. It may be a pipe, or have no end.
std::optional<std::string> read_bounded(int descriptor, const std::string& name) {
  std::string bytes;
  char piece[64 * 1024];
  while (bytes.size() <= limits::kPayloadBytesMax) {
    const ssize_t got = ::read(descriptor, piece, sizeof piece);
    if (got == 0) return bytes;
    if (got > 0) {
      bytes.append(piece, static_cast<std::size_t>(got));
    } else if (errno != EINTR) {
      throw UsageError(system_error(name).message);
    }
  }
  return std::nullopt;
}

}  // namespace

client::Part parse_argument(const std::string& word) {
  client::Part part;
  if (word.starts_with('@')) {
    part.bytes = read_payload_file(word.substr(1));
    return part;
  }
  part.bytes = word;
  part.content_type = Json::accept(word) ? client::kJsonType : client::kTextType;
  return part;
}

std::string read_payload_file(const std::string& path) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) throw UsageError(system_error(path).message);
  std::optional<std::string> bytes = read_bounded(file.get(), path);
  if (bytes) return std::move(*bytes);
  throw UsageError(path + ": over " + bytes_text(limits::kPayloadBytesMax) +
                   ", the most that a job is given: where the task can read a file itself, as sha256 can, give its "
                   "path as text, without @ or --files");
}

std::string read_standard_input() {
  if (!has_standard_input()) throw UsageError("--stdin: standard input is closed: leave the option out");
  std::optional<std::string> bytes = read_bounded(STDIN_FILENO, "standard input");
  if (bytes) return std::move(*bytes);
  throw UsageError("standard input: over " + bytes_text(limits::kPayloadBytesMax) +
                   ", the most that a job is given: put it into a file");
}

void require_utf8(std::string_view what, std::string_view word) {
  if (!is_utf8(word)) throw UsageError(std::string(what) + ": not UTF-8");
}

// CLI11 splits where an option takes more than it must: so this one must take more than there can be, and the policy
// that keeps the last of them is one that does not count them.
CLI::Option* add_words(CLI::App& verb, const std::string& name, std::vector<std::string>& words,
                       const std::string& what) {
  constexpr int kMany = CLI::detail::expected_max_vector_size;
  const auto take = [&words](const CLI::results_t& given) {
    words = given;
    return true;
  };
  return verb.add_option(name, take, what)
      ->type_name("TEXT")
      ->expected(kMany, kMany)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
}

CLI::Validator at_least_one() {
  const auto check = [](const std::string& word) {
    const bool number =
        !word.empty() && std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
    const bool positive = number && word.find_first_not_of('0') != std::string::npos;
    return positive ? std::string() : "\"" + word + "\" is no number from 1 on";
  };
  return CLI::Validator(check, "");
}

CLI::Validator at_least_zero() {
  const auto check = [](const std::string& word) {
    std::uint64_t number = 0;
    const char* const end = word.data() + word.size();
    const auto [rest, problem] = std::from_chars(word.data(), end, number);
    return problem == std::errc() && rest == end ? std::string() : "\"" + word + "\" is no number from 0 on";
  };
  return CLI::Validator(check, "");
}

CLI::Validator above_one(double most) {
  const auto check = [most](const std::string& word) {
    double number = 0;
    const char* const end = word.data() + word.size();
    const auto [rest, problem] = std::from_chars(word.data(), end, number);
    // Neither "inf" nor "nan", which are numbers to from_chars.
    const bool is_one = problem == std::errc() && rest == end && number > 1 && number <= most;
    return is_one ? std::string()
                  : "\"" + word + "\" is no number above 1 and up to " + std::to_string(std::lround(most)) +
                        ": write 1.5 or 2";
  };
  return CLI::Validator(check, "");
}

CLI::Validator duration(const std::string& option) {
  const auto check = [option](const std::string& word) {
    static_cast<void>(parse_duration(word, option));
    return std::string();
  };
  return CLI::Validator(check, "");
}

CLI::Validator duration_over_zero(const std::string& option, const std::string& way_out) {
  const auto check = [option, way_out](const std::string& word) {
    if (parse_duration(word, option).count() == 0)
      throw UsageError(option + ": \"" + word + "\" is no time: " + way_out);
    return std::string();
  };
  return CLI::Validator(check, "");
}

}  // namespace futured::cli
