#include "client/cli/dependency_flags.h"

#include <algorithm>
#include <string_view>

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

struct Parents {
  std::vector<std::uint64_t> jobs;
  std::vector<std::uint64_t> batches;
};

// Each is a job, a range of jobs, or "batch:12".
Parents parents_of(const char* option, const std::vector<std::string>& words) {
  constexpr std::string_view kBatch = "batch:";
  Parents parents;
  if (words.empty()) return parents;
  std::vector<std::string> jobs;
  std::vector<std::string> batches;
  for (const std::string& word : split(words)) {
    const bool is_batch = word.starts_with(kBatch);
    (is_batch ? batches : jobs).push_back(is_batch ? word.substr(kBatch.size()) : word);
  }
  try {
    if (!jobs.empty()) parents.jobs = parse_ids(jobs);
    if (!batches.empty()) parents.batches = parse_ids(batches);
  } catch (const UsageError& error) {
    throw UsageError(std::string(option) + ": " + error.what());
  }
  return parents;
}

void add_batches(const Parents& parents, client::Dependency::On on, client::JobOptions& options) {
  for (const std::uint64_t batch : parents.batches) options.depends_on.push_back({.on = on, .batch = batch});
}

}  // namespace

void DependencyFlags::add_to(CLI::App& verb) {
  const auto add = [&verb](const char* option, std::vector<std::string>& words, const char* what) {
    verb.add_option(option, words, what)->group("Job")->allow_extra_args(false);
  };
  add("--after", after, "Run it when these jobs have ended, such as 12,15 or 3-10 or batch:7; may be given again");
  add("--after-ok", after_ok, "Run it when these have succeeded; if one does not, it fails without running");
  add("--after-failed", after_failed, "Run it when these have ended without success; if one succeeds, it fails");
  add("--after-any", after_any, "Run it when one of these has succeeded; if none does, it fails; each use is a choice");
  add("--when", when, "Run it when this named event is set (fut event set); may be given again");
}

void DependencyFlags::put_into(client::JobOptions& options) const {
  using On = client::Dependency::On;
  const Parents ended = parents_of("--after", after);
  const Parents succeeded = parents_of("--after-ok", after_ok);
  const Parents failed = parents_of("--after-failed", after_failed);
  options.after = ended.jobs;
  options.after_success = succeeded.jobs;
  options.after_failure = failed.jobs;
  add_batches(ended, On::kEnd, options);
  add_batches(succeeded, On::kSuccess, options);
  add_batches(failed, On::kFailure, options);
  std::uint32_t group = 0;
  for (const std::string& choice : after_any) {
    const Parents any = parents_of("--after-any", {choice});
    ++group;
    for (const std::uint64_t job : any.jobs) {
      options.depends_on.push_back({.on = On::kSuccess, .job = job, .any_of_group = group});
    }
    for (const std::uint64_t batch : any.batches) {
      options.depends_on.push_back({.on = On::kSuccess, .batch = batch, .any_of_group = group});
    }
  }
  for (const std::string& event : when) require_utf8("--when", event);
  options.when = when;
}

}  // namespace futured::cli
