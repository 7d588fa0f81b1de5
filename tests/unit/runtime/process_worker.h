// A worker of mode process on a bench: it and its daemon take turns in one thread.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <functional>
#include <thread>

#include "base/child.h"
#include "base/payload.h"
#include "segment/array_type.h"
#include "tests/unit/channel/pair.h"
#include "worker/runtime/process_mode.h"

namespace futured::runtime {

using channel::DoneStatus;
using channel::HostEnd;
using channel::RunRequest;
using channel::TestSlot;

sdk::RegisteredTask task(std::string name, auto function) {
  return {std::move(name), "", "", sdk::wrap(std::move(function))};
}

struct Ended {
  DoneStatus status;
  std::string error_class;
  std::string message;
  bool no_retry;
  std::uint32_t retry_after_ms;
  std::string result;
  std::vector<Fd> descriptors;
};

// Worker and daemon take turns in one thread.
class ProcessWorkerTest : public ::testing::Test {
 protected:
  Ended run(auto function, std::string payload = {}, std::vector<int> segments = {}) {
    const std::vector<sdk::RegisteredTask> tasks{task("tested", function)};
    return run_with(tasks, std::move(payload), segments);
  }

  Ended run_with(std::span<const sdk::RegisteredTask> tasks, std::string payload, std::vector<int> segments = {},
                 std::uint32_t index = 0) {
    ProcessWorker worker(worker_end_, tasks);
    offer(std::move(payload), segments, index);
    work(worker);
    return read();
  }

  // The stop lies behind the job before the job begins.
  DoneStatus run_stopped(auto function) {
    const std::vector<sdk::RegisteredTask> tasks{task("stopped", function)};
    ProcessWorker worker(worker_end_, tasks);
    offer("");
    EXPECT_TRUE(host_.stop(channel::fence(next_job_ - 1), channel::StopReason::kCancel));
    host_.publish();
    work(worker);
    return read().status;
  }

  void offer(std::string payload, std::vector<int> segments = {}, std::uint32_t index = 0) {
    RunRequest request = channel::request(next_job_++, payload);
    request.task = index;
    request.descriptors = segments;
    ASSERT_TRUE(host_.offer(request));
    host_.publish();
  }

  void work(ProcessWorker& worker) {
    channel::Run run;
    ASSERT_EQ(worker_end_.try_next(run), channel::Intake::kRun);
    worker.run_one(run);
  }

  Ended read() {
    channel::Response response;
    while (host_.read(response) == channel::Read::kResponse) {
      auto* done = std::get_if<channel::Done>(&response);
      if (done == nullptr) continue;
      Ended ended{done->status,
                  std::string(done->error_class),
                  std::string(done->error_message),
                  done->no_retry,
                  done->retry_after_ms,
                  std::string(done->result),
                  {}};
      for (Fd& fd : done->descriptors) ended.descriptors.push_back(std::move(fd));
      host_.release(host_.cursor());
      return ended;
    }
    ADD_FAILURE() << "no DONE: " << host_.broken();
    return {};
  }

  static std::string first_part(const Ended& ended) {
    const auto parts = decode_parts(ended.result);
    return parts.ok() && !parts->empty() ? std::string((*parts)[0].bytes) : "(no part)";
  }

  TestSlot slot_;
  HostEnd host_ = slot_.host();
  channel::WorkerEnd worker_end_ = slot_.worker();
  std::uint64_t next_job_ = 1;
};

inline std::string one(std::string_view type, std::string_view value) {
  std::string encoded;
  append_part(encoded, {.content_type = type, .bytes = value});
  return encoded;
}

}  // namespace futured::runtime
