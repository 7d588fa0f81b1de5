// Config: what futured.toml and the command line say, checked.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/limits.h"
#include "base/pool_terms.h"
#include "base/result.h"

namespace futured::ops {

struct PoolSection {
  std::string name;
  std::uint32_t size = 0;               // workers, at most; 0: for this machine, see workers_max()
  std::uint32_t size_min = UINT32_MAX;  // kept when idle; or all
  std::int64_t waiting_max = -1;        // of its workers, whose jobs wait for others, that have a stand-in; -1: default
  std::int64_t idle_ms = 60'000;        // what a worker beyond those is idle before it goes
  PoolTerms terms;
  std::vector<std::pair<std::string, std::string>> env;
};

struct QueueSection {
  std::string name;
  std::string discipline = "fifo";
};

// The workers that a pool may have at once. Where its size is left to the machine: one per core, but no more than its
// memory can hold when each takes what memory_max allows.
[[nodiscard]] std::uint32_t workers_max(const PoolSection& pool);

// A target of gRPC callbacks over TLS: PEM files. Without ca: what the system trusts.
struct TlsSection {
  std::string ca;
  std::string certificate;
  std::string key;
};

struct CallbackSection {
  bool allow_private = false;
  std::int64_t redirects_max = 0;
  std::string ca;  // PEM file, for webhooks; empty: what the system trusts
  std::map<std::string, std::string> secrets;
  std::map<std::string, TlsSection> tls;
};

// docs/retention.md. What is 0 is without that limit.
struct RetentionSection {
  std::int64_t age_ms = std::int64_t{limits::kRetentionHoursDefault} * 3'600'000;
  std::int64_t failed_age_ms = std::int64_t{limits::kRetentionFailedHoursDefault} * 3'600'000;
  std::uint64_t jobs_max = limits::kRetentionJobsDefault;
  std::uint64_t bytes_max = limits::kRetentionBytesDefault;
};

// docs/cache.md. 0: nothing is kept.
struct CacheSection {
  std::uint64_t bytes_max = limits::kCacheBytesDefault;
  std::uint64_t entries_max = limits::kCacheEntriesDefault;
};

struct Config {
  std::string socket;
  std::string state;
  std::string listen;             // "127.0.0.1:7711"; empty: no TCP
  std::int64_t idle_exit_ms = 0;  // 0: never
  std::string log_level = "info";
  std::int64_t compression_level = 3;  // zstd, of large payloads and results on disk; 0: never
  std::vector<PoolSection> pools;      // `default` and `command` always among them
  std::vector<QueueSection> queues;
  CallbackSection callbacks;
  RetentionSection retention;
  CacheSection cache;
};

// Reads a file such as deploy/futured.toml. An unknown key, a wrong type and a value out of bounds are refused by name.
[[nodiscard]] Result<Config> read_config(const std::string& path);

// The configuration of a daemon without a file.
[[nodiscard]] Config default_config();

// Checks what a file and the command line together amount to.
[[nodiscard]] Status check(const Config& config);

}  // namespace futured::ops
