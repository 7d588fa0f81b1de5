// ClientTest: a client connected to a daemon that lives in this process.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <string>

#include "futured/client.h"
#include "tests/unit/client/fake_daemon.h"

namespace futured::test {

class ClientTest : public testing::Test {
 protected:
  ClientTest() : daemon_(socket_path()), client_(connect()) {}

  static std::string socket_path() {
    static std::atomic<int> number{0};
    return testing::TempDir() + "fut-" + std::to_string(::getpid()) + "-" + std::to_string(number++) + ".sock";
  }
  client::Client connect() {
    using namespace std::chrono_literals;
    return client::Client::connect(daemon_.address(), {.connect_timeout = 2s, .reconnect_timeout = 10s});
  }

  FakeDaemon daemon_;
  client::Client client_;
};

}  // namespace futured::test
