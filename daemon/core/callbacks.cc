#include "daemon/core/callbacks.h"

#include <bit>

#include "base/limits.h"
#include "base/wire.h"

namespace futured {

namespace {

constexpr std::uint64_t kVersion = 2;  // 1: without priority, and a timeout meant nothing to a job

void append_duration(std::string& out, Duration duration) {
  append_varint(out, static_cast<std::uint64_t>(duration.count()));
}
void append_real(std::string& out, double value) { append_varint(out, std::bit_cast<std::uint64_t>(value)); }

Duration read_duration(WireReader& reader) { return Duration(static_cast<std::int64_t>(reader.varint())); }
double read_real(WireReader& reader) { return std::bit_cast<double>(reader.varint()); }

std::string encode(const CallbackSpec& spec) {
  std::string out;
  append_varint(out, static_cast<std::uint64_t>(spec.condition));
  append_varint(out, static_cast<std::uint64_t>(spec.target));
  append_varint(out, spec.whole_batch ? 1 : 0);
  append_varint(out, spec.lane);
  append_varint(out, spec.retries.max_attempts);
  append_duration(out, spec.retries.backoff);
  append_real(out, spec.retries.factor);
  append_duration(out, spec.retries.backoff_max);
  append_real(out, spec.retries.jitter);
  append_duration(out, spec.timeout);
  append_bytes(out, spec.address);
  append_bytes(out, spec.credential);
  append_varint(out, spec.headers.size());
  for (const auto& [name, value] : spec.headers) {
    append_bytes(out, name);
    append_bytes(out, value);
  }
  append_bytes(out, spec.body);
  append_bytes(out, spec.queue);
  append_bytes(out, spec.pool);
  append_bytes(out, spec.task);
  append_varint(out, std::bit_cast<std::uint32_t>(spec.priority));
  return out;
}

// False: damaged.
bool decode(std::string_view encoded, std::uint64_t version, CallbackSpec& spec) {
  WireReader reader(encoded);
  const std::uint64_t condition = reader.varint();
  const std::uint64_t target = reader.varint();
  spec.condition = static_cast<CompletionCondition>(condition);
  spec.target = static_cast<CallbackTarget>(target);
  spec.whole_batch = reader.varint() != 0;
  spec.lane = static_cast<std::uint32_t>(reader.varint() % limits::kCallbackLanes);
  spec.retries.max_attempts = static_cast<std::uint32_t>(reader.varint());
  spec.retries.backoff = read_duration(reader);
  spec.retries.factor = read_real(reader);
  spec.retries.backoff_max = read_duration(reader);
  spec.retries.jitter = read_real(reader);
  spec.timeout = read_duration(reader);
  spec.address = reader.bytes();
  spec.credential = reader.bytes();
  const std::uint64_t headers = reader.varint();
  if (headers > limits::kCallbackHeadersMax) return false;
  for (std::uint64_t i = 0; i < headers; ++i) {
    std::string name(reader.bytes());
    spec.headers.emplace_back(std::move(name), reader.bytes());
  }
  spec.body = reader.bytes();
  spec.queue = reader.bytes();
  spec.pool = reader.bytes();
  spec.task = reader.bytes();
  if (version >= 2) spec.priority = std::bit_cast<std::int32_t>(static_cast<std::uint32_t>(reader.varint()));
  if (version < 2 && is_job(spec.target)) spec.timeout = Duration(0);
  return !reader.failed() && condition <= 2 && target >= 1 && target <= 4;
}

}  // namespace

std::string encode_callbacks(const std::vector<CallbackSpec>& callbacks) {
  std::string out;
  if (callbacks.empty()) return out;
  append_varint(out, kVersion);
  for (const CallbackSpec& callback : callbacks) append_bytes(out, encode(callback));
  return out;
}

Result<std::vector<CallbackSpec>> decode_callbacks(std::string_view encoded) {
  std::vector<CallbackSpec> callbacks;
  if (encoded.empty()) return callbacks;
  WireReader reader(encoded);
  const std::uint64_t version = reader.varint();
  bool sound = version >= 1 && version <= kVersion;
  while (sound && !reader.at_end()) {
    const std::string_view one = reader.bytes();
    sound = !reader.failed() && callbacks.size() < limits::kCallbacksPerSpecMax &&
            decode(one, version, callbacks.emplace_back());
  }
  if (!sound) return Error{ErrorCode::kDataLoss, "the stored callbacks are damaged"};
  return callbacks;
}

bool is_met(CompletionCondition condition, bool succeeded) {
  switch (condition) {
    case CompletionCondition::kEnded:
      return true;
    case CompletionCondition::kSucceeded:
      return succeeded;
    case CompletionCondition::kNotSucceeded:
      return !succeeded;
  }
  return true;
}

}  // namespace futured
