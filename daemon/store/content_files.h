// ContentFiles: large contents as files that are named by what they hold. docs/formats/content_file.md.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "daemon/store/digest.h"

namespace futured {

// A directory of files, each written once, whole, and never changed; the same content is one file, whoever stores it.
// Any thread; writing and reading wait for the disk.
class ContentFiles {
 public:
  // Contents that must not go, though the database does not name them yet. What was written for holds alone is removed
  // with the last of them, unless one said that it stays.
  class Hold {
   public:
    explicit Hold(std::shared_ptr<ContentFiles> files) : files_(std::move(files)) {}
    Hold(Hold&&) = default;
    Hold& operator=(Hold&& other) noexcept;
    ~Hold() { give_up(); }

    // On disk when it returns. kResourceExhausted: there is no room; of this content nothing is left there.
    // kUnavailable: closed.
    [[nodiscard]] Result<Digest> add(std::string_view content);
    // The database may name them from now on: they stay. If it does not, they go with the next sweep.
    void stay() const;

   private:
    void give_up();

    std::shared_ptr<ContentFiles> files_;  // null: moved from
    std::vector<Digest> held_;
  };

  // `compression_level`: of zstd, 1 to limits::kStoredCompressionMax; 0: never compressed. Nothing is made yet.
  ContentFiles(std::string directory, int compression_level)
      : directory_(std::move(directory)), compression_level_(compression_level) {}

  // kNotFound: there is no such file; kDataLoss: it does not hold that content. Both name it.
  [[nodiscard]] Result<std::string> read(const Digest& digest, std::uint64_t size);

  // No row names it any more: it goes, now or with its last hold.
  void drop(const Digest& digest);
  // Of all files that are there, as a directory lists them.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

  // The directory is the next daemon's: nothing is added or removed any more. What should have gone is for its sweep.
  void close();

  // Removes what a killed daemon had not finished, and all that `is_needed` denies. Before anything is held. Files of
  // other names are left alone.
  [[nodiscard]] Status sweep(const std::function<Result<bool>(const Digest&)>& is_needed);

 private:
  struct Held {
    std::size_t holds = 0;
    bool is_new = false;  // written while it was held
    bool stays = false;
  };

  [[nodiscard]] Status keep(const Digest& digest, std::string_view content);
  void stay(std::span<const Digest> held);
  void release(std::span<const Digest> held);

  [[nodiscard]] std::string plain_path(const Digest& digest) const { return directory_ + "/" + digest.hex(); }
  [[nodiscard]] std::string packed_path(const Digest& digest) const { return plain_path(digest) + ".zst"; }
  [[nodiscard]] bool is_there(const Digest& digest, std::uint64_t size) const;
  [[nodiscard]] Status write(const Digest& digest, std::string_view content) const;
  [[nodiscard]] Result<bool> write_packed(const std::string& path, std::string_view content) const;
  [[nodiscard]] Status make_directory() const;
  void remove(const Digest& digest);
  [[nodiscard]] std::uint64_t disk_bytes(const Digest& digest) const;

  const std::string directory_;
  const int compression_level_;
  std::atomic<std::uint64_t> bytes_{0};
  std::mutex mutex_;  // guards all below
  std::condition_variable written_;
  std::set<Digest> under_way_;  // being written
  std::map<Digest, Held> held_;
  std::set<Digest> damaged_;  // as a reader saw: written anew when they come again
  bool is_closed_ = false;
};

}  // namespace futured
