// What of the configuration a callback may use.
#pragma once

#include <set>
#include <string>

namespace futured::rpc {

struct CallbackNames {
  std::set<std::string> secrets;
  std::set<std::string> tls;
  bool allow_private = false;  // webhooks to private addresses
};

}  // namespace futured::rpc
