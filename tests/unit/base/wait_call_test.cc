#include "base/wait_call.h"

#include <gtest/gtest.h>

#include <random>

#include "base/child.h"
#include "base/limits.h"

namespace futured {
namespace {

WaitCall sample() {
  return {.kind = WaitCall::Kind::kWait, .wait = 7, .lends_permits = true, .jobs = {JobId{3}, JobId{UINT64_MAX}}};
}

TEST(WaitCall, SurvivesItsEncodingAndIsNoChild) {
  for (const WaitCall& call :
       {sample(), WaitCall{.kind = WaitCall::Kind::kGiveUp, .wait = UINT32_MAX},
        WaitCall{.kind = WaitCall::Kind::kRead, .jobs = {JobId{9}}, .offset = 640}, WaitCall{}}) {
    const std::string encoded = encode_wait_call(call);
    EXPECT_TRUE(is_wait_call(encoded));
    EXPECT_FALSE(check_encoded_child(encoded).ok());
    const auto decoded = decode_wait_call(encoded);
    ASSERT_TRUE(decoded.ok()) << decoded.error().message;
    EXPECT_EQ(*decoded, call);
  }
  EXPECT_FALSE(is_wait_call(encode_child({.task = "t"})));
  EXPECT_FALSE(is_wait_call(""));
}

TEST(WaitCall, FitsWhereACallFits) {
  WaitCall most = sample();
  most.jobs.assign(limits::kWaitJobsMax, JobId{UINT64_MAX});
  const std::string encoded = encode_wait_call(most);
  EXPECT_LE(encoded.size(), limits::kChildBytesMax);
  EXPECT_TRUE(check_wait_call(encoded).ok());
  most.jobs.push_back(JobId{1});
  EXPECT_FALSE(check_wait_call(encode_wait_call(most)).ok());
}

TEST(WaitCall, DamageIsRefused) {
  const std::string sound = encode_wait_call(sample());
  for (std::size_t size = 0; size < sound.size(); ++size) EXPECT_FALSE(check_wait_call(sound.substr(0, size)).ok());
  EXPECT_FALSE(check_wait_call(sound + "x").ok());
  EXPECT_FALSE(check_wait_call(encode_wait_call({.kind = WaitCall::Kind::kRead})).ok()) << "of no job";
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = sound;
    bytes[random() % bytes.size()] = static_cast<char>(random());
    (void)check_wait_call(bytes);
    (void)decode_outcome(bytes);
    (void)decode_page(bytes);
  }
}

TEST(WaitCall, AnOutcomeComesInPages) {
  const std::string result(5 * limits::kWaitPageBytesMax, 'r');
  const WaitedOutcome outcome{.state = 6,
                              .exit_code = 3,
                              .signal = 0,
                              .cause = "TASK_ERROR",
                              .error_class = "Broken",
                              .message = "it is",
                              .result = result};
  const std::string whole = encode_outcome(outcome);
  std::string read;
  std::size_t pages = 0;
  for (std::uint64_t total = 1; read.size() < total; ++pages) {
    const std::string page = encode_page(whole, read.size());
    ASSERT_LE(page.size(), 728u) << "it fits the reply table";
    const auto decoded = decode_page(page);
    ASSERT_TRUE(decoded.ok());
    total = decoded->total;
    read += decoded->bytes;
  }
  EXPECT_EQ(pages, 6u);
  const auto decoded = decode_outcome(read);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, outcome);
  EXPECT_TRUE(decode_page(encode_page(whole, whole.size() + 9))->bytes.empty()) << "behind the end there is nothing";
}

}  // namespace
}  // namespace futured
