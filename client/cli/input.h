// What users hand in: files and standard input, within the bounds of a job, and words that must be text.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "futured/client.h"

namespace futured::cli {

// One argument of `fut call`: "@file" is the file's bytes, what parses as JSON is application/json, the rest
// text/plain.
[[nodiscard]] client::Part parse_argument(const std::string& word);

// Both throw UsageError, also when there is more than one job may be given; no more than that is ever read.
[[nodiscard]] std::string read_payload_file(const std::string& path);
[[nodiscard]] std::string read_standard_input();

// The daemon takes names as text. Throws UsageError naming `what`.
void require_utf8(std::string_view what, std::string_view word);

// Words of the command line behind a verb's own, as many as there are, byte for byte: into a vector of its own, CLI11
// would read "[1,2]" and "{}" as lists.
CLI::Option* add_words(CLI::App& verb, const std::string& name, std::vector<std::string>& words,
                       const std::string& what);

// For options that are counted from 1, whatever their type.
[[nodiscard]] CLI::Validator at_least_one();
[[nodiscard]] CLI::Validator at_least_zero();
// For factors: above 1, and at most `most`.
[[nodiscard]] CLI::Validator above_one(double most);
// For durations: they throw UsageError. "0" would mean that there is no such limit, which `way_out` says how to have.
[[nodiscard]] CLI::Validator duration(const std::string& option);
[[nodiscard]] CLI::Validator duration_over_zero(const std::string& option, const std::string& way_out);

}  // namespace futured::cli
