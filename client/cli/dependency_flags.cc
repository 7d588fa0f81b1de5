#include "client/cli/dependency_flags.h"

#include <algorithm>

#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

std::vector<std::string> split(const std::vector<std::string>& words) {
  std::vector<std::string> parts;
  for (const std::string& word : words) {
    for (std::size_t begin = 0; begin <= word.size();) {
      const std::size_t end = std::min(word.find(',', begin), word.size());
      parts.push_back(word.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  return parts;
}

std::vector<std::uint64_t> jobs_of(const char* option, const std::vector<std::string>& words) {
  if (words.empty()) return {};
  try {
    return parse_ids(split(words));
  } catch (const UsageError& error) {
    throw UsageError(std::string(option) + ": " + error.what());
  }
}

}  // namespace

void DependencyFlags::add_to(CLI::App& verb) {
  const auto add = [&verb](const char* option, std::vector<std::string>& words, const char* what) {
    verb.add_option(option, words, what)->group("Job")->allow_extra_args(false);
  };
  add("--after", after, "Run it when these jobs have ended, such as 12,15 or 3-10; may be given again");
  add("--after-ok", after_ok, "Run it when these have succeeded; if one does not, it fails without running");
  add("--after-failed", after_failed, "Run it when these have ended without success; if one succeeds, it fails");
  add("--when", when, "Run it when this named event is set (fut event set); may be given again");
}

void DependencyFlags::put_into(client::JobOptions& options) const {
  options.after = jobs_of("--after", after);
  options.after_success = jobs_of("--after-ok", after_ok);
  options.after_failure = jobs_of("--after-failed", after_failed);
  for (const std::string& event : when) require_utf8("--when", event);
  options.when = when;
}

}  // namespace futured::cli
