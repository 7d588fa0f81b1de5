// Built-in task sha256: of a file, or of bytes.
#include <fcntl.h>
#include <futured/task.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <system_error>

namespace {

using futured::Context;
using futured::PartView;

constexpr std::size_t kBlockBytes = 256 * 1024;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()) {
    if (context_ == nullptr || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
  }
  void add(std::span<const std::byte> bytes) {
    if (EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) {
      throw futured::TaskError("OpenSSL", "EVP_DigestUpdate failed");
    }
  }
  std::string hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (EVP_DigestFinal_ex(context_.get(), digest, &size) != 1) {
      throw futured::TaskError("OpenSSL", "EVP_DigestFinal_ex failed");
    }
    std::string text;
    for (unsigned i = 0; i < size; ++i) {
      constexpr char kDigits[] = "0123456789abcdef";
      text.push_back(kDigits[digest[i] >> 4]);
      text.push_back(kDigits[digest[i] & 15]);
    }
    return text;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
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
