#include "daemon/ops/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

namespace futured::ops {
namespace {

using ::testing::HasSubstr;

class ConfigFile : public ::testing::Test {
 protected:
  Result<Config> read(const std::string& text) {
    const std::string path = ::testing::TempDir() + "futured_config_" + std::to_string(::getpid()) + ".toml";
    std::ofstream(path) << text;
    auto config = read_config(path);
    std::remove(path.c_str());
    return config;
  }
  std::string refusal(const std::string& text) {
    const auto config = read(text);
    return config.ok() ? "accepted" : config.error().message;
  }
};

TEST_F(ConfigFile, SampleIsReadAndSaysTheDefaults) {
  const auto config = read_config(FUTURED_SAMPLE_CONFIG);
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->socket, "/run/futured/futured.sock");
  EXPECT_EQ(config->compression_level, default_config().compression_level);
  ASSERT_EQ(config->pools.size(), default_config().pools.size());
  EXPECT_TRUE(check(*config).ok());
}

TEST_F(ConfigFile, PoolsAndQueuesAreRead) {
  const auto config = read(
      "[daemon]\nsocket = '/s'\nstate = '/d'\n"
      "[pools.gpu]\nsize = 3\nplugins = ['a.so']\nenv = { A = 'b' }\n[queues.night]\ndiscipline = 'priority'\n");
  ASSERT_TRUE(config.ok()) << config.error().message;
  ASSERT_EQ(config->pools.size(), 3U);
  EXPECT_EQ(config->pools[2].name, "gpu");
  EXPECT_EQ(config->pools[2].size, 3U);
  EXPECT_THAT(config->pools[2].env, ::testing::ElementsAre(::testing::Pair("A", "b")));
  EXPECT_EQ(config->queues.at(0).discipline, "priority");
}

TEST_F(ConfigFile, RetentionIsReadAndOnByDefault) {
  const auto none = read("");
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none->retention.age_ms, 7 * 86'400'000);
  EXPECT_EQ(none->retention.failed_age_ms, std::int64_t{30} * 86'400'000);
  EXPECT_EQ(none->retention.jobs_max, 10'000'000U);
  EXPECT_EQ(none->retention.bytes_max, std::uint64_t{20} << 30);
  const auto config = read("[retention]\nage = '36h'\nfailed_age = 'forever'\njobs_max = 5\nbytes_max = '1GiB'\n");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->retention.age_ms, 36 * 3'600'000);
  EXPECT_EQ(config->retention.failed_age_ms, 0);
  EXPECT_EQ(config->retention.jobs_max, 5U);
  EXPECT_EQ(config->retention.bytes_max, std::uint64_t{1} << 30);
  for (const char* const age : {"'0s'", "'-1d'", "'7 weeks'", "'d'", "7", "'9999999999999d'"}) {
    EXPECT_THAT(refusal(std::string("[retention]\nage = ") + age + "\n"), HasSubstr("[retention] age: must be a time"))
        << age;
  }
  EXPECT_THAT(refusal("[retention]\nages = '1d'\n"), HasSubstr("ages"));
}

TEST_F(ConfigFile, APoolMayHaveALeastAndAMost) {
  const auto size_of = [&](const std::string& size) {
    const auto config = read("[pools.p]\nsize = " + size + "\n");
    EXPECT_TRUE(config.ok()) << size << ": " << config.error().message;
    return std::pair(config->pools.back().size, config->pools.back().size_min);
  };
  EXPECT_EQ(size_of("'auto'"), std::pair(0U, UINT32_MAX));
  EXPECT_EQ(size_of("'2..8'"), std::pair(8U, 2U));
  EXPECT_EQ(size_of("'0..auto'"), std::pair(0U, 0U));
  EXPECT_EQ(size_of("'7'"), std::pair(7U, UINT32_MAX));
  for (const std::string wrong :
       {"'8..2'", "'..4'", "'1..'", "'a..b'", "'1..2..3'", "'-1..2'", "'1..99999'", "'0'", "''"}) {
    EXPECT_THAT(refusal("[pools.p]\nsize = " + wrong + "\n"), HasSubstr("\"1..8\"")) << wrong;
  }
  Config config = default_config();
  config.socket = "/s";
  config.state = "/d";
  config.pools[0].idle_ms = 0;
  EXPECT_THAT(check(config).error().message, HasSubstr("idle_ms: must be at least 1"));
}

TEST(PoolSize, MindsTheMemoryWhereItIsLeftToTheMachine) {
  PoolSection pool{.name = "p"};
  const std::uint32_t cores = workers_max(pool);
  EXPECT_GE(cores, 1U);
  pool.terms.memory_bytes_max = std::uint64_t{1} << 60;
  EXPECT_EQ(workers_max(pool), 1U);
  pool.terms.memory_bytes_max = 1;
  EXPECT_EQ(workers_max(pool), cores);
  pool.size = 5;
  EXPECT_EQ(workers_max(pool), 5U);
}

