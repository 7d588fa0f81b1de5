#include "daemon/callback/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstring>

namespace futured::callback {
namespace {

bool is_private_text(const char* text) {
  sockaddr_storage storage{};
  auto& in = reinterpret_cast<sockaddr_in&>(storage);
  auto& in6 = reinterpret_cast<sockaddr_in6&>(storage);
  if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
    storage.ss_family = AF_INET;
  } else {
    EXPECT_EQ(inet_pton(AF_INET6, text, &in6.sin6_addr), 1) << text;
    storage.ss_family = AF_INET6;
  }
  return is_private(reinterpret_cast<const sockaddr*>(&storage));
}

TEST(Address, OfTheMachineAndItsNetworkIsPrivate) {
  for (const char* text : {"127.0.0.1",
                           "127.255.255.254",
                           "10.1.2.3",
                           "172.16.0.1",
                           "172.31.255.255",
                           "192.168.1.1",
                           "169.254.169.254",
                           "100.64.0.1",
                           "0.0.0.0",
                           "224.0.0.1",
                           "255.255.255.255",
                           "198.18.0.1",
                           "::1",
                           "::",
                           "fe80::1",
                           "fc00::1",
                           "fd12::1",
                           "ff02::1",
                           "::ffff:127.0.0.1",
                           "::ffff:10.0.0.1",
                           "64:ff9b::7f00:1",
                           "2002:7f00:1::",
                           "2001:db8::1",
                           "2001::1",
                           "::127.0.0.1"}) {
    EXPECT_TRUE(is_private_text(text)) << text;
  }
}

TEST(Address, OfTheWorldIsNot) {
  for (const char* text : {"8.8.8.8", "1.1.1.1", "172.32.0.1", "172.15.0.1", "192.169.0.1", "100.128.0.1",
                           "169.253.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"}) {
    EXPECT_FALSE(is_private_text(text)) << text;
  }
}

TEST(Address, OfAUrlThatNamesNoHostIsLookedAtToo) {
  for (const char* url : {"http://127.0.0.1/", "http://127.1:8080/", "https://10.1.2.3/x", "http://[::1]/",
                          "http://[::ffff:10.0.0.1]:80/", "http://[fe80::1%25eth0]/"}) {
    EXPECT_TRUE(is_private_origin(*origin_of(url))) << url;
  }
  for (const char* url : {"http://localhost/", "http://example.org:127/", "https://93.184.216.34/",
                          "https://[2606:2800:220:1::1]/", "http://10.example.org/"}) {
    EXPECT_FALSE(is_private_origin(*origin_of(url))) << url;
  }
}

TEST(Address, OfAnotherFamilyIsPrivate) {
  const sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  EXPECT_TRUE(is_private(reinterpret_cast<const sockaddr*>(&address)));
}

TEST(Url, TellsWhereItLeads) {
  EXPECT_EQ(*origin_of("https://Example.org/a?b#c"), "https://example.org:443");
  EXPECT_EQ(*origin_of("http://example.org"), "http://example.org:80");
  EXPECT_EQ(*origin_of("http://[::1]:8080/x"), "http://[::1]:8080");
}

TEST(Url, IsRefusedWhenItCannotBeRight) {
  for (const char* url : {"", "example.org", "ftp://example.org/", "file:///etc/passwd", "http://", "http:///x",
                          "http://exa mple.org/", "http://example.org:99999/", "http://user:password@example.org/",
                          "http://user@example.org/", "http://example.org/\n", "gopher://x/", "http://[::1/"}) {
    EXPECT_FALSE(origin_of(url).ok()) << url;
  }
  EXPECT_FALSE(origin_of("http://example.org/" + std::string(3000, 'x')).ok());
}

TEST(Lane, IsTheSameForTheSameReceiver) {
  EXPECT_EQ(lane_of("https://example.org:443"), lane_of("https://example.org:443"));
  EXPECT_NE(lane_of("https://example.org:443"), lane_of("https://example.org:444"));
}

}  // namespace
}  // namespace futured::callback
