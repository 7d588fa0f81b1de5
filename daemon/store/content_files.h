// ContentFiles: large contents as files that are named by what they hold. docs/formats/content_file.md.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/result.h"
#include "daemon/store/digest.h"

namespace futured {

// A directory of files, each written once, whole, and never changed; the same content is one file, whoever stores it.
// Any thread; writing and reading wait for the disk.
class ContentFiles {
 public:
  enum class Care {
    kQuick,     // a file of that name is taken for the content
    kVerified,  // unless this process knows that it is sound it is read, and written anew when it is not
    kChanging,  // likewise; and somebody may write to the content meanwhile, which is an error, kFailedPrecondition
  };

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
    [[nodiscard]] Result<Digest> add(std::string_view content, Care care = Care::kQuick);
    // What may be there already. True: it is, for all that its name tells.
    bool add_known(const Digest& digest);
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

  // The same, piece by piece, for contents of any size. Its errors leave `out` as far as it was filled.
  [[nodiscard]] Status read_into(const Digest& digest, std::span<std::byte> out);

  // Contents that are whole segments, by the numbers that payloads have for them. Known from when they are stored, or
  // a row that names them is read, until the file goes. kAlreadyExists: the number is another content's.
  struct Named {
    Digest digest;
    std::uint64_t size = 0;
  };
  [[nodiscard]] Status name(const Named& content);
  [[nodiscard]] std::optional<Named> named(SegmentId id) const;
  // False: no segment has a name here, as with all who use none.
  [[nodiscard]] bool names_any() const { return names_any_.load(std::memory_order_relaxed); }

  // No row names it any more: it goes, now or with its last hold.
  void drop(const Digest& digest);
  // The same, unless it is held or `is_used` says that a row names it. Nobody can take hold of it while that is asked.
  void drop_unless(const Digest& digest, const std::function<bool()>& is_used);
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

  [[nodiscard]] Status keep(const Digest& digest, std::string_view content, Care care);
  [[nodiscard]] bool is_sound(const Digest& digest, std::uint64_t size) const;
  void stay(std::span<const Digest> held);
  void release(std::span<const Digest> held);

  [[nodiscard]] std::string plain_path(const Digest& digest) const { return directory_ + "/" + digest.hex(); }
  [[nodiscard]] std::string packed_path(const Digest& digest) const { return plain_path(digest) + ".zst"; }
  [[nodiscard]] bool is_there(const Digest& digest, std::uint64_t size) const;
  [[nodiscard]] Status write(const Digest& digest, std::string_view content, Care care) const;
  [[nodiscard]] Result<bool> write_packed(const Digest& digest, std::string_view content, Care care) const;
  [[nodiscard]] Status make_directory() const;
  void remove(const Digest& digest);
  [[nodiscard]] std::uint64_t disk_bytes(const Digest& digest) const;

  const std::string directory_;
  const int compression_level_;
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<bool> names_any_{false};
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable written_;
  std::set<Digest> under_way_;  // being written
  std::map<Digest, Held> held_;
  std::set<Digest> damaged_;  // as a reader saw: written anew when they come again
  std::set<Digest> sound_;    // written or read by this process, and sound then
  std::map<SegmentId, Named> names_;
  bool is_closed_ = false;
};

}  // namespace futured
