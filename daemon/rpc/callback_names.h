// Names of the configuration that a callback may use.
#pragma once

#include <set>
#include <string>

namespace futured::rpc {

struct CallbackNames {
  std::set<std::string> secrets;
  std::set<std::string> tls;
};

}  // namespace futured::rpc
