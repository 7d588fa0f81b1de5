#include "base/pool_terms.h"

#include <pwd.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "base/limits.h"

namespace futured {

namespace {

constexpr std::array<std::pair<PoolMode, std::string_view>, 5> kModes = {{
    {PoolMode::kProcess, "process"},
    {PoolMode::kFresh, "fresh"},
    {PoolMode::kThread, "thread"},
    {PoolMode::kAsync, "async"},
    {PoolMode::kCommand, "command"},
}};
constexpr std::array<std::pair<Leaks, std::string_view>, 3> kLeaks = {{
    {Leaks::kReplace, "replace"},
    {Leaks::kWarn, "warn"},
    {Leaks::kIgnore, "ignore"},
}};
constexpr std::array<std::pair<std::string_view, int>, 9> kResources = {{
    {"as", RLIMIT_AS},
    {"core", RLIMIT_CORE},
    {"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},
    {"fsize", RLIMIT_FSIZE},
    {"memlock", RLIMIT_MEMLOCK},
    {"nofile", RLIMIT_NOFILE},
    {"nproc", RLIMIT_NPROC},
    {"stack", RLIMIT_STACK},
}};

template <typename Word, std::size_t size>
std::string_view word_of(const std::array<std::pair<Word, std::string_view>, size>& words, Word wanted) {
  return std::ranges::find(words, wanted, &std::pair<Word, std::string_view>::first)->second;
}

// "\"x\": must be a, b or c"
template <typename Words, typename Name>
Error unknown_word(std::string_view word, const Words& words, Name name) {
  std::string text = "\"" + std::string(word) + "\": must be ";
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i != 0) text += i + 1 == words.size() ? " or " : ", ";
    text += name(words[i]);
  }
  return {ErrorCode::kInvalidArgument, text};
}

template <typename Word, std::size_t size>
Result<Word> parse_word(const std::array<std::pair<Word, std::string_view>, size>& words, std::string_view word) {
  const auto found = std::ranges::find(words, word, &std::pair<Word, std::string_view>::second);
  if (found != words.end()) return found->first;
  return unknown_word(word, words, [](const auto& each) { return each.second; });
}

template <typename Number>
Status parse_number(std::string_view option, std::string_view word, Number& number) {
  const auto [end, wrong] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (wrong == std::errc() && end == word.data() + word.size()) return {};
  return Error{ErrorCode::kInvalidArgument, std::string(option) + ": \"" + std::string(word) + "\" is no number"};
}

}  // namespace

std::string_view to_string(PoolMode mode) { return word_of(kModes, mode); }
std::string_view to_string(Leaks leaks) { return word_of(kLeaks, leaks); }
Result<PoolMode> parse_pool_mode(std::string_view word) { return parse_word(kModes, word); }
Result<Leaks> parse_leaks(std::string_view word) { return parse_word(kLeaks, word); }

int resource_of(std::string_view name) {
  const auto found = std::ranges::find(kResources, name, &std::pair<std::string_view, int>::first);
  return found == kResources.end() ? -1 : found->second;
}

std::vector<std::string> to_arguments(const PoolTerms& terms) {
  std::vector<std::string> arguments;
  const auto add = [&](std::string option, std::string value) {
    arguments.push_back(std::move(option));
    arguments.push_back(std::move(value));
  };
  const auto add_number = [&](const char* option, auto value, auto standard) {
    if (value != standard) add(option, std::to_string(value));
  };
  add("--mode", std::string(to_string(terms.mode)));
  for (const std::string& plugin : terms.plugins) add("--plugin", plugin);
  add_number("--jobs-at-once", terms.jobs_at_once, 1U);
  add_number("--jobs-per-worker-max", terms.jobs_per_worker_max, std::uint64_t{0});
  add_number("--rss-bytes-max", terms.rss_bytes_max, std::uint64_t{0});
  if (terms.leaks != Leaks::kReplace) add("--leaks", std::string(to_string(terms.leaks)));
  if (!terms.user.empty()) add("--user", terms.user);
  for (const std::string& name : terms.env_allow) add("--env-allow", name);
  for (const auto& [name, value] : terms.limits) add("--limit", name + "=" + std::to_string(value));
  add_number("--nice", terms.nice, 0);
  add_number("--no-new-privileges", int{terms.no_new_privileges}, 0);
  add_number("--no-network", int{terms.no_network}, 0);
  add_number("--private-directory", int{terms.private_directory}, 0);
  add_number("--memory-bytes-max", terms.memory_bytes_max, std::uint64_t{0});
  add_number("--processes-max", terms.processes_max, 0U);
  return arguments;
}

