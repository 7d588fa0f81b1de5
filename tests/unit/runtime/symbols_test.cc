#include "worker/runtime/symbols.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace futured::runtime {
namespace {

[[gnu::noinline]] int named_function(int value) { return value + std::rand(); }

std::uint64_t address_of(int (*function)(int)) { return reinterpret_cast<std::uint64_t>(function); }

TEST(Symbols, FindsAFunctionOfThisProgramAndHowFarIntoItAnAddressIs) {
  Symbols symbols;
  const Symbol symbol = symbols.find(address_of(named_function) + 1);
  EXPECT_NE(symbol.name.find("named_function"), std::string_view::npos) << symbol.name;
  EXPECT_EQ(symbol.offset, 1u);
  EXPECT_NE(symbol.module.find("runtime"), std::string_view::npos) << symbol.module;
}

TEST(Symbols, FindsAnExportedFunctionOfALibrary) {
  Symbols symbols;
  const Symbol symbol = symbols.find(reinterpret_cast<std::uint64_t>(&std::abort));
  EXPECT_NE(symbol.module.find("libc"), std::string_view::npos) << symbol.module;
  EXPECT_EQ(symbol.name, "abort");
}

TEST(Symbols, AnAddressOfNoFileHasNoName) {
  Symbols symbols;
  const int on_stack = 0;
  EXPECT_EQ(symbols.find(0).module, "");
  EXPECT_EQ(symbols.find(reinterpret_cast<std::uint64_t>(&on_stack)).module, "");
}

}  // namespace
}  // namespace futured::runtime
