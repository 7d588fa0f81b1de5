#include "daemon/store/cause_code.h"

#include "base/wire.h"

namespace futured {
namespace {

// Small numbers of either sign in few bytes: 0, -1, 1, -2, … become 0, 1, 2, 3, …
std::uint64_t zigzag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
std::int64_t unzigzag(std::uint64_t value) {
  return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
}

}  // namespace

std::string encode_cause(const Cause& cause) {
  std::string out;
  out.reserve(24 + cause.error_class.size() + cause.message.size() + cause.stdout_tail.size() +
              cause.stderr_tail.size() + cause.stacks.size());
  append_varint(out, static_cast<std::uint64_t>(cause.kind));
  append_varint(out, zigzag(cause.exit_code));
  append_varint(out, zigzag(cause.signal));
  append_varint(out, cause.peak_memory_bytes);
  append_varint(out, zigzag(cause.cpu_us));
  append_bytes(out, cause.error_class);
  append_bytes(out, cause.message);
  append_bytes(out, cause.stderr_tail);
  const bool is_cached = cause.cached_from.is_set() || !cause.cache_note.empty();
  if (cause.stdout_tail.empty() && !cause.retry_refused && cause.stacks.empty() && !is_cached) return out;
  append_bytes(out, cause.stdout_tail);
  append_varint(out, cause.retry_refused ? 1 : 0);
  append_bytes(out, cause.stacks);
  if (!is_cached) return out;
  append_varint(out, cause.cached_from.value);
  append_bytes(out, cause.cache_note);
  return out;
}

std::optional<Cause> decode_cause(std::string_view encoded) {
  WireReader reader(encoded);
  Cause cause;
  cause.kind = static_cast<CauseKind>(reader.varint());
  cause.exit_code = static_cast<std::int32_t>(unzigzag(reader.varint()));
  cause.signal = static_cast<std::int32_t>(unzigzag(reader.varint()));
  cause.peak_memory_bytes = reader.varint();
  cause.cpu_us = unzigzag(reader.varint());
  cause.error_class = reader.bytes();
  cause.message = reader.bytes();
  cause.stderr_tail = reader.bytes();
  if (!reader.at_end()) {
    cause.stdout_tail = reader.bytes();
    cause.retry_refused = reader.varint() != 0;
    cause.stacks = reader.bytes();
  }
  if (!reader.at_end()) {
    cause.cached_from = JobId{reader.varint()};
    cause.cache_note = reader.bytes();
  }
  // Bytes after the last field belong to a later version of futured and are passed over.
  if (reader.failed()) return std::nullopt;
  return cause;
}

}  // namespace futured
