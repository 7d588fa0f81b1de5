#include "daemon/rpc/cache_key.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/limits.h"
#include "base/payload.h"
#include "base/wire.h"
#include "daemon/rpc/json_form.h"
#include "daemon/store/digest.h"

namespace futured::rpc {

namespace {

bool is_json_type(std::string_view type) {
  const std::string_view name = type.substr(0, type.find(';'));
  return name == "application/json" || name.ends_with("+json");
}

std::string item_part(std::size_t item, std::size_t part) {
  return "items[" + std::to_string(item) + "].parts[" + std::to_string(part) + "]";
}

// What of the first part counts. JSON that is not sound counts as the bytes that it is, unless fields of it are named.
Result<std::string> first_part(const Part& part, const CacheArguments& arguments, std::size_t item) {
  const bool names_fields = !arguments.ignored_fields.empty();
  if (!names_fields && !is_json_type(part.content_type)) return std::string(part.bytes);
  auto formed = json_form(part.bytes, arguments.ignored_fields);
  if (formed.ok()) return formed;
  if (!names_fields) return std::string(part.bytes);
  return invalid("spec.cache.ignored_fields", item_part(item, 0) + " is no JSON object: " + formed.error().message +
                                                  "; leave them out, or send one");
}

// What of what is ignored is not there, in words; empty: all of it is.
std::string ignores_nothing(const std::vector<Part>& parts, const CacheArguments& arguments) {
  std::string missing;
  if (!arguments.explain) return missing;  // nobody would be told
  const auto add = [&](const std::string& what) { missing += (missing.empty() ? "" : ", ") + what; };
  const auto is_in_first_part = [&](const std::string& field) {
    const auto with = json_form(parts.front().bytes, {});
    const auto without = json_form(parts.front().bytes, {field});
    return !with.ok() || !without.ok() || *with != *without;
  };
  for (const std::uint32_t part : arguments.ignored_parts) {
    if (part >= parts.size()) add("part " + std::to_string(part));
  }
  for (const std::string& field : arguments.ignored_fields) {
    if (!is_in_first_part(field)) add("field \"" + field + "\"");
  }
  return missing.empty() ? missing : missing + " is not among the arguments: there was nothing to ignore";
}

struct Counted {
  std::string digest;
  std::string remark;
};

Result<Counted> digest_of(std::string_view payload, const CacheArguments& arguments, std::size_t item) {
  auto parts = decode_parts(payload);
  if (!parts.ok()) return parts.error();
  // The first one may only say that results follow.
  const auto is_nothing = [](const Part& part) {
    return part.kind == PartKind::kResult && !part.result_of.is_set() && part.item == 0;
  };
  std::erase_if(*parts, is_nothing);
  if (parts->empty() && !arguments.ignored_fields.empty()) {
    return invalid("spec.cache.ignored_fields", "items[" + std::to_string(item) + "] has no part; leave them out");
  }
  std::string counted = "arguments\n";
  // Who ignores something else asks something else.
  for (const std::uint32_t part : arguments.ignored_parts) counted += "without part " + std::to_string(part) + "\n";
  for (const std::string& field : arguments.ignored_fields) append_bytes(counted += "without ", field);
  for (std::size_t i = 0; i < parts->size(); ++i) {
    if (arguments.ignored_parts.contains(static_cast<std::uint32_t>(i))) continue;
    const Part& part = (*parts)[i];
    if (part.kind == PartKind::kResult) {
      return invalid("spec.cache", item_part(item, i) +
                                       " is another job's result, which is not known yet; name it in ignored_parts, "
                                       "or give a key");
    }
    if (part.kind != PartKind::kInline) {
      return invalid("spec.cache", item_part(item, i) +
                                       " is a segment, which has no content that could be compared; send its bytes, "
                                       "name it in ignored_parts, or give a key");
    }
    auto bytes = i == 0 ? first_part(part, arguments, item) : Result<std::string>(std::string(part.bytes));
    if (!bytes.ok()) return bytes.error();
    append_varint(counted, i);
    append_bytes(counted, part.content_type);
    append_bytes(counted, *bytes);
  }
  return Counted{std::string(Digest::of(counted).raw()), ignores_nothing(*parts, arguments)};
}

}  // namespace

Result<CacheTerms> to_cache_terms(const api::JobSpec& spec) {
  const api::CachePolicy& policy = spec.cache();
  if (policy.ttl_ms() < 0) {
    return invalid("spec.cache.ttl_ms", std::to_string(policy.ttl_ms()) + " is negative");
  }
  if (policy.ttl_ms() > limits::kCacheTtlMsMax) {
    return too_much("spec.cache.ttl_ms",
                    std::to_string(policy.ttl_ms()) + " ms are over " + std::to_string(limits::kCacheTtlMsMax));
  }
  const bool says_more = policy.ignored_parts_size() != 0 || policy.ignored_fields_size() != 0 ||
                         policy.ttl_ms() != 0 || policy.cache_failures() || !policy.key().empty() || policy.explain();
  if (!policy.enabled() && says_more) {
    return invalid("spec.cache.enabled", "it is not set, so the rest of the policy would do nothing; set it");
  }
  CacheTerms terms{policy.enabled(), policy.cache_failures(), policy.explain(),
                   std::chrono::milliseconds(policy.ttl_ms())};
  const auto arguments = to_cache_arguments(spec);
  if (!arguments.ok()) return arguments.error();
  terms.key = arguments->key;
  terms.ignored_parts.assign(arguments->ignored_parts.begin(), arguments->ignored_parts.end());
  terms.ignored_fields.assign(arguments->ignored_fields.begin(), arguments->ignored_fields.end());
  return terms;
}

Result<CacheArguments> to_cache_arguments(const api::JobSpec& spec) {
  const api::CachePolicy& policy = spec.cache();
  const auto check_count = [](int count, const char* field) -> Status {
    if (count <= limits::kCacheIgnoredMax) return {};
    return too_much(field, std::to_string(count) + " are over " + std::to_string(limits::kCacheIgnoredMax));
  };
  if (const Status few = check_count(policy.ignored_parts_size(), "spec.cache.ignored_parts"); !few.ok()) {
    return few.error();
  }
  if (const Status few = check_count(policy.ignored_fields_size(), "spec.cache.ignored_fields"); !few.ok()) {
    return few.error();
  }
  CacheArguments arguments{policy.enabled(), {}, {}, policy.key(), policy.explain()};
  arguments.ignored_parts.insert(policy.ignored_parts().begin(), policy.ignored_parts().end());
  arguments.ignored_fields.insert(policy.ignored_fields().begin(), policy.ignored_fields().end());
  if (policy.key().size() > limits::kCacheKeyBytesMax) {
    return too_much("spec.cache.key", std::to_string(policy.key().size()) + " bytes are over " +
                                          std::to_string(limits::kCacheKeyBytesMax));
  }
  const bool ignores = !arguments.ignored_parts.empty() || !arguments.ignored_fields.empty();
  if (!policy.key().empty() && ignores) {
    return invalid("spec.cache.key", "it stands for the arguments, so nothing of them can be ignored; leave one out");
  }
  if (spec.task().empty() && arguments.ignored_parts.contains(0)) {
    return invalid("spec.cache.ignored_parts", "a command's first part is its command line; give a key instead");
  }
  if (spec.task().empty() && !arguments.ignored_fields.empty()) {
    return invalid("spec.cache.ignored_fields", "a command's first part is its command line; give a key instead");
  }
  if (arguments.ignored_parts.contains(0) && !arguments.ignored_fields.empty()) {
    return invalid("spec.cache.ignored_fields", "part 0, whose members they are, is ignored as a whole");
  }
  return arguments;
}

Status refuse_cache(const api::JobSpec& spec, const std::string& field) {
  if (!spec.has_cache()) return {};
  return invalid(field + ".cache", "only what a client submits is looked up in the cache; leave it out");
}

std::string cache_digest_of_key(const std::string& key) { return std::string(Digest::of("key\n" + key).raw()); }

Result<CacheDigests> to_cache_digests(const CacheArguments& arguments, const Payloads& payloads) {
  CacheDigests all;
  if (!arguments.enabled) return all;
  if (!arguments.key.empty()) {
    all.digests.assign(payloads.ends.size(), cache_digest_of_key(arguments.key));
    return all;
  }
  all.digests.reserve(payloads.ends.size());
  std::uint32_t begin = 0;
  for (std::size_t i = 0; i < payloads.ends.size(); ++i) {
    const std::uint32_t end = payloads.ends[i];
    auto counted = digest_of(std::string_view(*payloads.bytes).substr(begin, end - begin), arguments, i);
    if (!counted.ok()) return counted.error();
    all.digests.push_back(std::move(counted->digest));
    if (!counted->remark.empty()) {
      all.remarks.resize(payloads.ends.size());
      all.remarks[i] = std::move(counted->remark);
    }
    begin = end;
  }
  return all;
}

}  // namespace futured::rpc