Status read_argument(PoolTerms& terms, std::string_view option, std::string_view value) {
  const auto number = [&](auto& into) { return parse_number(option, value, into); };
  const auto flag = [&](bool& into) -> Status {
    if (value != "0" && value != "1") {
      return Error{ErrorCode::kInvalidArgument, std::string(option) + ": must be 0 or 1"};
    }
    into = value == "1";
    return {};
  };
  const auto word = [&](auto parsed, auto& into) -> Status {
    if (!parsed) return parsed.error().in(std::string(option));
    into = *parsed;
    return {};
  };
  if (option == "--mode") return word(parse_pool_mode(value), terms.mode);
  if (option == "--leaks") return word(parse_leaks(value), terms.leaks);
  if (option == "--jobs-at-once") return number(terms.jobs_at_once);
  if (option == "--jobs-per-worker-max") return number(terms.jobs_per_worker_max);
  if (option == "--rss-bytes-max") return number(terms.rss_bytes_max);
  if (option == "--nice") return number(terms.nice);
  if (option == "--memory-bytes-max") return number(terms.memory_bytes_max);
  if (option == "--processes-max") return number(terms.processes_max);
  if (option == "--no-new-privileges") return flag(terms.no_new_privileges);
  if (option == "--no-network") return flag(terms.no_network);
  if (option == "--private-directory") return flag(terms.private_directory);
  if (option == "--limit") {
    const std::size_t equals = value.find('=');
    const std::string name(value.substr(0, equals));
    if (equals == std::string_view::npos || resource_of(name) < 0) {
      return Error{ErrorCode::kInvalidArgument, "--limit: \"" + std::string(value) + "\" is not NAME=VALUE"};
    }
    return parse_number("--limit " + name, value.substr(equals + 1), terms.limits[name]);
  }
  if (option == "--plugin") {
    terms.plugins.emplace_back(value);
  } else if (option == "--user") {
    terms.user = value;
  } else if (option == "--env-allow") {
    terms.env_allow.emplace_back(value);
  } else {
    return Error{ErrorCode::kNotFound, "unknown option " + std::string(option)};
  }
  return {};
}

std::uint32_t jobs_at_once_by_default(PoolMode mode) {
  return mode == PoolMode::kAsync ? limits::kCoroutinesDefault : 1;
}

Status check(const PoolTerms& terms) {
  const auto refuse = [](std::string why) { return Error{ErrorCode::kInvalidArgument, std::move(why)}; };
  const std::string mode = "mode " + std::string(to_string(terms.mode));
  const bool runs_commands = terms.mode == PoolMode::kCommand;
  if (runs_commands && !terms.plugins.empty()) return refuse("plugins: a command pool runs no tasks");
  const bool is_async = terms.mode == PoolMode::kAsync;
  const std::uint32_t least = is_async ? 2 : 1;
  const std::uint32_t most = is_async ? limits::kCoroutinesMax : limits::kJobsAtOnceMax;
  if (terms.jobs_at_once < least || terms.jobs_at_once > most) {
    return refuse("jobs_at_once: must be " + std::to_string(least) + " to " + std::to_string(most) +
                  (is_async && terms.jobs_at_once == 1 ? "; for one at a time use mode process" : ""));
  }
  if (terms.jobs_at_once != 1 && !terms.shares_process()) {
    return refuse("jobs_at_once: " + mode + " runs one job at a time");
  }
  if (terms.mode == PoolMode::kCommand || terms.mode == PoolMode::kFresh) {
    const char* const setting = terms.jobs_per_worker_max != 0   ? "jobs_per_worker_max"
                                : terms.rss_bytes_max != 0       ? "rss_max"
                                : terms.leaks != Leaks::kReplace ? "leaks"
                                                                 : nullptr;
    if (setting != nullptr)
      return refuse(std::string(setting) + ": " + mode + " leaves nothing of a job to its worker");
  }
  if (terms.processes_max == 1 && terms.mode != PoolMode::kProcess) {
    return refuse("processes_max: " + mode + " needs 2, for the worker and its job");
  }
  if (terms.memory_bytes_max != 0 && terms.memory_bytes_max < limits::kWorkerMemoryBytesMin) {
    return refuse("memory_max: a worker needs " + std::to_string(limits::kWorkerMemoryBytesMin) + " bytes for itself");
  }
  if (terms.shares_process() && (terms.jobs_per_worker_max != 0 || terms.rss_bytes_max != 0)) {
    return refuse((terms.rss_bytes_max != 0 ? "rss_max: " : "jobs_per_worker_max: ") + mode +
                  " has no moment between two jobs at which a worker could be replaced");
  }
  if (terms.shares_process() && terms.leaks != Leaks::kReplace) {
    return refuse("leaks: the jobs of " + mode +
                  " share one process, and nobody could say whose a leak is; leave it out");
  }
  if (terms.shares_process() && terms.memory_bytes_max != 0) {
    return refuse("memory_max: the jobs of " + mode + " share one process, and nobody could say whose the memory is");
  }
  if (terms.nice < -20 || terms.nice > 19) return refuse("nice: must be -20 to 19");
  for (const auto& [name, value] : terms.limits) {
    if (resource_of(name) >= 0) continue;
    return refuse("limits." + unknown_word(name, kResources, [](const auto& each) { return each.first; }).message);
  }
  if (!terms.user.empty() && ::getpwnam(terms.user.c_str()) == nullptr) {
    return refuse("user: this machine has no user \"" + terms.user + "\"");
  }
  if (terms.private_directory && terms.shares_process()) {
    return refuse("private_directory: the jobs of " + mode + " share one process, and so one directory");
  }
  return {};
}

}  // namespace futured
