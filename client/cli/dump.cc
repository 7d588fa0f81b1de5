// fut dump: an array, or any bytes, that a job returned, into a file.
#include <memory>

#include "client/cli/array_words.h"
#include "client/cli/cli.h"
#include "client/cli/input.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::uint64_t id = 0;
  std::string file;
  std::uint32_t part = 0;
  std::string compress;  // "" = not asked for
};

client::DumpOptions how(const Options& options) {
  client::DumpOptions chosen;
  if (options.compress.empty()) return chosen;
  chosen.compression = parse_compression(options.compress);
  if (chosen.compression != 0 && options.file.ends_with(".npy")) {
    throw UsageError("--compress: NumPy's files are never compressed: give a name that does not end in .npy");
  }
  return chosen;
}

int dump(const Options& options, const Globals& globals) {
  const client::DumpOptions chosen = how(options);
  const client::Client client = connect(globals);
  const client::JobInfo job = client.job(options.id);
  if (!client::is_terminal(job.state)) {
    const std::string number = std::to_string(job.id);
    throw client::Error(client::ErrorKind::kFailedPrecondition, "job " + number + " has not ended: fut wait " + number);
  }
  // It may have a result all the same, as a command has output: that is what fut result is for.
  if (job.state != client::JobState::kSucceeded) {
    complain(ended_text({.id = job.id, .state = job.state, .cause = job.cause}));
    return kJobFailed;
  }
  client::dump(options.file, client.map_result(options.id, options.part), chosen);
  const client::ArrayFile file(options.file);
  if (globals.json) {
    Json json = {{"id", options.id}, {"part", options.part}};
    json.update(to_json(file, options.file));
    print_json(json);
  } else {
    print(one_line(options.file) + ": " + std::string(file.dtype()) + " " + shape_text(file.shape()) + ", " +
          bytes_text(static_cast<std::int64_t>(file.bytes())) + " in " +
          bytes_text(static_cast<std::int64_t>(file.file_bytes())) + "\n");
  }
  return kOk;
}

}  // namespace

void add_dump(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("dump", "Store an array that a job returned in a file");
  verb.add_option("id", options->id, "Number of the job")->required()->check(at_least_one());
  verb.add_option("file", options->file, "The file; a name that ends in .npy makes it NumPy's")->required();
  verb.add_option("--part", options->part, "This part of the result, counted from 0 (default: the first)");
  verb.add_option("--compress", options->compress, "A level of zstd, 1 to 22, or none (default: 3, where it pays)");
  verb.footer(
      "Bytes that are no array are stored as one of uint8. The file is replaced as a whole, or stays as it was.\n"
      "Compression is left out where it would save less than a tenth. Exits 1 when the job did not succeed, 4 when it\n"
      "has not ended or is not known, or the file cannot be written.\n\n"
      "Examples:\n"
      "  fut dump 42 scaled.fut\n"
      "  fut dump --compress none 42 scaled.fut      can be mapped where it lies\n"
      "  fut dump 42 scaled.npy\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return dump(*options, globals); }; });
}

}  // namespace futured::cli
