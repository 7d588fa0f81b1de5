// NumPy's .npy: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#include <charconv>
#include <cstring>
#include <optional>

#include "base/limits.h"
#include "segment/array_header.h"

namespace futured {

namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr std::size_t kAlignment = 64;  // of the elements in what we write, as NumPy does

struct Descr {
  std::string_view code;  // NumPy's, behind the character of byte order
  std::string_view dtype;
};

constexpr Descr kDescrs[] = {
    {"f8", "float64"}, {"f4", "float32"}, {"f2", "float16"},   {"i1", "int8"},        {"i2", "int16"},
    {"i4", "int32"},   {"i8", "int64"},   {"u1", "uint8"},     {"u2", "uint16"},      {"u4", "uint32"},
    {"u8", "uint64"},  {"b1", "bool"},    {"c8", "complex64"}, {"c16", "complex128"},
};

Error refuse(std::string what) { return {ErrorCode::kInvalidArgument, std::move(what)}; }
Error damaged(const std::string& what) { return {ErrorCode::kDataLoss, what + ": restore it, or write it again"}; }

// The few words of Python that such a header is written in. After the first thing that does not fit, nothing does.
class Words {
 public:
  explicit Words(std::string_view text) : rest_(text) {}

  bool take(std::string_view word) {
    skip_spaces();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  std::optional<std::string_view> quoted() {
    skip_spaces();
    if (rest_.empty() || (rest_.front() != '\'' && rest_.front() != '"')) return std::nullopt;
    const std::size_t end = rest_.find(rest_.front(), 1);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view inside = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return inside;
  }
  std::optional<bool> truth() {
    if (take("True")) return true;
    if (take("False")) return false;
    return std::nullopt;
  }
  // "()", "(3,)", "(3, 4)"; Python 2 wrote 3L.
  std::optional<std::vector<std::uint64_t>> shape() {
    std::vector<std::uint64_t> numbers;
    if (!take("(")) return std::nullopt;
    while (!take(")")) {
      std::uint64_t number = 0;
      skip_spaces();
      const auto [end, wrong] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), number);
      if (wrong != std::errc() || numbers.size() == limits::kArrayDimensionsMax) return std::nullopt;
      rest_ = rest_.substr(static_cast<std::size_t>(end - rest_.data()));
      take("L");
      numbers.push_back(number);
      if (take(",")) continue;
      if (!take(")")) return std::nullopt;
      break;
    }
    return numbers;
  }
  bool at_end() {
    skip_spaces();
    return rest_.empty();
  }

 private:
  void skip_spaces() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\n')) rest_.remove_prefix(1);
  }

  std::string_view rest_;
};

Result<std::string> dtype_of_descr(std::string_view descr) {
  const char order = descr.empty() ? ' ' : descr.front();
  const std::string_view code = descr.substr(descr.empty() ? 0 : 1);
  for (const Descr& known : kDescrs) {
    if (known.code != code) continue;
    if (order == '<' || (order == '|' && code.ends_with('1'))) return std::string(known.dtype);
    if (order == '>' && !code.ends_with('1')) {
      return refuse("its elements have their big end first: save it in NumPy with .astype('<" + std::string(code) +
                    "')");
    }
  }
  return refuse("NumPy's element type '" + std::string(descr.substr(0, limits::kNameBytesMax)) +
                "' is none of an array: save it in NumPy as one of numbers");
}

Result<ArrayType> type_of(std::string_view text) {
  const Error wrong = damaged("its NumPy header is wrong");
  Words words(text);
  ArrayType type;
  std::optional<std::string_view> descr;
  std::optional<bool> fortran;
  std::optional<std::vector<std::uint64_t>> shape;
  if (!words.take("{")) return wrong;
  while (!words.take("}")) {
    const auto key = words.quoted();
    if (!key || !words.take(":")) return wrong;
    if (*key == "descr") {
      descr = words.quoted();
      if (!descr) return refuse("it is a NumPy array of records: save each of its fields on its own");
    } else if (*key == "fortran_order") {
      fortran = words.truth();
    } else if (*key == "shape") {
      shape = words.shape();
    } else {
      return wrong;
    }
    if (words.take(",")) continue;
    if (!words.take("}")) return wrong;
    break;
  }
  if (!descr || !fortran || !shape || !words.at_end()) return wrong;
  auto dtype = dtype_of_descr(*descr);
  if (!dtype) return dtype.error();
  // Of one dimension both orders are the same.
  if (*fortran && shape->size() > 1) {
    return refuse("its elements are in Fortran order: save it in NumPy with numpy.ascontiguousarray(…)");
  }
  return ArrayType{*std::move(dtype), *std::move(shape)};
}

std::string shape_text(const ArrayType& type) {
  std::string text = "(";
  for (std::size_t i = 0; i < type.shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(type.shape[i]);
  return text + (type.shape.size() == 1 ? ",)" : ")");
}

}  // namespace

bool is_npy_file(std::string_view beginning) { return beginning.starts_with(kMagic); }

Result<std::string> encode_npy_header(const ArrayType& type) {
  for (const Descr& known : kDescrs) {
    if (known.dtype != type.dtype) continue;
    std::string text = "{'descr': '" + std::string(known.code.ends_with('1') ? "|" : "<") + std::string(known.code) +
                       "', 'fortran_order': False, 'shape': " + shape_text(type) + ", }";
    constexpr std::size_t kBefore = kMagic.size() + 4;
    text.resize((kBefore + text.size() + 1 + kAlignment - 1) / kAlignment * kAlignment - kBefore - 1, ' ');
    text += '\n';
    const auto size = static_cast<std::uint16_t>(text.size());
    std::string header(kMagic);
    header += '\1';
    header += '\0';
    header.append(reinterpret_cast<const char*>(&size), sizeof size);
    return header + text;
  }
  return refuse("NumPy has no " + type.dtype + ": give a name that does not end in .npy");
}

Result<ArrayHeader> decode_npy_header(std::string_view bytes) {
  if (bytes.size() < kMagic.size() + 6) return damaged("it ends within its header");
  const int version = static_cast<unsigned char>(bytes[kMagic.size()]);
  if (version != 1 && version != 2) {
    return Error{ErrorCode::kUnimplemented, "it is of NumPy's format " + std::to_string(version) +
                                                ", and only 1 and 2 are read: save it in NumPy with version=(2, 0)"};
  }
  std::uint32_t size = 0;
  const std::size_t size_bytes = version == 1 ? 2 : 4;
  std::memcpy(&size, bytes.data() + kMagic.size() + 2, size_bytes);
  const std::size_t begin = kMagic.size() + 2 + size_bytes;
  if (size > kNpyHeaderBytesMax - begin) return damaged("its NumPy header claims to have too many bytes");
  if (size > bytes.size() - begin) return damaged("it ends within its header");
  auto type = type_of(bytes.substr(begin, size));
  if (!type) return type.error();
  const auto in_memory = array_bytes(*type);
  if (!in_memory) return in_memory.error();
  ArrayHeader header;
  header.type = *std::move(type);
  header.form = ArrayForm::kNumpy;
  header.data_begin = begin + size;
  header.array_bytes = *in_memory;
  header.data_bytes = *in_memory;
  return header;
}

}  // namespace futured
