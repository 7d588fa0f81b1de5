#include "daemon/ops/config.h"

#include <toml++/toml.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <string_view>
#include <thread>
#include <utility>

#include "base/limits.h"

namespace futured::ops {

namespace {

constexpr const char* kCommandPool = "command";  // who runs a command line expects it to be there

std::optional<std::uint64_t> parse_bytes(std::string_view word) {
  std::uint64_t number = 0;
  const auto [rest, wrong] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (wrong != std::errc()) return std::nullopt;
  std::string_view unit(rest, static_cast<std::size_t>(word.data() + word.size() - rest));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  int shift = 0;
  for (const std::string_view known : {"B", "KiB", "MiB", "GiB", "TiB"}) {
    if (unit == known) return number > (UINT64_MAX >> shift) ? std::nullopt : std::optional(number << shift);
    shift += 10;
  }
  return std::nullopt;
}

std::optional<std::int64_t> parse_age(std::string_view text) {
  if (text == "forever") return 0;
  std::int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || count < 1) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  constexpr std::pair<std::string_view, std::int64_t> kUnits[] = {
      {"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
  const auto unit = std::ranges::find(kUnits, text, &std::pair<std::string_view, std::int64_t>::first);
  if (unit == std::end(kUnits) || count > limits::kRetentionMsMax / unit->second) return std::nullopt;
  return count * unit->second;
}

// Reads the keys of one table; the first thing that is wrong is kept and ends the reading.
class Section {
 public:
  Section(const toml::table& table, std::string name, std::string& problem)
      : table_(table), name_(std::move(name)), problem_(problem) {}

  void text(const char* key, std::string& value) {
    if (const toml::node* node = take(key)) set(key, node->value_exact<std::string>(), value, "a string");
  }
  void flag(const char* key, bool& value) {
    if (const toml::node* node = take(key)) set(key, node->value_exact<bool>(), value, "true or false");
  }
  void number(const char* key, std::int64_t& value) {
    if (const toml::node* node = take(key)) set(key, node->value_exact<std::int64_t>(), value, "a whole number");
  }
  // A number of any kind; what it may be is checked with the whole.
  template <typename Number>
  void count(const char* key, Number& value) {
    std::int64_t found = value;
    number(key, found);
    if (std::in_range<Number>(found)) {
      value = static_cast<Number>(found);
    } else {
      wrong(key, std::to_string(found) + " is out of bounds");
    }
  }
  // 1073741824, "1GiB", "512 MiB".
  void bytes(const char* key, std::uint64_t& value) {
    const toml::node* const node = take(key);
    if (node == nullptr) return;
    const auto plain = node->value_exact<std::int64_t>();
    if (plain && *plain >= 0) {
      value = static_cast<std::uint64_t>(*plain);
      return;
    }
    const auto parsed = parse_bytes(node->value_exact<std::string>().value_or(""));
    if (!parsed) return wrong(key, "must be a number of bytes, such as \"512MiB\"");
    value = *parsed;
  }
  // "7d", "12h", "30m", "10s", "500ms", or "forever", which is 0.
  void age(const char* key, std::int64_t& ms) {
    const toml::node* const node = take(key);
    if (node == nullptr) return;
    const auto parsed = parse_age(node->value_exact<std::string>().value_or(""));
    if (!parsed) return wrong(key, "must be a time such as \"7d\", \"12h\", \"30m\" or \"10s\", or \"forever\"");
    ms = *parsed;
  }
  template <typename Word, typename Parse>
  void word(const char* key, Word& value, const Parse& parse) {
    std::string text(to_string(value));
    this->text(key, text);
    const auto parsed = parse(text);
    if (!parsed) return wrong(key, parsed.error().message);
    value = *parsed;
  }
  void counts(const char* key, std::map<std::string, std::uint64_t>& values) {
    const toml::node* const node = take(key);
    if (node == nullptr) return;
    const toml::table* const table = node->as_table();
    if (table == nullptr) return wrong(key, "must be a table of whole numbers");
    for (const auto& [name, entry] : *table) {
      const auto value = entry.value_exact<std::int64_t>();
      if (!value || *value < 0) return wrong(key, std::string(name.str()) + " must be a whole number, 0 or more");
      values[std::string(name.str())] = static_cast<std::uint64_t>(*value);
    }
  }
  void texts(const char* key, std::vector<std::string>& values) {
    const toml::node* const node = take(key);
    if (node == nullptr) return;
    const toml::array* const array = node->as_array();
    if (array == nullptr) return wrong(key, "must be a list of strings");
    for (const toml::node& entry : *array) {
      const auto value = entry.value_exact<std::string>();
      if (!value) return wrong(key, "must be a list of strings");
      values.push_back(*value);
    }
  }
  const toml::node* take(const char* key) {
    known_.insert(key);
    return table_.get(key);
  }
  void wrong(std::string_view key, std::string_view why) {
    if (problem_.empty()) problem_ = "[" + name_ + "] " + std::string(key) + ": " + std::string(why);
  }
  void refuse_unknown() {
    for (const auto& [key, node] : table_) {
      if (!known_.contains(std::string(key.str()))) wrong(key.str(), "is not a setting of futured");
    }
  }

 private:
  template <typename T>
  void set(const char* key, const std::optional<T>& found, T& value, const char* kind) {
    if (!found) return wrong(key, std::string("must be ") + kind);
    value = *found;
  }

  const toml::table& table_;
  std::string name_;
  std::string& problem_;
  std::set<std::string> known_;
};

void read_terms(Section& section, PoolTerms& terms) {
  section.texts("plugins", terms.plugins);
  if (section.take("jobs_at_once") == nullptr) terms.jobs_at_once = jobs_at_once_by_default(terms.mode);
  section.count("jobs_at_once", terms.jobs_at_once);
  section.count("jobs_per_worker_max", terms.jobs_per_worker_max);
  section.bytes("rss_max", terms.rss_bytes_max);
  section.word("leaks", terms.leaks, parse_leaks);
  if (terms.shares_process() && section.take("leaks") != nullptr) {
    section.wrong("leaks", "the jobs of mode " + std::string(to_string(terms.mode)) +
                               " share one process, and nobody could say whose a leak is; leave it out");
  }
  section.text("user", terms.user);
  section.texts("env_allow", terms.env_allow);
  if (section.take("env_allow") != nullptr && terms.env_allow.empty()) {
    section.wrong("env_allow", "names nothing; leave it out for all, or name what workers need, such as [\"PATH\"]");
  }
  section.counts("limits", terms.limits);
  section.count("nice", terms.nice);
  section.flag("no_new_privileges", terms.no_new_privileges);
  section.flag("no_network", terms.no_network);
  section.flag("private_directory", terms.private_directory);
  section.bytes("memory_max", terms.memory_bytes_max);
  section.count("processes_max", terms.processes_max);
}

// "auto", "2..8", "2..auto".
bool read_size(std::string_view word, PoolSection& pool) {
  const auto number = [](std::string_view digits, std::uint32_t least) -> std::optional<std::uint32_t> {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    const bool is_number = error == std::errc() && end == digits.data() + digits.size();
    return is_number && value >= least && value <= limits::kSlotsMax ? std::optional(value) : std::nullopt;
  };
  const std::size_t dots = word.find("..");
  const std::string_view most = dots == std::string_view::npos ? word : word.substr(dots + 2);
  pool.size = 0;
  pool.size_min = UINT32_MAX;
  if (most != "auto") {
    const auto size = number(most, 1);
    if (!size) return false;
    pool.size = *size;
  }
  if (dots == std::string_view::npos) return true;
  const auto size_min = number(word.substr(0, dots), 0);
  if (!size_min || (pool.size != 0 && *size_min > pool.size)) return false;
  pool.size_min = *size_min;
  return true;
}

void read_pool(const toml::table& table, const std::string& name, Config& config, std::string& problem) {
  auto known = std::ranges::find(config.pools, name, &PoolSection::name);
  if (known == config.pools.end()) known = config.pools.insert(known, PoolSection{.name = name});
  PoolSection& pool = *known;
  Section section(table, "pools." + name, problem);
  section.word("mode", pool.terms.mode, parse_pool_mode);
  if (name == kCommandPool && pool.terms.mode != PoolMode::kCommand) {
    section.wrong("mode", "the pool of this name runs command lines, so it must be \"command\"; give a pool of tasks " +
                              std::string("another name, as in [pools.NAME]"));
  }
  if (const toml::node* size = section.take("size")) {
    const auto workers = size->value_exact<std::int64_t>();
    const auto word = size->value_exact<std::string>();
    if (workers && *workers >= 1 && *workers <= static_cast<std::int64_t>(limits::kSlotsMax)) {
      pool.size = static_cast<std::uint32_t>(*workers);
    } else if (!word || !read_size(*word, pool)) {
      section.wrong("size", "must be \"auto\", 1 to " + std::to_string(limits::kSlotsMax) +
                                ", or the least and the most as in \"1..8\" or \"0..auto\"");
    }
  }
  section.count("idle_ms", pool.idle_ms);
  if (const toml::node* most = section.take("waiting_max")) {
    const auto jobs = most->value_exact<std::int64_t>();
    if (jobs && *jobs >= 0 && *jobs <= static_cast<std::int64_t>(limits::kSlotsMax)) {
      pool.waiting_max = *jobs;
    } else {
      section.wrong("waiting_max", "must be 0 to " + std::to_string(limits::kSlotsMax) +
                                       ", the jobs of this pool that may wait for others at once");
    }
  }
  const bool never_shrinks = pool.size_min == UINT32_MAX || (pool.size != 0 && pool.size_min == pool.size);
  if (never_shrinks && section.take("idle_ms") != nullptr) {
    section.wrong("idle_ms", "this pool keeps all its workers; give a size with a least and a most, as in \"1..8\"");
  }
  read_terms(section, pool.terms);
  if (const toml::node* env = section.take("env")) {
    if (const toml::table* const values = env->as_table()) {
      for (const auto& [key, node] : *values) {
        const auto value = node.value_exact<std::string>();
        if (!value) section.wrong("env", "values must be strings");
        pool.env.emplace_back(std::string(key.str()), value.value_or(""));
      }
    } else {
      section.wrong("env", "must be a table of strings");
    }
  }
  section.refuse_unknown();
}

void read_queue(const toml::table& table, const std::string& name, Config& config, std::string& problem) {
  QueueSection queue{.name = name};
  Section section(table, "queues." + name, problem);
  section.text("discipline", queue.discipline);
  if (queue.discipline != "fifo" && queue.discipline != "lifo" && queue.discipline != "priority") {
    section.wrong("discipline", "must be \"fifo\", \"lifo\" or \"priority\"");
  }
  section.refuse_unknown();
  config.queues.push_back(std::move(queue));
}

void read_secrets(const toml::table& table, CallbackSection& callbacks, std::string& problem) {
  Section section(table, "callbacks.secrets", problem);
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    section.text(name.c_str(), callbacks.secrets[name]);
    if (callbacks.secrets[name].empty()) section.wrong(name, "an empty secret signs nothing");
  }
}

void read_tls(const toml::table& table, CallbackSection& callbacks, std::string& problem) {
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    const toml::table* const files = node.as_table();
    if (files == nullptr) {
      if (problem.empty()) problem = "[callbacks.tls] " + name + ": must be a table";
      return;
    }
    Section section(*files, "callbacks.tls." + name, problem);
    TlsSection& tls = callbacks.tls[name];
    section.text("ca", tls.ca);
    section.text("certificate", tls.certificate);
    section.text("key", tls.key);
    section.refuse_unknown();
  }
}

void read_callbacks(const toml::table& table, Config& config, std::string& problem) {
  CallbackSection& callbacks = config.callbacks;
  Section section(table, "callbacks", problem);
  section.flag("allow_private", callbacks.allow_private);
  section.number("redirects_max", callbacks.redirects_max);
  section.text("ca", callbacks.ca);
  const auto inner = [&](const char* key, auto read) {
    const toml::node* const node = section.take(key);
    if (node == nullptr) return;
    if (const toml::table* const found = node->as_table()) {
      read(*found, callbacks, problem);
    } else {
      section.wrong(key, "must be a table");
    }
  };
  inner("secrets", read_secrets);
  inner("tls", read_tls);
  section.refuse_unknown();
}

void read_retention(const toml::table& table, RetentionSection& retention, std::string& problem) {
  Section section(table, "retention", problem);
  section.age("age", retention.age_ms);
  section.age("failed_age", retention.failed_age_ms);
  section.count("jobs_max", retention.jobs_max);
  section.bytes("bytes_max", retention.bytes_max);
  section.refuse_unknown();
}

void read_cache(const toml::table& table, CacheSection& cache, std::string& problem) {
  Section section(table, "cache", problem);
  section.bytes("bytes_max", cache.bytes_max);
  section.count("entries_max", cache.entries_max);
  if (cache.entries_max > limits::kCacheEntriesMax) {
    section.wrong("entries_max", "must be at most " + std::to_string(limits::kCacheEntriesMax));
  }
  section.refuse_unknown();
}

void read_daemon(const toml::table& table, Config& config, std::string& problem) {
  Section section(table, "daemon", problem);
  section.text("socket", config.socket);
  section.text("state", config.state);
  section.text("listen", config.listen);
  section.number("idle_exit_ms", config.idle_exit_ms);
  section.text("log_level", config.log_level);
  section.number("compression_level", config.compression_level);
  section.refuse_unknown();
}

// The tables inside [pools] or [queues], one for each name.
template <typename Read>
void read_named(const toml::node& node, const char* kind, std::string& problem, Read read) {
  const toml::table* const tables = node.as_table();
  if (tables == nullptr) {
    problem = std::string(kind) + " must be tables: [" + kind + ".NAME]";
    return;
  }
  for (const auto& [key, entry] : *tables) {
    const toml::table* const table = entry.as_table();
    if (table != nullptr) {
      read(*table, std::string(key.str()));
    } else if (problem.empty()) {
      problem = "[" + std::string(kind) + "] " + std::string(key.str()) + ": must be a table";
    }
  }
}

}  // namespace

