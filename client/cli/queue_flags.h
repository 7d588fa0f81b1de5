// The flags of `fut queue create` and `fut queue set`: a queue's options.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "client/cli/cli.h"

namespace futured::cli {

class QueueFlags {
 public:
  void add_to(CLI::App& verb);

  // What was given, on top of `options`. Throws UsageError.
  void apply(client::QueueOptions& options) const;
  // The options that something was given of, as futured.v1.QueueOptions names them.
  [[nodiscard]] std::vector<std::string> fields() const;

 private:
  struct Words {  // how a flag is told
    const char* field;
    const char* group;
    const char* option;
    const char* what;
  };
  struct Flag {
    const CLI::Option* option = nullptr;
    const char* field = nullptr;
    std::function<void(client::QueueOptions&)> apply;  // its value
  };

  template <typename Value, typename Set>
  CLI::Option& add(CLI::App& verb, const Words& words, Set set);
  template <typename Of>
  void add_number(CLI::App& verb, const Words& words, Of of);
  template <typename Of>
  void add_duration(CLI::App& verb, const Words& words, Of of);
  template <typename Of>
  void add_list(CLI::App& verb, const Words& words, Of of);
  template <typename Of>
  void add_rate(CLI::App& verb, const Words& rate, const Words& burst, Of of);
  void add_limits(CLI::App& verb);
  void add_retries(CLI::App& verb);
  void add_timeouts(CLI::App& verb);

  std::vector<Flag> flags_;
};

// Of `options`, those that `fields` names: a change says nothing of the others.
[[nodiscard]] client::QueueOptions only(const client::QueueOptions& options, const std::vector<std::string>& fields);

// "10/s", "100/m", "5/10s"; a bare number is by the second; "none" is no limit. Throws UsageError naming `option`.
[[nodiscard]] client::RateLimit parse_rate(const std::string& word, const std::string& option);
[[nodiscard]] std::string rate_text(const client::RateLimit& rate);  // "10/s"; "" = none

}  // namespace futured::cli
