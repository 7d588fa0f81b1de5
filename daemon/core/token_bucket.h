// TokenBucket: how a rate limit counts starts.
#pragma once

#include <algorithm>

#include "base/time.h"
#include "daemon/core/queue_options.h"

namespace futured {

// `burst` tokens at most, so many after a pause. Whoever waited for a token and came late for it, by less than the time
// of one, finds the rest of that time counted: else every late timer would take something off the rate.
class TokenBucket {
 public:
  TokenBucket(const RateLimit& rate, double tokens, Instant now) : rate_(rate), tokens_(tokens), at_(now) {
    tokens_ = std::min(tokens_, burst());
  }

  [[nodiscard]] bool has_token(Instant now) const { return tokens_at(now) >= kOne; }
  [[nodiscard]] bool is_full(Instant now) const { return tokens_at(now) >= burst(); }
  // has_token(now).
  void take(Instant now) {
    settle(now);
    tokens_ -= 1;
  }
  // Of a start that did not happen.
  void give_back() { tokens_ = std::min(tokens_ + 1, std::max(tokens_, burst())); }
  // !has_token(now): somebody waits from now on, until the time that is returned.
  [[nodiscard]] Instant await(Instant now) {
    settle(now);
    is_awaited_ = true;
    const double ns = (1 - tokens_) * static_cast<double>(rate_.per.count()) / rate_.starts;
    return now + Duration(std::max<std::int64_t>(1, static_cast<std::int64_t>(std::min(ns, kLongestNs)) + 1));
  }
  void set_rate(const RateLimit& rate, Instant now) {
    settle(now);
    rate_ = rate;
    tokens_ = std::min(tokens_, burst());
  }

 private:
  static constexpr double kOne = 1 - 1e-9;    // tokens are counted in floating point
  static constexpr double kLongestNs = 1e15;  // eleven days, after which it is looked at again

  [[nodiscard]] double burst() const { return std::max<double>(rate_.burst, 1); }
  [[nodiscard]] double tokens_at(Instant now) const {
    const double gained =
        static_cast<double>((now - at_).count()) * rate_.starts / static_cast<double>(rate_.per.count());
    const double all = tokens_ + std::max(gained, 0.0);
    if (is_awaited_ && all < burst() + kOne) return all;
    return std::min(all, burst());
  }
  void settle(Instant now) {
    tokens_ = tokens_at(now);
    if (tokens_ == burst()) is_awaited_ = false;
    at_ = std::max(at_, now);
  }

  RateLimit rate_;
  double tokens_;
  Instant at_;
  bool is_awaited_ = false;
};

}  // namespace futured
