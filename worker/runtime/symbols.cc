#include "worker/runtime/symbols.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include "worker/runtime/proc_reader.h"

namespace futured::runtime {

namespace {

constexpr std::size_t kMapsBytesMax = 256 * 1024;
char g_maps[kMapsBytesMax];

// A module is whatever file a plugin is: nothing in it is believed.
template <typename T>
bool read_at(std::string_view file, std::uint64_t offset, T& value) {
  if (offset > file.size() || file.size() - offset < sizeof value) return false;
  std::memcpy(&value, file.data() + offset, sizeof value);
  return true;
}

std::uint64_t take_hex(std::string_view& text) {
  std::uint64_t value = 0;
  while (!text.empty()) {
    const char c = text.front();
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) break;
    value = value * 16 + static_cast<std::uint64_t>(digit);
    text.remove_prefix(1);
  }
  return value;
}

std::string_view text_at(std::string_view file, std::uint64_t offset) {
  if (offset >= file.size()) return {};
  const std::string_view rest = file.substr(offset);
  return rest.substr(0, rest.find('\0'));
}

struct Found {
  std::string_view name;
  std::uint64_t begin = 0;
};

// The function of one symbol table that holds `address`.
void search(std::string_view file, const Elf64_Shdr& table, std::uint64_t names, std::uint64_t address, Found& found) {
  const std::uint64_t count = table.sh_size / sizeof(Elf64_Sym);
  for (std::uint64_t i = 0; i < count; ++i) {
    Elf64_Sym symbol;
    if (!read_at(file, table.sh_offset + i * sizeof symbol, symbol)) return;
    if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx == SHN_UNDEF) continue;
    if (address < symbol.st_value || address - symbol.st_value >= symbol.st_size) continue;
    found = {text_at(file, names + symbol.st_name), symbol.st_value};
    return;
  }
}

}  // namespace

Symbols::Symbols() : maps_(read_proc("/proc/self/maps", g_maps)) {}

// "7f00-7f10 r-xp 00001000 fd:01 1234    /usr/lib/x.so"
Symbol Symbols::find(std::uint64_t address) {
  for (std::string_view rest = maps_; !rest.empty();) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    const std::uint64_t begin = take_hex(line);
    if (line.empty()) continue;
    line.remove_prefix(1);
    const std::uint64_t end = take_hex(line);
    if (address < begin || address >= end || line.size() < 6) continue;
    line.remove_prefix(6);  // " r-xp "
    const std::uint64_t file_offset = take_hex(line);
    const std::size_t path = line.find('/');
    if (path == std::string_view::npos) return {};
    open_module(line.substr(path));
    Symbol symbol{{}, address - begin + file_offset, module_path_};
    symbol.name = name_of(symbol.offset, symbol.offset);
    return symbol;
  }
  return {};
}

void Symbols::open_module(std::string_view path) {
  if (path == module_path_) return;
  if (!module_.empty()) munmap(const_cast<char*>(module_.data()), module_.size());
  module_ = {};
  module_path_ = path;
  static char name[PATH_MAX];
  if (path.size() >= sizeof name) return;
  std::memcpy(name, path.data(), path.size());
  name[path.size()] = '\0';
  const int file = open(name, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  struct stat there {};
  if (fstat(file, &there) == 0 && S_ISREG(there.st_mode) && there.st_size > 0) {
    const auto size = static_cast<std::size_t>(there.st_size);
    void* const memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file, 0);
    if (memory != MAP_FAILED) module_ = {static_cast<const char*>(memory), size};
  }
  close(file);
}

// `offset`: of the address in the file; from the begin of its function, when one is found.
std::string_view Symbols::name_of(std::uint64_t file_offset, std::uint64_t& offset) const {
  Elf64_Ehdr header;
  if (!read_at(module_, 0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr) ||
      header.e_shentsize != sizeof(Elf64_Shdr)) {
    return {};
  }
  std::uint64_t address = 0;
  for (unsigned i = 0; i < header.e_phnum && address == 0; ++i) {
    Elf64_Phdr segment;
    if (!read_at(module_, header.e_phoff + i * sizeof segment, segment)) return {};
    if (segment.p_type != PT_LOAD || file_offset < segment.p_offset) continue;
    if (file_offset - segment.p_offset < segment.p_filesz) address = file_offset - segment.p_offset + segment.p_vaddr;
  }
  if (address == 0) return {};
  Found found;
  // A stripped file has only the names that it exports.
  for (const std::uint32_t type : {std::uint32_t{SHT_SYMTAB}, std::uint32_t{SHT_DYNSYM}}) {
    for (unsigned i = 0; i < header.e_shnum && found.name.empty(); ++i) {
      Elf64_Shdr table;
      Elf64_Shdr names;
      if (!read_at(module_, header.e_shoff + i * sizeof table, table)) return {};
      if (table.sh_type != type || table.sh_link >= header.e_shnum) continue;
      if (!read_at(module_, header.e_shoff + table.sh_link * sizeof names, names)) return {};
      search(module_, table, names.sh_offset, address, found);
    }
  }
  if (!found.name.empty()) offset = address - found.begin;
  return found.name;
}

}  // namespace futured::runtime
