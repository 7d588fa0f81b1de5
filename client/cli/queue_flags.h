// The flags of `fut queue create` and `fut queue set`: a queue's options.
#pragma once

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
  std::uint32_t concurrency_ = 0;
  std::uint32_t concurrency_per_key_ = 0;
  std::string rate_;
  std::uint32_t burst_ = 0;
  std::string rate_per_key_;
  std::uint32_t burst_per_key_ = 0;
  std::uint64_t max_jobs_ = 0;
  std::string max_bytes_;
  std::vector<std::string> pools_;
  std::uint32_t weight_ = 0;
  bool fair_ = false;
  std::string ageing_;
  std::uint32_t attempts_ = 0;
  std::string backoff_;
  double backoff_factor_ = 0;
  std::string backoff_max_;
  double jitter_ = 0;
  std::string queue_timeout_;
  std::string soft_timeout_;
  std::string run_timeout_;
  std::string heartbeat_timeout_;
  std::string total_timeout_;
  std::string grace_;
  std::string retention_;

  struct Given {
    const CLI::Option* option = nullptr;
    const char* field = nullptr;
  };
  [[nodiscard]] bool is_given(const char* option) const;
  void apply_limits(client::QueueOptions& options) const;
  void apply_retries(client::Retries& retries) const;
  void apply_timeouts(client::Timeouts& timeouts) const;

  std::vector<Given> all_;
};

// Of `options`, those that `fields` names: a change says nothing of the others.
[[nodiscard]] client::QueueOptions only(const client::QueueOptions& options, const std::vector<std::string>& fields);

// "10/s", "100/m", "5/10s"; a bare number is by the second; "none" is no limit. Throws UsageError naming `option`.
[[nodiscard]] client::RateLimit parse_rate(const std::string& word, const std::string& option);
[[nodiscard]] std::string rate_text(const client::RateLimit& rate);  // "10/s"; "" = none

}  // namespace futured::cli
