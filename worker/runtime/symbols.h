// Names for addresses of this process, read from its mappings and their ELF files. Neither allocates nor locks: for
// signal handlers.
#pragma once

#include <cstdint>
#include <string_view>

namespace futured::runtime {

struct Symbol {
  std::string_view name;     // mangled; empty: none known
  std::uint64_t offset = 0;  // from its begin; from the module's when it has no name
  std::string_view module;   // path; empty: the address lies in no file
};

// One at a time: its buffers are static.
class Symbols {
 public:
  // Reads the mappings as they are now.
  Symbols();
  // The result is valid until the next find().
  [[nodiscard]] Symbol find(std::uint64_t address);

 private:
  void open_module(std::string_view path);
  [[nodiscard]] std::string_view name_of(std::uint64_t address, std::uint64_t& offset) const;

  std::string_view maps_;
  std::string_view module_path_;
  std::string_view module_;  // the whole file, mapped
};

}  // namespace futured::runtime
