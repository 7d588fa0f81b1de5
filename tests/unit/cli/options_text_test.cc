// A job's options in words.
#include "client/cli/options_text.h"

#include <gtest/gtest.h>

#include <vector>

#include "client/cli/callback_flags.h"

namespace futured::cli {
namespace {

using client::Milliseconds;

// As the daemon tells them of a job that was given none.
client::JobOptions plain_options() {
  client::JobOptions options;
  options.retries.max_attempts = 1;
  options.retries.factor = 2;
  options.retries.backoff_max = Milliseconds(3'600'000);
  options.timeouts.grace = Milliseconds(1'000);
  options.crashes_max = 3;
  return options;
}

client::CallbackInfo callback(const std::string& target) {
  client::CallbackInfo info;
  info.callback = parse_callback(target, "--callback");
  info.state = "WAITING";
  return info;
}

TEST(OptionsText, HasNothingOfWhatHoldsByItself) {
  for (const client::JobOptions& options : {plain_options(), client::JobOptions()}) {
    EXPECT_EQ(timeouts_text(options.timeouts), "");
    EXPECT_EQ(crashes_text(options), "");
  }
  EXPECT_EQ(retries_text(plain_options().retries), "");
  EXPECT_EQ(retries_text({}), "");
  EXPECT_EQ(callbacks_text({}), "");
}

TEST(OptionsText, NamesEveryTimeout) {
  const client::Timeouts timeouts = {.queue = Milliseconds(5'000),
                                     .soft = Milliseconds(60'000),
                                     .run = Milliseconds(120'000),
                                     .heartbeat = Milliseconds(1'500),
                                     .total = Milliseconds(3'600'000),
                                     .grace = Milliseconds(10'000)};
  EXPECT_EQ(timeouts_text(timeouts), "queue 5 s, run 2 min, soft 1 min, heartbeat 1 s 500 ms, total 1 h, grace 10 s");
}

TEST(OptionsText, NamesWhatIsSetOfRetries) {
  client::JobOptions options = plain_options();
  options.retries.max_attempts = 3;
  options.retries.backoff = Milliseconds(500);
  EXPECT_EQ(retries_text(options.retries), "3 attempts, backoff 500 ms");
  options.retries.factor = 1.5;
  options.retries.backoff_max = Milliseconds(60'000);
  options.retries.jitter = 0.1;
  EXPECT_EQ(retries_text(options.retries), "3 attempts, backoff 500 ms, factor 1.5, at most 1 min, jitter 0.1");
  options.retries = {.memory_factor = 1.5, .memory_bytes_max = 2'147'483'648};
  EXPECT_EQ(retries_text(options.retries), "1.5 times the memory up to 2.0 GiB");
  options.crashes_max = 1;
  EXPECT_EQ(crashes_text(options), "quarantined after 1 worker");
}

TEST(OptionsText, NamesTheFirstCallbacksAndHowManyThereAre) {
  std::vector<client::CallbackInfo> callbacks = {callback("https://example.org/done"), callback("sh:echo hi")};
  callbacks[1].callback.on = client::CompletionCallback::On::kFailure;
  EXPECT_EQ(callbacks_text(callbacks), "2: https://example.org/done (end, WAITING), sh:echo hi (failure, WAITING)");
  callbacks.assign(5, callback("task:noop"));
  EXPECT_TRUE(callbacks_text(callbacks).starts_with("5: task:noop (end, WAITING), "));
  EXPECT_TRUE(callbacks_text(callbacks).ends_with(", …"));
}

TEST(Callbacks, AreToldInTheFormThatTheyAreGivenIn) {
  for (const char* target :
       {"https://example.org/done", "grpc:unix:/run/me/listener", "task:noop", "sh:mail -s done me"}) {
    EXPECT_EQ(target_text(parse_callback(target, "--callback")), target);
  }
}

}  // namespace
}  // namespace futured::cli
