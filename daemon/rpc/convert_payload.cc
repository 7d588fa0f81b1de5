// Payloads as clients send them, into the encoding that travels through the host.
#include <algorithm>
#include <cstring>
#include <string_view>
#include <unordered_map>

#include "base/command.h"
#include "base/limits.h"
#include "base/stored_segment.h"
#include "base/wire.h"
#include "daemon/rpc/convert.h"
#include "segment/array_type.h"

namespace futured::rpc {

namespace {

std::string indexed(const char* name, int index) { return std::string(name) + "[" + std::to_string(index) + "]"; }

Status check_content_type(std::string_view type, std::string_view field) {
  if (type.size() > limits::kContentTypeBytesMax) {
    return too_much(field,
                    std::to_string(type.size()) + " bytes are over " + std::to_string(limits::kContentTypeBytesMax));
  }
  for (const char c : type) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return invalid(field, "a content type has no control bytes");
  }
  if (!is_array_type(type)) return {};
  const auto array = parse_array_type(type);
  return array.ok() ? Status() : Status(invalid(field, array.error().message));
}

Status check_count(std::size_t count, std::string_view field) {
  if (count == 0) return invalid(field, "a batch has at least one job");
  if (count > limits::kBatchItemsMax) {
    return too_much(field, std::to_string(count) + " jobs are over " + std::to_string(limits::kBatchItemsMax));
  }
  return {};
}

// What the content type and the shape beside it amount to.
Result<std::string> content_type_of(const api::Part& part, std::uint64_t bytes, const std::string& field) {
  if (const Status sound = check_content_type(part.content_type(), field + ".content_type"); !sound.ok()) {
    return sound.error();
  }
  if (!part.has_array()) return part.content_type();
  if (!part.content_type().empty() && !is_array_type(part.content_type())) {
    return invalid(field + ".array", "content type " + part.content_type() + " is not that of an array");
  }
  ArrayType type{part.array().dtype(), {}};
  for (const std::int64_t along : part.array().shape()) {
    if (along < 0) return invalid(field + ".array.shape", std::to_string(along) + " is negative");
    type.shape.push_back(static_cast<std::uint64_t>(along));
  }
  const auto wanted = array_bytes(type);
  if (!wanted.ok()) return invalid(field + ".array", wanted.error().message);
  if (*wanted != bytes) {
    return invalid(field + ".array",
                   "its shape takes " + std::to_string(*wanted) + " bytes, and the part has " + std::to_string(bytes));
  }
  return format_array_type(type);
}

class PayloadBuilder {
 public:
  using Items = google::protobuf::RepeatedPtrField<api::Item>;

  PayloadBuilder(const Items& items, bool commands, const SegmentSize& segment_size, const FindContent& find_content)
      : items_(items), commands_(commands), segment_size_(segment_size), find_content_(find_content) {}

  Status add(const api::Item& item, int index) {
    const std::string field = indexed("items", index);
    if (!item.name().empty()) return unbuilt(field + ".name");
    inline_bytes_ = 0;
    if (commands_) {
      if (!item.has_command()) return invalid(field + ".command", "required, for the spec names no task");
      if (item.parts_size() != 0) return invalid(field + ".parts", "refused beside a command");
      if (const Status added = add_command(item.command(), field + ".command"); !added.ok()) return added;
    } else {
      if (item.has_command()) return invalid(field + ".command", "refused, for the spec names a task");
      if (static_cast<std::size_t>(item.parts_size()) > limits::kPayloadPartsMax) {
        return too_much(field + ".parts",
                        std::to_string(item.parts_size()) + " are over " + std::to_string(limits::kPayloadPartsMax));
      }
      if (std::ranges::any_of(item.parts(), is_result) && !is_result(item.parts(0))) {
        append_part(encoded_, {.kind = PartKind::kResult});
      }
      for (int i = 0; i < item.parts_size(); ++i) {
        const Status added = add_part(item.parts(i), field + "." + indexed("parts", i));
        if (!added.ok()) return added;
      }
    }
    if (inline_bytes_ > limits::kPayloadBytesMax) {
      return too_much(field, std::to_string(inline_bytes_) + " bytes inline are over " +
                                 std::to_string(limits::kPayloadBytesMax) + "; hand them over as a segment");
    }
    if (encoded_.size() > UINT32_MAX) return too_much(field, "the batch is over 4 GiB");
    ends_.push_back(static_cast<std::uint32_t>(encoded_.size()));
    return {};
  }

  [[nodiscard]] Payloads take() {
    return {std::make_shared<const std::string>(std::move(encoded_)), std::move(ends_), has_segments_, names_results_};
  }
  void reserve(int count) { ends_.reserve(static_cast<std::size_t>(count)); }

 private:
  static bool is_result(const api::Part& part) {
    return part.source_case() == api::Part::kResultOf || part.source_case() == api::Part::kResultOfItem;
  }

