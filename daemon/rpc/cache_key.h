// What of a job's arguments counts for the result cache, as a digest: jobs with the same one have the same outcome.
// docs/cache.md.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "daemon/rpc/convert.h"

namespace futured::rpc {

// CachePolicy, but for what the core knows as CacheTerms.
struct CacheArguments {
  bool enabled = false;
  std::set<std::uint32_t> ignored_parts;
  std::set<std::string> ignored_fields;
  std::string key;       // instead of the arguments; empty: none
  bool explain = false;  // what is ignored and not there is to be told
};

[[nodiscard]] Result<CacheArguments> to_cache_arguments(const api::JobSpec& spec);
[[nodiscard]] Result<CacheTerms> to_cache_terms(const api::JobSpec& spec);

// For work that is no submit of a client: it cannot be looked up. An error says so.
[[nodiscard]] Status refuse_cache(const api::JobSpec& spec, const std::string& field);

struct CacheDigests {
  std::vector<std::string> digests;  // of each payload: 32 bytes. None when nothing is cached
  std::vector<std::string> remarks;  // on each, for its note: what was to be ignored and is not there. Empty: none
};

[[nodiscard]] Result<CacheDigests> to_cache_digests(const CacheArguments& arguments, const Payloads& payloads);

// Of all jobs that are given this key.
[[nodiscard]] std::string cache_digest_of_key(const std::string& key);

}  // namespace futured::rpc
