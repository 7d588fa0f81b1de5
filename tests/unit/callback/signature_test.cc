#include "daemon/callback/signature.h"

#include <gtest/gtest.h>

namespace futured::callback {
namespace {

// printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
TEST(Signature, IsTheHmacOfTimestampAndBody) {
  EXPECT_EQ(signature("secret", "1700000000", "{\"a\":1}"),
            "49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686");
  EXPECT_NE(signature("secret", "1700000001", "{\"a\":1}"), signature("secret", "1700000000", "{\"a\":1}"));
  EXPECT_NE(signature("other", "1700000000", "{\"a\":1}"), signature("secret", "1700000000", "{\"a\":1}"));
  EXPECT_EQ(signature("", "", "").size(), 64u);
}

}  // namespace
}  // namespace futured::callback