Config default_config() {
  Config config;
  config.pools = {PoolSection{.name = "default"}, PoolSection{.name = kCommandPool}};
  config.pools.back().terms.mode = PoolMode::kCommand;
  return config;
}

Result<Config> read_config(const std::string& path) {
  toml::table file;
  try {
    file = toml::parse_file(path);
  } catch (const toml::parse_error& error) {
    const auto& at = error.source().begin;
    return Error{ErrorCode::kInvalidArgument,
                 path + ":" + std::to_string(at.line) + ": " + std::string(error.description())};
  }
  Config config = default_config();
  std::string problem;
  for (const auto& [key, node] : file) {
    const std::string name(key.str());
    if (name == "daemon" && node.is_table()) {
      read_daemon(*node.as_table(), config, problem);
    } else if (name == "callbacks" && node.is_table()) {
      read_callbacks(*node.as_table(), config, problem);
    } else if (name == "cache" && node.is_table()) {
      read_cache(*node.as_table(), config.cache, problem);
    } else if (name == "retention" && node.is_table()) {
      read_retention(*node.as_table(), config.retention, problem);
    } else if (name == "pools") {
      read_named(node, "pools", problem,
                 [&](const auto& table, const auto& pool) { read_pool(table, pool, config, problem); });
    } else if (name == "queues") {
      read_named(node, "queues", problem,
                 [&](const auto& table, const auto& queue) { read_queue(table, queue, config, problem); });
    } else if (problem.empty()) {
      problem = "\"" + name + "\" is not a section of futured's settings";
    }
  }
  if (!problem.empty()) return Error{ErrorCode::kInvalidArgument, path + ": " + problem};
  return config;
}

