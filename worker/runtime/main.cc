#include "worker/runtime/zygote.h"

int main(int argc, char** argv) { return futured::runtime::zygote_main(argc, argv); }
