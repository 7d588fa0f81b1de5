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
  std::string key;  // instead of the arguments; empty: none
};

[[nodiscard]] Result<CacheArguments> to_cache_arguments(const api::JobSpec& spec);
[[nodiscard]] Result<CacheTerms> to_cache_terms(const api::JobSpec& spec);

// For work that is no submit of a client: it cannot be looked up. An error says so.
[[nodiscard]] Status refuse_cache(const api::JobSpec& spec, const std::string& field);

// Of each payload: 32 bytes. None when nothing is cached.
[[nodiscard]] Result<std::vector<std::string>> to_cache_digests(const CacheArguments& arguments,
                                                                const Payloads& payloads);

}  // namespace futured::rpc