namespace {

Status check(const CallbackSection& callbacks) {
  const auto refuse = [](std::string why) { return Error{ErrorCode::kInvalidArgument, std::move(why)}; };
  if (callbacks.redirects_max < 0 || callbacks.redirects_max > limits::kRedirectsMax) {
    return refuse("[callbacks] redirects_max: must be 0 to " + std::to_string(limits::kRedirectsMax));
  }
  const auto is_readable = [&](const std::string& path, const std::string& key) -> Status {
    if (path.empty() || ::access(path.c_str(), R_OK) == 0) return {};
    return refuse(key + ": " + system_error(path).message);
  };
  if (const Status sound = is_readable(callbacks.ca, "[callbacks] ca"); !sound.ok()) return sound;
  for (const auto& [name, tls] : callbacks.tls) {
    const std::string section = "[callbacks.tls." + name + "] ";
    if (tls.certificate.empty() != tls.key.empty()) return refuse(section + "key: certificate and key go together");
    for (const auto& [path, key] : {std::pair(tls.ca, "ca"), {tls.certificate, "certificate"}, {tls.key, "key"}}) {
      if (const Status sound = is_readable(path, section + key); !sound.ok()) return sound;
    }
  }
  return {};
}

}  // namespace

Status check(const Config& config) {
  const auto refuse = [](std::string why) { return Error{ErrorCode::kInvalidArgument, std::move(why)}; };
  if (config.socket.empty()) return refuse("no socket: give --socket PATH, or socket in [daemon]");
  if (config.state.empty()) return refuse("no state directory: give --state DIR, or state in [daemon]");
  if (config.idle_exit_ms < 0) return refuse("[daemon] idle_exit_ms: must not be negative");
  if (config.compression_level < 0 || config.compression_level > limits::kStoredCompressionMax) {
    return refuse("[daemon] compression_level: must be 0 (never) to " + std::to_string(limits::kStoredCompressionMax));
  }
  static const std::set<std::string> levels{"trace", "debug", "info", "warn", "error", "off"};
  if (!levels.contains(config.log_level))
    return refuse("log level \"" + config.log_level + "\": one of trace, debug, info, warn, error, off");
  for (const PoolSection& pool : config.pools) {
    if (pool.name.empty() || pool.name.size() > limits::kNameBytesMax)
      return refuse("[pools." + pool.name + "]: name is empty or too long");
    if (pool.idle_ms < 1) return refuse("[pools." + pool.name + "] idle_ms: must be at least 1");
    if (const Status sound = check(pool.terms); !sound.ok()) return sound.error().in("[pools." + pool.name + "]");
    for (const std::string& plugin : pool.terms.plugins) {
      if (::access(plugin.c_str(), R_OK) != 0)
        return refuse("[pools." + pool.name + "] plugins: " + system_error(plugin).message);
    }
  }
  std::uint64_t slots = 0;
  for (const PoolSection& pool : config.pools)
    slots += std::uint64_t{workers_max(pool)} * pool.terms.slots_per_worker();
  if (slots > limits::kSlotsMax) {
    return refuse("[pools]: " + std::to_string(slots) + " jobs at once in all pools together: at most " +
                  std::to_string(limits::kSlotsMax));
  }
  for (const QueueSection& queue : config.queues) {
    if (queue.name.empty() || queue.name.size() > limits::kNameBytesMax)
      return refuse("[queues." + queue.name + "]: name is empty or too long");
  }
  return check(config.callbacks);
}

std::uint32_t workers_max(const PoolSection& pool) {
  if (pool.size != 0) return pool.size;
  std::uint64_t workers = std::max(1U, std::thread::hardware_concurrency());
  if (pool.terms.memory_bytes_max > 0) {
    const auto pages = static_cast<std::uint64_t>(std::max(sysconf(_SC_PHYS_PAGES), 1L));
    const std::uint64_t memory = pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
    workers = std::clamp<std::uint64_t>(memory / pool.terms.memory_bytes_max, 1, workers);
  }
  return static_cast<std::uint32_t>(workers);
}

}  // namespace futured::ops