  Status add_result(const api::Part& part, const std::string& field) {
    names_results_ = true;
    if (!part.content_type().empty()) {
      return invalid(field + ".content_type", "refused beside a result, whose parts have types of their own");
    }
    if (part.has_array()) return invalid(field + ".array", "refused beside a result, whose parts say what they are");
    if (part.source_case() == api::Part::kResultOf) {
      if (part.result_of() == 0) return invalid(field + ".result_of", "0 is no job");
      append_part(encoded_, {.kind = PartKind::kResult, .result_of = JobId{part.result_of()}});
      return {};
    }
    if (!has_aliases_) {
      for (int i = 0; i < items_.size(); ++i) {
        if (!items_[i].alias().empty()) aliases_.emplace(items_[i].alias(), static_cast<std::uint32_t>(i));
      }
      has_aliases_ = true;
    }
    const auto item = aliases_.find(part.result_of_item());
    if (item == aliases_.end()) {
      return invalid(field + ".result_of_item", "no item of this request has the alias \"" + part.result_of_item() +
                                                    "\"; name a job of an earlier one by result_of");
    }
    append_part(encoded_, {.kind = PartKind::kResult, .item = item->second + 1});
    return {};
  }

  Status add_part(const api::Part& part, const std::string& field) {
    if (part.volatile_bytes()) return invalid(field + ".volatile_bytes", "said by the server, not by a client");
    switch (part.source_case()) {
      case api::Part::kResultOf:
      case api::Part::kResultOfItem:
        return add_result(part, field);
      case api::Part::kDigest:
        return add_digest(part, field);
      case api::Part::kSegment:
        return add_segment(part, field);
      case api::Part::kData:
      case api::Part::SOURCE_NOT_SET:  // no bytes
        break;
    }
    const auto type = content_type_of(part, part.data().size(), field);
    if (!type.ok()) return type.error();
    inline_bytes_ += part.data().size();
    append_part(encoded_, {.content_type = *type, .bytes = part.data()});
    return {};
  }

  Status add_segment(const api::Part& part, const std::string& field) {
    const api::SegmentSlice& slice = part.segment();
    const SegmentId id{slice.id()};
    const auto size = segment_size_(id);
    if (!size.ok()) return size.error().in(field + ".segment");
    const std::uint64_t end = slice.end() != 0 ? slice.end() : *size;
    if (slice.begin() > end || end > *size) {
      return invalid(field + ".segment", "bytes " + std::to_string(slice.begin()) + " to " + std::to_string(end) +
                                             " do not lie within its " + std::to_string(*size));
    }
    const auto type = content_type_of(part, end - slice.begin(), field);
    if (!type.ok()) return type.error();
    has_segments_ = has_segments_ || !is_stored(id);
    append_part(encoded_,
                {.kind = PartKind::kSegment, .content_type = *type, .segment = id, .begin = slice.begin(), .end = end});
    return {};
  }

  // The whole of it; stretches are those of the segment that it is.
  Status add_digest(const api::Part& part, const std::string& field) {
    if (!find_content_) return unbuilt(field + ".digest");
    const auto content = find_content_(part.digest());
    if (!content.ok()) return content.error().in(field + ".digest");
    const bool says_type = part.has_array() || !part.content_type().empty();
    const auto type = says_type ? content_type_of(part, content->bytes, field) : content->content_type;
    if (!type.ok()) return type.error();
    append_part(
        encoded_,
        {.kind = PartKind::kSegment, .content_type = *type, .segment = content->id, .begin = 0, .end = content->bytes});
    return {};
  }

  Status add_command(const api::Command& asked, const std::string& field) {
    Command command{
        {asked.argv().begin(), asked.argv().end()}, {asked.env().begin(), asked.env().end()}, asked.cwd(), {}};
    if (asked.has_umask()) command.umask = asked.umask();
    if (const Status sound = check(command, field); !sound.ok()) return sound;
    if (asked.stdin_result_of() != 0) {
      if (!asked.stdin_bytes().empty()) return invalid(field + ".stdin_result_of", "refused beside stdin_bytes");
      append_part(encoded_, {.kind = PartKind::kResult});
    }
    append_part(encoded_, {.content_type = kCommandType, .bytes = encode_command(command)});
    if (asked.stdin_result_of() != 0) {
      names_results_ = true;
      append_part(encoded_,
                  {.kind = PartKind::kResult, .result_of = JobId{asked.stdin_result_of()}, .only_first = true});
    }
    inline_bytes_ += asked.stdin_bytes().size();
    if (!asked.stdin_bytes().empty()) append_part(encoded_, {.bytes = asked.stdin_bytes()});
    return {};
  }

