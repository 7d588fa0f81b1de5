// Built-in task sha256: of a file, or of bytes.
#include <fcntl.h>
#include <futured/task.h>
#include <nettle/sha2.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <system_error>

namespace {

using futured::Context;
using futured::PartView;

constexpr std::size_t kBlockBytes = 256 * 1024;

class Sha256 {
 public:
  Sha256() { sha256_init(&context_); }
  void add(std::span<const std::byte> bytes) {
    sha256_update(&context_, bytes.size(), reinterpret_cast<const std::uint8_t*>(bytes.data()));
  }
  std::string hex() {
    std::array<std::uint8_t, SHA256_DIGEST_SIZE> digest;
    sha256_digest(&context_, digest.size(), digest.data());
    std::string text;
    for (const std::uint8_t byte : digest) {
      constexpr char kDigits[] = "0123456789abcdef";
      text.push_back(kDigits[byte >> 4]);
      text.push_back(kDigits[byte & 15]);
    }
    return text;
  }

 private:
  sha256_ctx context_;
};

[[noreturn]] void unreadable(const std::string& path) {
  const int why = errno;
  throw futured::TaskError("FileNotReadable", path + ": " + std::generic_category().message(why));
}

std::string sha256_of_file(Context& context, const std::string& path) {
  struct File {
    ~File() {
      if (descriptor >= 0) close(descriptor);
    }
    int descriptor;
  } file{open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.descriptor < 0) unreadable(path);
  Sha256 hash;
  const auto block = std::make_unique_for_overwrite<std::byte[]>(kBlockBytes);
  for (;;) {
    context.throw_if_stopped();
    const ssize_t size = read(file.descriptor, block.get(), kBlockBytes);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) unreadable(path);
    if (size == 0) return hash.hex();
    hash.add({block.get(), static_cast<std::size_t>(size)});
  }
}

std::string sha256_of_bytes(Context& context, std::span<const std::byte> bytes) {
  Sha256 hash;
  while (!bytes.empty()) {
    context.throw_if_stopped();
    const auto block = bytes.first(std::min(bytes.size(), std::size_t{16} * kBlockBytes));
    hash.add(block);
    bytes = bytes.subspan(block.size());
  }
  return hash.hex();
}

// sha256 PATH: text names a file as the worker sees it; anything else is hashed itself. Gives 64 hexadecimal digits.
FUTURED_TASK("sha256", [](Context& context, PartView part) {
  if (futured::sdk::is_json_string(part)) return sha256_of_file(context, futured::sdk::unquote_json(part, 1));
  if (part.content_type == futured::kTextType) return sha256_of_file(context, std::string(part.text()));
  return sha256_of_bytes(context, part.bytes);
});

}  // namespace