TEST_F(ConfigFile, CallbacksAreReadAndRefusePrivateTargetsUnlessToldOtherwise) {
  EXPECT_FALSE(default_config().callbacks.allow_private);
  EXPECT_EQ(default_config().callbacks.redirects_max, 0);
  const auto config = read(
      "[callbacks]\nallow_private = true\nredirects_max = 2\n[callbacks.secrets]\nci = 's3cret'\n"
      "[callbacks.tls.peer]\nca = '/ca.pem'\n");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_TRUE(config->callbacks.allow_private);
  EXPECT_EQ(config->callbacks.redirects_max, 2);
  EXPECT_EQ(config->callbacks.secrets.at("ci"), "s3cret");
  EXPECT_EQ(config->callbacks.tls.at("peer").ca, "/ca.pem");
  EXPECT_THAT(refusal("[callbacks]\nallow = true\n"), HasSubstr("[callbacks] allow: is not a setting"));
  EXPECT_THAT(refusal("[callbacks.secrets]\nci = 7\n"), HasSubstr("[callbacks.secrets] ci: must be a string"));
  EXPECT_THAT(refusal("[callbacks.tls.peer]\npem = 'x'\n"), HasSubstr("[callbacks.tls.peer] pem"));
}

TEST_F(ConfigFile, WhatIsWrongIsNamed) {
  EXPECT_THAT(refusal("[daemon]\nsokcet = '/s'\n"), HasSubstr("[daemon] sokcet: is not a setting"));
  EXPECT_THAT(refusal("[demon]\n"), HasSubstr("\"demon\" is not a section"));
  EXPECT_THAT(refusal("[daemon]\nsocket = 7\n"), HasSubstr("[daemon] socket: must be a string"));
  EXPECT_THAT(refusal("[pools.p]\nmode = 'quick'\n"),
              HasSubstr("[pools.p] mode: \"quick\": must be process, fresh, thread, async or command"));
  EXPECT_THAT(refusal("[pools.p]\nsize = 0\n"), HasSubstr("[pools.p] size: must be \"auto\", 1 to"));
  EXPECT_THAT(refusal("[queues.q]\ndiscipline = 'random'\n"), HasSubstr("[queues.q] discipline"));
  EXPECT_THAT(refusal("[daemon\n"), HasSubstr(":1:"));
}

TEST_F(ConfigFile, WhatWouldHaveNoEffectIsRefused) {
  for (const std::string mode : {"process", "fresh", "thread", "async"}) {
    EXPECT_THAT(refusal("[pools.command]\nmode = '" + mode + "'\n"), HasSubstr("[pools.command] mode: ")) << mode;
  }
  EXPECT_EQ(refusal("[pools.command]\nmode = 'command'\n"), "accepted");
  for (const std::string mode : {"thread", "async"}) {
    EXPECT_THAT(refusal("[pools.p]\nmode = '" + mode + "'\nleaks = 'replace'\n"),
                HasSubstr("[pools.p] leaks: the jobs of mode " + mode + " share one process"));
    PoolTerms terms{.mode = mode == "async" ? PoolMode::kAsync : PoolMode::kThread, .jobs_at_once = 2};
    EXPECT_TRUE(check(terms).ok());
    terms.leaks = Leaks::kIgnore;
    EXPECT_THAT(check(terms).error().message, HasSubstr("leaks: the jobs of mode " + mode)) << "its zygote minds too";
  }
  EXPECT_EQ(refusal("[pools.p]\nleaks = 'warn'\n"), "accepted");
  for (const std::string size : {"", "size = 4\n", "size = 'auto'\n", "size = '4..4'\n"}) {
    EXPECT_THAT(refusal("[pools.p]\nidle_ms = 100\n" + size),
                HasSubstr("[pools.p] idle_ms: this pool keeps all its workers"))
        << size;
  }
  EXPECT_EQ(refusal("[pools.p]\nidle_ms = 100\nsize = '0..auto'\n"), "accepted");
}

TEST(Config, CompressionIsNeverOrALevel) {
  Config config = default_config();
  config.socket = "/s";
  config.state = "/d";
  for (const std::int64_t level : {0, 1, 9}) {
    config.compression_level = level;
    EXPECT_TRUE(check(config).ok()) << level;
  }
  for (const std::int64_t level : {-1, 10}) {
    config.compression_level = level;
    EXPECT_THAT(check(config).error().message, HasSubstr("[daemon] compression_level: must be 0 (never) to 9"));
  }
}

TEST(Config, WithoutSocketOrStateItIsRefused) {
  Config config = default_config();
  EXPECT_THAT(check(config).error().message, HasSubstr("--socket"));
  config.socket = "/s";
  EXPECT_THAT(check(config).error().message, HasSubstr("--state"));
}

}  // namespace
}  // namespace futured::ops
