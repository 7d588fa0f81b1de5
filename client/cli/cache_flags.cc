#include "client/cli/cache_flags.h"

#include <algorithm>
#include <charconv>

#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

constexpr const char* kGroup = "Cache";

bool is_number(const std::string& word) {
  return !word.empty() && std::ranges::all_of(word, [](char c) { return c >= '0' && c <= '9'; });
}

void ignore(const std::string& word, client::CacheOptions& caching) {
  if (word.empty()) throw UsageError("--cache-ignore: name a part, such as 1, or a field, such as seed");
  if (!is_number(word)) {
    caching.ignored_fields.push_back(word);
    return;
  }
  std::uint32_t part = 0;
  const auto [end, problem] = std::from_chars(word.data(), word.data() + word.size(), part);
  if (problem != std::errc() || end != word.data() + word.size()) {
    throw UsageError("--cache-ignore: " + word + " is the number of no part");
  }
  caching.ignored_parts.push_back(part);
}

}  // namespace

void CacheFlags::add_to(CLI::App& verb) {
  verb.add_flag("--cache", cache, "Take the outcome of a job that was asked the same, if there is one")->group(kGroup);
  verb.add_option("--cache-ttl", ttl,
                  "Of an outcome that is younger than this, and keep its own so long (default: any that is kept)")
      ->group(kGroup)
      ->check(duration_over_zero("--cache-ttl", "use no --cache-ttl for no limit"));
  verb.add_option("--cache-key", key, "What is the same: this, instead of the arguments")
      ->group(kGroup)
      ->check([](const std::string& word) { return word.empty() ? "it is empty; leave it out, or name one" : ""; });
  verb.add_option(
          "--cache-ignore", ignored,
          "What does not count, such as 1,seed: the number of a part, or a member of part 0 if that is JSON; may be "
          "given again")
      ->group(kGroup)
      ->allow_extra_args(false);
  verb.add_flag("--cache-failures", failures, "Keep and take errors of the task, too")->group(kGroup);
  verb.add_flag("--cache-explain", explain, "Have the outcome say hit or miss, and why")->group(kGroup);
}

// Any of them means --cache.
void CacheFlags::put_into(client::JobOptions& options) const {
  require_utf8("--cache-key", key);
  client::CacheOptions& caching = options.caching;
  if (!ttl.empty()) caching.ttl = parse_duration(ttl, "--cache-ttl");
  caching.key = key;
  caching.failures = failures;
  caching.explain = explain;
  for (const std::string& words : ignored) {
    require_utf8("--cache-ignore", words);
    for (std::size_t begin = 0; begin <= words.size();) {
      const std::size_t end = std::min(words.find(',', begin), words.size());
      ignore(words.substr(begin, end - begin), caching);
      begin = end + 1;
    }
  }
  options.cache = cache || !ttl.empty() || !key.empty() || !ignored.empty() || failures || explain;
}

}  // namespace futured::cli
