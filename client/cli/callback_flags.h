// The flags that say whom the daemon tells when a job has ended.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "futured/client.h"

namespace futured::cli {

// https://…, http://…, grpc:ADDRESS, task:NAME or sh:COMMAND. Throws UsageError naming `option`.
[[nodiscard]] client::CompletionCallback parse_callback(const std::string& word, const std::string& option);
// The same, the other way round. The words of a command that no shell reads stand behind sh: as one would type them.
[[nodiscard]] std::string target_text(const client::CompletionCallback& callback);
[[nodiscard]] std::string condition_text(client::CompletionCallback::On on);  // "end", "success", "failure"
inline constexpr const char* kCallbackForms = "https://…, http://…, grpc:ADDRESS, task:NAME or sh:COMMAND";

struct CallbackFlags {
  std::vector<std::string> on_end;
  std::vector<std::string> on_success;
  std::vector<std::string> on_failure;
  std::string secret;

  void add_to(CLI::App& verb);
  [[nodiscard]] std::vector<client::CompletionCallback> callbacks() const;  // throws UsageError
};

}  // namespace futured::cli
