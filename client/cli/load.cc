// fut load: what an array in a file is, whether it is sound, and its elements as bare bytes.
#include <cstdio>
#include <memory>

#include "base/whole_file.h"
#include "client/cli/array_words.h"
#include "client/cli/cli.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::string file;
  std::string output;  // "-" = standard output
  std::string slice;
};

void line(const char* name, const std::string& value) {
  std::string text = name;
  text.resize(12, ' ');
  print(text + one_line(value) + "\n");
}

std::string ratio_text(const client::ArrayFile& file) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", static_cast<double>(file.bytes()) / static_cast<double>(file.file_bytes()));
  return text;
}

std::string exact_bytes_text(std::uint64_t bytes) {
  const std::string exact = std::to_string(bytes) + " B";
  return bytes < 1024 ? exact : bytes_text(static_cast<std::int64_t>(bytes)) + " (" + exact + ")";
}

int tell(const client::ArrayFile& file, const Options& options, const Globals& globals) {
  const bool has_checksum = file.format() != client::ArrayFile::Format::kNumpy;
  file.check();
  if (globals.json) {
    Json json = to_json(file, options.file);
    json["ratio"] = static_cast<double>(file.bytes()) / static_cast<double>(file.file_bytes());
    json["checksum"] = has_checksum;
    print_json(json);
    return kOk;
  }
  line("file", options.file);
  line("dtype", std::string(file.dtype()));
  line("shape", shape_text(file.shape()));
  line("format", std::string(format_text(file.format())));
  line("bytes", exact_bytes_text(file.bytes()));
  line("in file", exact_bytes_text(file.file_bytes()));
  line("ratio", ratio_text(file));
  line("checked", has_checksum ? "all of it" : "its size: NumPy's files have no checksum");
  return kOk;
}

void write_file(const std::string& path, std::span<const std::byte> bytes) {
  auto file = WholeFile::create(path);
  Status wrote = file.ok() ? file->write_at(0, bytes) : Status(file.error());
  if (wrote.ok()) wrote = file->finish();
  if (!wrote.ok()) throw std::runtime_error(wrote.error().message);
}

int write_elements(const client::ArrayFile& file, const Options& options, const Globals& globals) {
  const Rows rows = options.slice.empty() ? Rows() : parse_rows(options.slice, "--slice");
  const client::MappedBytes loaded = file.load(rows.begin, rows.end);
  if (options.output == "-") {
    print({reinterpret_cast<const char*>(loaded.bytes().data()), loaded.bytes().size()});
    return kOk;
  }
  write_file(options.output, loaded.bytes());
  if (globals.json) {
    Json json;
    put_bytes(json, "output", options.output);
    json["dtype"] = loaded.dtype();
    json["shape"] = loaded.shape();
    json["bytes"] = loaded.bytes().size();
    print_json(json);
  }
  return kOk;
}

int load(const Options& options, const Globals& globals) {
  if (!options.slice.empty() && options.output.empty()) {
    throw UsageError("--slice: says which rows --output writes, and there is none: give it, or leave out --slice");
  }
  if (globals.json && options.output == "-") {
    throw UsageError("--json: the elements go to standard output: give --output a file");
  }
  const client::ArrayFile file(options.file);
  return options.output.empty() ? tell(file, options, globals) : write_elements(file, options, globals);
}

}  // namespace

void add_load(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("load", "Tell what array a file holds, and check it");
  verb.add_option("file", options->file, "A file of fut dump, or NumPy's (.npy)")->required();
  verb.add_option("--output", options->output, "Write the elements there, as bare bytes; -: to standard output");
  verb.add_option("--slice", options->slice, "BEGIN:END: only these rows, counted from 0; the row END is not in it");
  verb.footer(
      "Needs no daemon. With --output nothing is told, and of a compressed file only those blocks are read and "
      "checked\n"
      "that hold some of the rows. Exits 4 when the file is damaged or no array.\n\n"
      "Examples:\n"
      "  fut load scaled.fut\n"
      "  fut load --json scaled.npy\n"
      "  fut load scaled.fut --slice 0:1000 --output head.raw\n"
      "  fut call sum --array scaled.fut             a task works on it\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return load(*options, globals); }; });
}

}  // namespace futured::cli
