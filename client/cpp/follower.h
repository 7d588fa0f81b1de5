// Follower: asks the daemon for outcomes that do not come by themselves: futures taken up by id, and those whose
// stream broke. Internal. One Wait call serves many futures; a lost one is called again with the ids still open.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "base/time.h"
#include "client/cpp/convert.h"

namespace futured::client {

class ClientState;
class WaitCall;

class Follower {
 public:
  explicit Follower(ClientState& client) : client_(client) {}

  // The outcomes will come to the registry, or a refusal will.
  void follow(std::uint64_t id);
  void follow(const std::vector<std::uint64_t>& ids);
  // Ends all calls and waits for their end.
  void close();

 private:
  friend class WaitCall;
  void plan(Instant when);  // under mutex_
  void open_calls();        // on the keeper's thread
  void forget(WaitCall* call);
  void ended(const std::vector<std::uint64_t>& ids, bool answered, const grpc::Status& status);

  ClientState& client_;
  std::mutex mutex_;
  std::condition_variable none_;
  std::vector<std::uint64_t> pending_;
  std::unordered_set<WaitCall*> calls_;
  bool planned_ = false;
  bool joining_ = false;  // calls are being ended, to be opened again as one
  int ending_ = 0;        // calls whose end is being dealt with
  bool closing_ = false;
  Instant down_since_{0};
  std::int64_t backoff_ms_ = 0;
};

}  // namespace futured::client
