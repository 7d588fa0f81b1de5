// HomeProcess: the process in which something was made. Threads, and gRPC, do not come along into a child of fork(), so
// whatever needs them refuses there. Internal; knows no gRPC.
#pragma once

#include <cstdint>

namespace futured::client {

class HomeProcess {
 public:
  HomeProcess();  // this one

  // False in a child that was forked since. What a mutex of ours guards may then be locked for ever.
  [[nodiscard]] bool is_here() const;
  // Throws Error of kind kFailedPrecondition in such a child.
  void check() const;

 private:
  std::uint32_t generation_;
};

}  // namespace futured::client
