#include "daemon/rpc/submit_keys.h"

#include <algorithm>

#include "base/check.h"
#include "base/hash.h"
#include "base/stored_segment.h"

namespace futured::rpc {

namespace {

std::uint64_t hash_of_payload(std::string_view payload, std::uint64_t before) {
  if (!names_segment(payload)) return stable_hash(payload, before);
  const auto parts = decode_parts(payload);
  FUTURED_CHECK(parts.ok(), "what was just encoded can be decoded");
  std::uint64_t hash = before;
  for (const Part& part : *parts) {
    hash = stable_hash(part.content_type, hash);
    // A segment in memory counts by its size, one in a file by what it holds.
    if (is_stored(part.segment)) hash = mix_bits(hash + part.segment.value) + part.begin;
    if (part.kind == PartKind::kResult) hash = mix_bits(hash + 2 * part.result_of.value + (part.item << 1 | 1));
    hash = part.kind == PartKind::kSegment ? mix_bits(hash + part.end - part.begin) : stable_hash(part.bytes, hash);
  }
  return hash;
}

}  // namespace

Result<std::vector<event::SubmitKey>> to_keys(const JobSpec& spec, const Payloads& payloads,
                                              const google::protobuf::RepeatedPtrField<api::Item>& items,
                                              const std::string& batch_key) {
  const auto has_key = [](const api::Item& item) { return !item.idempotency_key().empty(); };
  const bool items_have = std::ranges::any_of(items, has_key);
  std::vector<event::SubmitKey> keys;
  if (batch_key.empty() && !items_have) return keys;
  if (!batch_key.empty() && items_have) {
    return invalid("idempotency_key", "refused beside keys of items: one or the other says what is submitted once");
  }
  const auto payload = [&](std::size_t i) {
    const std::uint32_t begin = i == 0 ? 0 : payloads.ends[i - 1];
    return std::string_view(*payloads.bytes).substr(begin, payloads.ends[i] - begin);
  };
  const std::uint64_t work = stable_hash(spec.queue, stable_hash(spec.task));
  if (!items_have) {
    if (const Status sound = check_name(batch_key, "idempotency_key"); !sound.ok()) return sound.error();
    std::uint64_t hash = work;
    for (std::size_t i = 0; i < payloads.ends.size(); ++i) hash = hash_of_payload(payload(i), hash);
    keys.push_back({batch_key, hash});
    return keys;
  }
  keys.reserve(payloads.ends.size());
  for (int i = 0; i < items.size(); ++i) {
    const std::string& key = items[i].idempotency_key();
    if (key.empty()) {
      keys.emplace_back();
      continue;
    }
    const Status sound = check_name(key, "items[" + std::to_string(i) + "].idempotency_key");
    if (!sound.ok()) return sound.error();
    keys.push_back({key, hash_of_payload(payload(static_cast<std::size_t>(i)), work)});
  }
  return keys;
}

}  // namespace futured::rpc
