// What the service manager is told. Without one, nothing happens.
#pragma once

#include <string_view>

namespace futured::ops {

void notify_ready(std::string_view status);
void notify_stopping();

}  // namespace futured::ops
