#include "tests/store/fault_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace futured {
namespace {

FaultDisk* disk = nullptr;

sqlite3_vfs* real() { return sqlite3_vfs_find("unix"); }

// What SQLite allocates for each open file: ours, then the real VFS's.
struct FaultFile {
  sqlite3_file base;
  FaultDisk::File* kept;  // null: a file that is not watched (shm, temporary)
  const char* path;

  sqlite3_file* under() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};

FaultFile* ours(sqlite3_file* file) { return reinterpret_cast<FaultFile*>(file); }
sqlite3_file* under(sqlite3_file* file) { return ours(file)->under(); }

void apply(std::string& content, const FaultDisk::Write& write) {
  const auto offset = static_cast<std::size_t>(write.offset);
  if (content.size() < offset + write.bytes.size()) content.resize(offset + write.bytes.size());
  content.replace(offset, write.bytes.size(), write.bytes);
}

int write(sqlite3_file* file, const void* bytes, int size, sqlite3_int64 offset) {
  FaultDisk::File* kept = ours(file)->kept;
  if (kept == nullptr || disk == nullptr) return under(file)->pMethods->xWrite(under(file), bytes, size, offset);
  const std::int64_t growth = std::max<std::int64_t>(0, offset + size - kept->size);
  if (growth > disk->room && disk->more_room) disk->room += disk->more_room();
  if (growth > disk->room) return SQLITE_FULL;
  disk->room -= growth;
  kept->size += growth;
  kept->since.push_back({offset, std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(size))});
  return under(file)->pMethods->xWrite(under(file), bytes, size, offset);
}

int sync(sqlite3_file* file, int flags) {
  FaultDisk::File* kept = ours(file)->kept;
  if (kept == nullptr || disk == nullptr) return under(file)->pMethods->xSync(under(file), flags);
  if (disk->before_sync) disk->before_sync();
  if (!disk->failing_sync.empty() && std::string_view(ours(file)->path).ends_with(disk->failing_sync)) {
    return SQLITE_IOERR_FSYNC;
  }
  for (const FaultDisk::Write& each : kept->since) apply(kept->synced, each);
  kept->since.clear();
  return under(file)->pMethods->xSync(under(file), flags);
}

int truncate(sqlite3_file* file, sqlite3_int64 size) {
  // The suite's databases are not shrunk; were they, the image would only hold more than it must.
  return under(file)->pMethods->xTruncate(under(file), size);
}

int close(sqlite3_file* file) { return under(file)->pMethods->xClose(under(file)); }
int read(sqlite3_file* file, void* bytes, int size, sqlite3_int64 offset) {
  return under(file)->pMethods->xRead(under(file), bytes, size, offset);
}
int file_size(sqlite3_file* file, sqlite3_int64* size) { return under(file)->pMethods->xFileSize(under(file), size); }
int lock(sqlite3_file* file, int level) { return under(file)->pMethods->xLock(under(file), level); }
int unlock(sqlite3_file* file, int level) { return under(file)->pMethods->xUnlock(under(file), level); }
int check_lock(sqlite3_file* file, int* held) { return under(file)->pMethods->xCheckReservedLock(under(file), held); }
int control(sqlite3_file* file, int operation, void* argument) {
  return under(file)->pMethods->xFileControl(under(file), operation, argument);
}
int sector_size(sqlite3_file* file) { return under(file)->pMethods->xSectorSize(under(file)); }
int characteristics(sqlite3_file* file) { return under(file)->pMethods->xDeviceCharacteristics(under(file)); }
int shm_map(sqlite3_file* file, int page, int size, int extend, void volatile** where) {
  return under(file)->pMethods->xShmMap(under(file), page, size, extend, where);
}
int shm_lock(sqlite3_file* file, int offset, int count, int flags) {
  return under(file)->pMethods->xShmLock(under(file), offset, count, flags);
}
void shm_barrier(sqlite3_file* file) { under(file)->pMethods->xShmBarrier(under(file)); }
int shm_unmap(sqlite3_file* file, int remove) { return under(file)->pMethods->xShmUnmap(under(file), remove); }

constexpr sqlite3_io_methods kMethods{
    .iVersion = 2,
    .xClose = close,
    .xRead = read,
    .xWrite = write,
    .xTruncate = truncate,
    .xSync = sync,
    .xFileSize = file_size,
    .xLock = lock,
    .xUnlock = unlock,
    .xCheckReservedLock = check_lock,
    .xFileControl = control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = characteristics,
    .xShmMap = shm_map,
    .xShmLock = shm_lock,
    .xShmBarrier = shm_barrier,
    .xShmUnmap = shm_unmap,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

int open(sqlite3_vfs*, sqlite3_filename path, sqlite3_file* file, int flags, int* out_flags) {
  FaultFile* made = ours(file);
  made->base.pMethods = nullptr;
  made->kept = nullptr;
  made->path = path;
  const int code = real()->xOpen(real(), path, made->under(), flags, out_flags);
  if (code != SQLITE_OK) return code;
  made->base.pMethods = &kMethods;
  if (disk != nullptr && path != nullptr && (flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)) != 0) {
    made->kept = &disk->files[path];
    sqlite3_int64 size = 0;
    made->under()->pMethods->xFileSize(made->under(), &size);
    made->kept->size = size;
  }
  return SQLITE_OK;
}

int remove(sqlite3_vfs*, const char* path, int sync_directory) {
  if (disk != nullptr) disk->files.erase(path);
  return real()->xDelete(real(), path, sync_directory);
}

void install() {
  static sqlite3_vfs vfs;
  if (vfs.zName != nullptr) return;
  sqlite3_initialize();
  vfs = *real();
  vfs.pNext = nullptr;
  vfs.zName = FaultDisk::name();
  vfs.szOsFile = static_cast<int>(sizeof(FaultFile)) + real()->szOsFile;
  vfs.xOpen = open;
  vfs.xDelete = remove;
  sqlite3_vfs_register(&vfs, 0);
}

}  // namespace

FaultDisk::FaultDisk() {
  disk = this;
  install();
}

FaultDisk::~FaultDisk() { disk = nullptr; }

void FaultDisk::write_crash_image(const std::string& folder, std::mt19937_64& random) const {
  constexpr std::size_t kSector = 512;
  std::filesystem::create_directories(folder);
  for (const auto& [path, file] : files) {
    std::string content = file.synced;
    for (const Write& each : file.since) {
      const std::uint64_t fate = random() % 4;
      if (fate == 0) continue;  // it never reached the disk
      if (fate > 1) {
        apply(content, each);
        continue;
      }
      for (std::size_t at = 0; at < each.bytes.size(); at += kSector) {
        if (random() % 2 == 0) {
          apply(content, {each.offset + static_cast<std::int64_t>(at), each.bytes.substr(at, kSector)});
        }
      }
    }
    const std::string name = std::filesystem::path(path).filename();
    std::ofstream(std::filesystem::path(folder) / name, std::ios::binary) << content;
  }
}

}  // namespace futured
