// fut upload: keeps an array, or the bytes of a file, on the daemon's disk, to be named by its digest in many jobs.
#include <fstream>
#include <iterator>
#include <memory>
#include <span>
#include <string>

#include "client/cli/cli.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

struct Options {
  std::string file;
  bool plain = false;
  std::string release;
};

Json to_json(const client::StoredSegment& stored) {
  Json json;
  json["digest"] = stored.digest;
  json["segment"] = stored.segment.id;
  json["bytes"] = stored.segment.bytes();
  if (!stored.segment.dtype.empty()) {
    json["dtype"] = stored.segment.dtype;
    json["shape"] = stored.segment.shape;
  }
  return json;
}

client::StoredSegment store(const client::Client& client, const Options& options) {
  if (options.plain) {
    std::ifstream file(options.file, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    if (!file.is_open() || file.bad()) throw UsageError(options.file + ": it cannot be read");
    return client.store(std::as_bytes(std::span(bytes)));
  }
  const auto file = [&] {
    try {
      return client::ArrayFile(options.file);
    } catch (const client::Error& error) {
      throw UsageError(options.file + ": " + error.what() + "; with --bytes any file is sent as it is");
    }
  }();
  return client.store(file);
}

int upload(const Options& options, const Globals& globals) {
  if (options.file.empty() == options.release.empty()) {
    throw UsageError("upload: give a file, or --release and a digest");
  }
  const client::Client client = connect(globals);
  if (!options.release.empty()) {
    client.drop(client.find_stored(options.release).segment);
    return kOk;
  }
  const client::StoredSegment stored = store(client, options);
  if (globals.json) {
    print_json(to_json(stored));
  } else {
    print(stored.digest + "\n");
  }
  return kOk;
}

}  // namespace

void add_upload(CLI::App& app, Globals& globals) {
  const auto options = std::make_shared<Options>();
  CLI::App& verb = *app.add_subcommand("upload", "Keep an array on the daemon's disk, for many jobs; print its digest");
  verb.add_option("file", options->file, "A file of fut dump, or NumPy's (.npy); with --bytes any file");
  verb.add_flag("--bytes", options->plain, "The bytes of the file as they are, which are no array");
  verb.add_option("--release", options->release, "Let go of the upload with this digest; jobs that name it keep it");
  verb.footer(
      "It is sent once, and outlives the daemon and the machine. The same bytes again are the same digest. Whoever "
      "sent "
      "it\n"
      "may name it, until he releases it or nobody has named it for an hour; jobs that name it keep it beyond that.\n\n"
      "Examples:\n"
      "  fut upload x.npy                            prints sha256:…\n"
      "  fut call sum --array sha256:…               a task works on it\n"
      "  fut call sum --array 'sha256:…[0:1000]'     and on some rows\n"
      "  fut upload --release sha256:…\n");
  verb.callback([&globals, options] { globals.action = [&globals, options] { return upload(*options, globals); }; });
}

}  // namespace futured::cli