  // What check_command asks, with the name of the field.
  Status check(const Command& command, const std::string& field) {
    const auto has_nul = [](const std::string& text) { return text.find('\0') != std::string::npos; };
    if (command.argv.empty() || command.argv[0].empty()) return invalid(field + ".argv", "names no program");
    std::size_t bytes = command.cwd.size();
    for (const std::string& word : command.argv) {
      if (has_nul(word)) return invalid(field + ".argv", "a word holds a NUL byte");
      bytes += word.size() + 1;
    }
    for (const std::string& variable : command.env) {
      if (has_nul(variable)) return invalid(field + ".env", "an entry holds a NUL byte");
      const std::size_t equals = variable.find('=');
      if (equals == 0 || equals == std::string::npos) return invalid(field + ".env", "an entry is not NAME=value");
      bytes += variable.size() + 1;
    }
    if (command.umask && *command.umask > 0777) return invalid(field + ".umask", "has bits beyond 0777");
    if (has_nul(command.cwd)) return invalid(field + ".cwd", "holds a NUL byte");
    if (!command.cwd.empty() && command.cwd[0] != '/') return invalid(field + ".cwd", "is not absolute");
    if (command.argv.size() > limits::kArgvCountMax) {
      return too_much(field + ".argv", "more than " + std::to_string(limits::kArgvCountMax) + " words");
    }
    if (command.env.size() > limits::kArgvCountMax) {
      return too_much(field + ".env", "more than " + std::to_string(limits::kArgvCountMax) + " entries");
    }
    if (bytes > limits::kArgvBytesMax) {
      return too_much(field + ".argv", std::to_string(bytes) + " bytes with env and cwd are over " +
                                           std::to_string(limits::kArgvBytesMax));
    }
    const Status sound = check_command(command);
    return sound.ok() ? sound : Status(invalid(field, sound.error().message));
  }

  const Items& items_;
  std::unordered_map<std::string_view, std::uint32_t> aliases_;
  bool has_aliases_ = false;
  const bool commands_;
  const SegmentSize& segment_size_;
  const FindContent& find_content_;
  std::string encoded_;
  std::vector<std::uint32_t> ends_;
  bool has_segments_ = false;
  bool names_results_ = false;
  std::size_t inline_bytes_ = 0;  // of the item at hand
};

std::size_t varint_bytes(std::uint32_t value) {
  std::size_t bytes = 1;
  for (; value >= 0x80; value >>= 7) ++bytes;
  return bytes;
}

char* write_varint(char* out, std::uint32_t value) {
  for (; value >= 0x80; value >>= 7) *out++ = static_cast<char>(value | 0x80);
  *out++ = static_cast<char>(value);
  return out;
}

}  // namespace

// The hot path: one buffer for all, and one pass over the bytes.
Result<Payloads> to_payloads(const api::PackedItems& packed, bool commands) {
  if (commands) return invalid("packed", "refused, for the spec names no task and a command is more than bytes");
  const auto count = static_cast<std::size_t>(packed.sizes_size());
  if (const Status sound = check_count(count, "packed.sizes"); !sound.ok()) return sound.error();
  if (const Status sound = check_content_type(packed.content_type(), "packed.content_type"); !sound.ok()) {
    return sound.error();
  }
  std::string head(1, static_cast<char>(PartKind::kInline));
  append_bytes(head, packed.content_type());

  std::uint64_t sum = 0;
  std::size_t total = 0;
  std::uint32_t largest = 0;
  for (const std::uint32_t size : packed.sizes()) {
    sum += size;
    total += head.size() + varint_bytes(size) + size;
    largest = std::max(largest, size);
  }
  if (sum != packed.data().size()) {
    return invalid("packed.sizes", "they add up to " + std::to_string(sum) + ", and data has " +
                                       std::to_string(packed.data().size()) + " bytes");
  }
  if (largest > limits::kPayloadBytesMax) {
    return too_much("packed.sizes", std::to_string(largest) + " bytes are over " +
                                        std::to_string(limits::kPayloadBytesMax) + "; hand them over as a segment");
  }
  if (total > UINT32_MAX) return too_much("packed", "the batch is over 4 GiB");

  Payloads payloads;
  payloads.ends.reserve(count);
  auto encoded = std::make_shared<std::string>(total, '\0');
  char* out = encoded->data();
  const char* in = packed.data().data();
  for (const std::uint32_t size : packed.sizes()) {
    std::memcpy(out, head.data(), head.size());
    out = write_varint(out + head.size(), size);
    if (size != 0) std::memcpy(out, in, size);
    out += size;
    in += size;
    payloads.ends.push_back(static_cast<std::uint32_t>(out - encoded->data()));
  }
  payloads.bytes = std::move(encoded);
  return payloads;
}

Result<Payloads> to_payloads(const google::protobuf::RepeatedPtrField<api::Item>& items, bool commands,
                             const SegmentSize& segment_size, const FindContent& find_content) {
  if (const Status sound = check_count(static_cast<std::size_t>(items.size()), "items"); !sound.ok()) {
    return sound.error();
  }
  PayloadBuilder builder(items, commands, segment_size, find_content);
  builder.reserve(items.size());
  for (int i = 0; i < items.size(); ++i) {
    if (const Status added = builder.add(items[i], i); !added.ok()) return added.error();
  }
  return builder.take();
}

}  // namespace futured::rpc
