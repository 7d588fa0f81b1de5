#include "client/cli/array_words.h"

#include <charconv>

#include "client/cli/cli.h"

namespace futured::cli {

namespace {

constexpr int kLevelMax = 22;  // zstd's

// Nothing: no number. The empty word is `otherwise`.
std::optional<std::uint64_t> number_or(std::string_view word, std::uint64_t otherwise) {
  if (word.empty()) return otherwise;
  std::uint64_t number = 0;
  const auto [end, wrong] = std::from_chars(word.data(), word.data() + word.size(), number);
  return wrong == std::errc() && end == word.data() + word.size() ? std::optional(number) : std::nullopt;
}

std::optional<Rows> rows_in(std::string_view word) {
  const std::size_t colon = word.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view end_word = word.substr(colon + 1);
  const auto begin = number_or(word.substr(0, colon), 0);
  const auto end = number_or(end_word, 0);
  if (!begin || !end) return std::nullopt;
  return Rows{*begin, end_word.empty() ? std::nullopt : end};
}

}  // namespace

Rows parse_rows(std::string_view word, std::string_view option) {
  if (const auto rows = rows_in(word)) return *rows;
  throw UsageError(std::string(option) + ": \"" + std::string(word) +
                   "\" is no range of rows: write BEGIN:END, counted from 0, without the row END");
}

ArrayWord parse_array_word(const std::string& word) {
  const std::size_t bracket = word.rfind('[');
  if (!word.ends_with(']') || bracket == std::string::npos) return {word, {}};
  const auto rows = rows_in(std::string_view(word).substr(bracket + 1, word.size() - bracket - 2));
  return rows ? ArrayWord{word.substr(0, bracket), *rows} : ArrayWord{word, {}};
}

int parse_compression(std::string_view word) {
  if (word == "none") return 0;
  const auto level = number_or(word, 0);
  if (level && *level >= 1 && *level <= kLevelMax) return static_cast<int>(*level);
  throw UsageError("--compress: \"" + std::string(word) + "\" is neither none nor a level from 1 to " +
                   std::to_string(kLevelMax));
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text;
  for (const std::uint64_t along : shape) text += (text.empty() ? "" : "x") + std::to_string(along);
  return text.empty() ? "one element" : text;
}

std::string_view format_text(client::ArrayFile::Format format) {
  switch (format) {
    case client::ArrayFile::Format::kPlain:
      return "plain";
    case client::ArrayFile::Format::kCompressed:
      return "zstd";
    case client::ArrayFile::Format::kNumpy:
      return "npy";
  }
  return "";
}

Json to_json(const client::ArrayFile& file, const std::string& path) {
  Json json;
  put_bytes(json, "file", path);
  json["dtype"] = file.dtype();
  json["shape"] = file.shape();
  json["format"] = format_text(file.format());
  json["bytes"] = file.bytes();
  json["file_bytes"] = file.file_bytes();
  return json;
}

}  // namespace futured::cli
