// Arrays in files as the command line names them, and as it tells of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/cli/text.h"
#include "futured/client.h"

namespace futured::cli {

// Rows along the first dimension; without `end` up to the last.
struct Rows {
  std::uint64_t begin = 0;
  std::optional<std::uint64_t> end;

  bool operator==(const Rows&) const = default;
};

// "10:20", ":20", "10:", ":". Throws UsageError naming `option`.
[[nodiscard]] Rows parse_rows(std::string_view word, std::string_view option);

// "x.npy" or "x.npy[10:20]". A name that ends in such brackets itself is written with "[:]" behind it.
struct ArrayWord {
  std::string path;
  Rows rows;
};
[[nodiscard]] ArrayWord parse_array_word(const std::string& word);

// "none" is 0. Throws UsageError naming --compress.
[[nodiscard]] int parse_compression(std::string_view word);

[[nodiscard]] std::string shape_text(const std::vector<std::uint64_t>& shape);       // "1024x768"
[[nodiscard]] std::string_view format_text(client::ArrayFile::Format format);        // "plain", "zstd", "npy"
[[nodiscard]] Json to_json(const client::ArrayFile& file, const std::string& path);  // without what a verb adds

}  // namespace futured::cli
