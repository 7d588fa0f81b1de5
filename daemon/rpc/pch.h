// Precompiled for this folder: a translation unit that parses gRPC for itself costs 15 s.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_callback.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "futured/v1/futured.grpc.pb.h"
