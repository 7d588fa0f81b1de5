// Words of the command line, as the user typed them.
#include "client/cli/input.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace futured::cli {
namespace {

using Words = std::vector<std::string>;

// What is left of a verb's words when CLI11 has looked for options among them.
Words parsed(Words line) {
  CLI::App app("fut", "fut");
  app.fallthrough();
  app.require_subcommand(1);
  bool json = false;
  app.add_flag("--json", json);
  CLI::App& verb = *app.add_subcommand("call", "");
  std::string task;
  verb.add_option("task", task)->required();
  Words words;
  add_words(verb, "arguments", words, "");
  line.insert(line.begin(), {"call", "echo"});
  std::reverse(line.begin(), line.end());
  app.parse(line);
  EXPECT_EQ(task, "echo");
  return words;
}

TEST(Words, ArriveByteForByte) {
  for (const Words& words : {Words{"[1,2,3]"}, Words{"[]"}, Words{"[a", "b]"}, Words{"a,b"}, Words{"{}"}, Words{""},
                             Words{"%%"}, Words{"{}", "%%"}, Words{"-5", "", "[a b]"}, Words{"call", "echo"}}) {
    EXPECT_EQ(parsed(words), words);
  }
}

TEST(Words, MayBeNone) { EXPECT_EQ(parsed({}), Words{}); }

TEST(Words, OptionsAreFoundAmongThem) { EXPECT_EQ(parsed({"[1]", "--json", "[2]"}), (Words{"[1]", "[2]"})); }

TEST(Words, AnUnknownOptionIsNone) { EXPECT_THROW(parsed({"a", "--nosuch"}), CLI::ExtrasError); }

TEST(Factors, AreNumbersAboveOneWithinTheirBound) {
  const CLI::Validator factor = above_one(100);
  for (std::string word : {"1.5", "2", "100"}) EXPECT_EQ(factor(word), "") << word;
  for (std::string word : {"1", "0", "-2", "100.5", "inf", "nan", "1e9", "2x", ""}) EXPECT_NE(factor(word), "") << word;
}

}  // namespace
}  // namespace futured::cli
