// The hostile job as a command: hostile WHAT TOKEN GATE.
#include <cstdio>

#include "tests/system/plugin/hostile.h"

int main(int count, char** arguments) {
  if (count != 4) return 2;
  std::fputs(hostile::commit({arguments[1], arguments[2], arguments[3]}).c_str(), stdout);
  return std::fflush(stdout);
}
