#include "tests/unit/runtime/process_worker.h"

namespace futured::runtime {
namespace {

TEST_F(ProcessWorkerTest, GivesBackWhatTheTaskReturned) {
  const Ended ended = run([](double a) { return a * 2; }, one("application/json", "21"));
  EXPECT_EQ(ended.status, DoneStatus::kSucceeded);
  EXPECT_EQ(first_part(ended), "42");
}

TEST_F(ProcessWorkerTest, AnExceptionBecomesItsClassAndMessage) {
  const Ended ended = run([] { throw std::out_of_range("index 7"); });
  EXPECT_EQ(ended.status, DoneStatus::kTaskError);
  EXPECT_EQ(ended.error_class, "std::out_of_range");
  EXPECT_EQ(ended.message, "index 7");
  EXPECT_FALSE(ended.no_retry);
}

TEST_F(ProcessWorkerTest, ATaskErrorSaysWhetherToRetry) {
  const Ended pointless = run([] { throw TaskError("NoSuchUser", "bob", Retry::kPointless); });
  EXPECT_EQ(pointless.error_class, "NoSuchUser");
  EXPECT_TRUE(pointless.no_retry);
  EXPECT_FALSE(run([] { throw TaskError("Busy", "later"); }).no_retry);
}

TEST_F(ProcessWorkerTest, DoNotRetryRefusesOne) {
  const Ended plain = run([] { throw DoNotRetry("bob is gone"); });
  EXPECT_EQ(plain.error_class, "DoNotRetry");
  EXPECT_EQ(plain.message, "bob is gone");
  EXPECT_TRUE(plain.no_retry);
  EXPECT_EQ(run([] { throw DoNotRetry("NoSuchUser", "bob"); }).error_class, "NoSuchUser");
}

TEST_F(ProcessWorkerTest, RetryAfterAsksForADelay) {
  const Ended later = run([] { throw RetryAfter(std::chrono::seconds(5), "Busy", "later"); });
  EXPECT_EQ(later.status, DoneStatus::kTaskError);
  EXPECT_EQ(later.error_class, "Busy");
  EXPECT_FALSE(later.no_retry);
  EXPECT_EQ(later.retry_after_ms, 5'000u);
  EXPECT_EQ(run([] { throw RetryAfter(std::chrono::milliseconds(0), "now"); }).retry_after_ms, 1u);
  EXPECT_EQ(run([] { throw RetryAfter(-std::chrono::hours(1), "earlier"); }).retry_after_ms, 1u);
  EXPECT_EQ(run([] { throw RetryAfter(std::chrono::hours(1'000'000), "never"); }).retry_after_ms, UINT32_MAX);
  EXPECT_EQ(run([] { throw std::runtime_error("plain"); }).retry_after_ms, 0u);
}

TEST_F(ProcessWorkerTest, SomethingThatIsNoExceptionIsStillCaught) {
  const Ended ended = run([] { throw 7; });
  EXPECT_EQ(ended.status, DoneStatus::kTaskError);
  EXPECT_EQ(ended.error_class, "int");
}

TEST_F(ProcessWorkerTest, WrongArgumentsAreABadPayload) {
  const auto add = [](int a, int b) { return a + b; };
  const Ended too_few = run(add, one("application/json", "1"));
  EXPECT_EQ(too_few.status, DoneStatus::kBadPayload);
  EXPECT_EQ(too_few.message, "the task takes 2 arguments, 1 given");
  EXPECT_TRUE(too_few.no_retry);
  const Ended wrong = run(add, one("application/json", "1") + one("text/plain", "two"));
  EXPECT_EQ(wrong.status, DoneStatus::kBadPayload);
  EXPECT_EQ(wrong.message, "argument 2 is not the integer that the task takes: two");
}

TEST_F(ProcessWorkerTest, AnUnknownTaskNumberIsRefused) {
  const std::vector<sdk::RegisteredTask> tasks{task("only", [] {})};
  EXPECT_EQ(run_with(tasks, "", {}, 1).status, DoneStatus::kUnknownTask);
}

TEST_F(ProcessWorkerTest, DamagedPayloadIsABadPayload) {
  EXPECT_EQ(run([](Parts) {}, "\x07garbage").status, DoneStatus::kBadPayload);
}

TEST_F(ProcessWorkerTest, StoppedCountsOnlyWhenItWasAsked) {
  EXPECT_EQ(run([] { throw Stopped(); }).status, DoneStatus::kTaskError);

  const DoneStatus status = run_stopped([](Context& context) {
    while (context.wait_for(std::chrono::seconds(20))) {
    }
    context.throw_if_stopped();
  });
  EXPECT_EQ(status, DoneStatus::kStopped);
}

TEST_F(ProcessWorkerTest, AStopWakesATaskThatWaitsWithOffersBehindIt) {
  const std::vector<sdk::RegisteredTask> tasks{
      task("waits", [](Context& context) { return context.wait_for(std::chrono::seconds(20)) ? "slept" : "woken"; })};
  ProcessWorker worker(worker_end_, tasks);
  offer("");
  const Fence first = channel::fence(next_job_ - 1);
  offer("");
  offer("");
  std::thread daemon([&] {
    while (host_.find(first)->state != channel::RunState::kTaken) std::this_thread::yield();
    ASSERT_TRUE(host_.stop(first, channel::StopReason::kCancel));
    host_.publish();
  });
  const Instant began = monotonic_now();
  work(worker);
  daemon.join();
  EXPECT_EQ(first_part(read()), "woken");
  EXPECT_LT(monotonic_now() - began, std::chrono::seconds(10));
}

// The daemon's end on a thread of its own, until the task is over: answers each call with `answer`.
class Answering {
 public:
  Answering(HostEnd& host, std::function<channel::Answer(const ChildRequest&)> answer)
      : thread_([this, &host, answer = std::move(answer)] {
          channel::Response response;
          while (!over_) {
            if (host.read(response) != channel::Read::kResponse) {
              std::this_thread::yield();
              continue;
            }
            if (const auto* call = std::get_if<channel::Call>(&response)) {
              host.answer(call->id, answer(*decode_child(call->request)));
            }
            over_ = std::get_if<channel::Done>(&response) != nullptr;
            if (over_) result_ = std::get<channel::Done>(response).result;
          }
        }) {}
  // The encoded result.
  [[nodiscard]] std::string result() {
    thread_.join();
    return result_;
  }

 private:
  std::atomic<bool> over_{false};
  std::string result_;
  std::thread thread_;
};

TEST_F(ProcessWorkerTest, ATaskSubmitsJobsAndIsToldTheirNumbers) {
  const std::vector<sdk::RegisteredTask> tasks{task("submits", [](Context& context) {
    std::string numbers;
    for (int i = 0; i < 3; ++i) {
      const std::uint64_t child = context.submit("resize", std::tuple("a.png", i), {.queue = "q", .priority = -i});
      numbers += std::to_string(child) + " ";
    }
    return numbers;
  })};
  ProcessWorker worker(worker_end_, tasks);
  offer("");
  std::string seen;
  Answering daemon(host_, [&](const ChildRequest& asked) {
    const auto parts = decode_parts(asked.payload);
    seen += std::string(asked.task) + "@" + std::string(asked.queue) + " " + std::string((*parts)[0].bytes) + " " +
            std::string((*parts)[1].bytes) + " " + std::to_string(asked.priority) + "; ";
    return channel::Answer{.job = JobId{41 + static_cast<std::uint64_t>(-asked.priority)}};
  });
  work(worker);
  const std::string result = daemon.result();
  EXPECT_EQ((*decode_parts(result))[0].bytes, "41 42 43 ");
  EXPECT_EQ(seen, "resize@q a.png 0 0; resize@q a.png 1 -1; resize@q a.png 2 -2; ");
}

TEST_F(ProcessWorkerTest, ARefusalOfAJobIsThrown) {
  const std::vector<sdk::RegisteredTask> tasks{task("refused", [](Context& context) -> std::string {
    try {
      context.submit("nothing");
    } catch (const SubmitError& error) {
      return error.error_class() + ": " + error.what();
    }
    return "taken";
  })};
  ProcessWorker worker(worker_end_, tasks);
  offer("");
  Answering daemon(host_, [](const ChildRequest&) { return channel::Answer{{}, "NOT_FOUND", "no task \"nothing\""}; });
  work(worker);
  const std::string result = daemon.result();
  EXPECT_EQ((*decode_parts(result))[0].bytes, "NOT_FOUND: no task \"nothing\"");
}

TEST_F(ProcessWorkerTest, AJobThatCannotBeSentIsRefusedAtOnceAndNamesTheBound) {
  for (const std::size_t bytes : {limits::kChildPayloadBytesMax - 10, limits::kChildPayloadBytesMax + 1}) {
    const Ended ended = run([&](Context& context) { context.submit("t", std::string(bytes, 'x')); });
    EXPECT_EQ(ended.status, DoneStatus::kTaskError);
    EXPECT_EQ(ended.error_class, "INVALID_ARGUMENT");
    EXPECT_NE(ended.message.find(std::to_string(limits::kChildPayloadBytesMax)), std::string::npos) << ended.message;
    EXPECT_TRUE(ended.no_retry);
  }
  EXPECT_EQ(run([](Context& context) { context.submit(""); }).error_class, "INVALID_ARGUMENT");
  const auto negative = [](Context& context) {
    context.submit("t", 1, {.run_timeout = std::chrono::milliseconds(-1)});
  };
  EXPECT_EQ(run(negative).error_class, "INVALID_ARGUMENT");
}

TEST_F(ProcessWorkerTest, AStopEndsTheWaitForAnAnswer) {
  const std::vector<sdk::RegisteredTask> tasks{task("waits", [](Context& context) { context.submit("child"); })};
  ProcessWorker worker(worker_end_, tasks);
  offer("");
  const Fence asks = channel::fence(next_job_ - 1);
  std::thread daemon([&] {
    channel::Response response;
    while (host_.read(response) != channel::Read::kResponse) std::this_thread::yield();
    ASSERT_NE(std::get_if<channel::Call>(&response), nullptr);
    ASSERT_TRUE(host_.stop(asks, channel::StopReason::kCancel));
    host_.publish();
  });
  work(worker);
  daemon.join();
  EXPECT_EQ(read().status, DoneStatus::kStopped);
}

TEST_F(ProcessWorkerTest, ACoroutineAwaitsItsSubmits) {
  const auto submits = [](AsyncContext& context) -> Async<std::string> {
    std::string seen;
    for (int i = 0; i < 3; ++i) {
      const SubmitOptions options{.priority = i};
      try {
        const std::uint64_t child = co_await context.submit("resize", i, options);
        seen += std::to_string(child) + " ";
      } catch (const SubmitError& error) {
        seen += error.error_class() + " ";
      }
    }
    co_return seen;
  };
  const std::vector<sdk::RegisteredTask> tasks{sdk::RegisteredTask{"submits", "", "", {}, sdk::wrap_async(submits)}};
  ProcessWorker worker(worker_end_, tasks);
  offer("");
  Answering daemon(host_, [](const ChildRequest& asked) {
    if (asked.priority == 1) return channel::Answer{{}, "NOT_FOUND", "no task"};
    return channel::Answer{.job = JobId{41 + static_cast<std::uint64_t>(asked.priority)}};
  });
  work(worker);
  const std::string result = daemon.result();
  EXPECT_EQ((*decode_parts(result))[0].bytes, "41 NOT_FOUND 43 ");
}

TEST_F(ProcessWorkerTest, AStopEndsEverySubmitOfACoroutine) {
  int stops = 0;
  const auto submits = [&stops](AsyncContext& context) -> Async<> {
    for (int i = 0; i < 2; ++i) {
      try {
        co_await context.submit("child");
      } catch (const Stopped&) {
        ++stops;
      }
    }
    throw Stopped();
  };
  const std::vector<sdk::RegisteredTask> tasks{sdk::RegisteredTask{"submits", "", "", {}, sdk::wrap_async(submits)}};
  ProcessWorker worker(worker_end_, tasks);
  offer("");
  const Fence asks = channel::fence(next_job_ - 1);
  std::thread daemon([&] {
    channel::Response response;
    while (host_.read(response) != channel::Read::kResponse) std::this_thread::yield();
    ASSERT_NE(std::get_if<channel::Call>(&response), nullptr);
    ASSERT_TRUE(host_.stop(asks, channel::StopReason::kCancel));
    host_.publish();
  });
  work(worker);
  daemon.join();
  EXPECT_EQ(read().status, DoneStatus::kStopped);
  EXPECT_EQ(stops, 2);
  EXPECT_FALSE(host_.is_broken()) << host_.broken();
}

TEST_F(ProcessWorkerTest, KnowsItsDeadline) {
  const auto left_ms = [](Context& context) -> std::int64_t {
    const auto deadline = context.deadline();
    if (!deadline) return -1;
    return std::chrono::duration_cast<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now()).count();
  };
  EXPECT_EQ(first_part(run(left_ms)), "-1");
  const std::vector<sdk::RegisteredTask> tasks{task("limited", left_ms)};
  ProcessWorker worker(worker_end_, tasks);
  RunRequest request = channel::request(next_job_++);
  request.run_timeout = std::chrono::minutes(1);
  ASSERT_TRUE(host_.offer(request));
  host_.publish();
  work(worker);
  const int left = std::stoi(first_part(read()));
  EXPECT_GT(left, 30'000);
  EXPECT_LE(left, 60'000);
}

TEST_F(ProcessWorkerTest, KnowsWhoItIs) {
  const std::vector<sdk::RegisteredTask> tasks{task("who", [](Context& context) {
    return std::to_string(context.job_id()) + " " + std::to_string(context.epoch()) + " " +
           std::to_string(context.attempt()) + " " + std::to_string(context.jobs_run_before());
  })};
  ProcessWorker worker(worker_end_, tasks);
  offer("");
  work(worker);
  EXPECT_EQ(first_part(read()), "1 7 1 0");
  offer("");
  work(worker);
  EXPECT_EQ(first_part(read()), "2 7 1 1");
}

TEST_F(ProcessWorkerTest, EmitsProgressAndLogsReachTheDaemonInOrder) {
  const std::vector<sdk::RegisteredTask> tasks{task("talks", [](Context& context) {
    context.emit("one");
    context.progress(1, 2, "half");
    context.emit("two");
    context.log(LogLevel::kWarning, "look");
  })};
  ProcessWorker worker(worker_end_, tasks);
  offer("");
  work(worker);
  channel::Response response;
  std::string seen;
  while (host_.read(response) == channel::Read::kResponse) {
    if (const auto* emit = std::get_if<channel::Emit>(&response)) {
      const bool is_log = emit->stream == 4;
      const std::string_view text = is_log ? emit->data.substr(sizeof("2026-11-27T08:00:00.123Z")) : emit->data;
      seen += (is_log ? "log@" : "emit@") + std::to_string(emit->offset) + ":" + std::string(text) + " ";
    } else if (const auto* progress = std::get_if<channel::Progress>(&response)) {
      seen += "progress:" + std::string(progress->message) + " ";
    } else if (std::holds_alternative<channel::Done>(response)) {
      seen += "done";
    }
  }
  EXPECT_EQ(seen, "emit@0:one progress:half emit@3:two log@0:WARNING look\n done");
}

TEST_F(ProcessWorkerTest, WhatATaskEmitsAndLogsIsKeptBehindItsResultAlsoWhenItFails) {
  const Ended ended = run([](Context& context) -> int {
    context.emit("chunk");
    context.log(LogLevel::kError, "no good\n");
    throw TaskError("Failed", "on purpose");
  });
  EXPECT_EQ(ended.status, DoneStatus::kTaskError);
  const auto parts = decode_parts(ended.result);
  ASSERT_TRUE(parts.ok());
  ASSERT_EQ(parts->size(), 2u);
  EXPECT_EQ((*parts)[0].content_type, "application/x-futured-emitted");
  EXPECT_EQ((*parts)[0].bytes, "chunk");
  EXPECT_EQ((*parts)[1].content_type, "application/x-futured-log");
  EXPECT_TRUE((*parts)[1].bytes.ends_with(" ERROR no good\n")) << (*parts)[1].bytes;
}

TEST_F(ProcessWorkerTest, ProgressInAnInnerLoopIsSentAsFarAsItCanBeSeen) {
  const std::vector<sdk::RegisteredTask> tasks{task("loops", [](Context& context) {
    for (std::uint64_t i = 0; i <= 100'000; ++i) context.progress(i, 100'000);
    context.progress(0.5, "back");
  })};
  ProcessWorker worker(worker_end_, tasks);
  offer("");
  work(worker);
  channel::Response response;
  std::vector<channel::Progress> seen;
  while (host_.read(response) == channel::Read::kResponse) {
    if (const auto* progress = std::get_if<channel::Progress>(&response)) seen.push_back(*progress);
  }
  EXPECT_LE(seen.size(), 1'200u);
  ASSERT_GE(seen.size(), 1'000u);
  EXPECT_EQ(seen[seen.size() - 2].done, 100'000u);
  EXPECT_EQ(seen.back().done * 2, seen.back().total);
}

TEST_F(ProcessWorkerTest, EverySignOfLifeIsSeenByTheDaemon) {
  const auto alive_after = [this](auto sign) {
    Instant before;
    Instant after;
    const std::vector<sdk::RegisteredTask> tasks{task("lives", [&](Context& context) {
      before = host_.head()->alive_at;
      sign(context);
      after = host_.head()->alive_at;
    })};
    ProcessWorker worker(worker_end_, tasks);
    offer("");
    work(worker);
    static_cast<void>(read());
    return before.ns == 0 && after.ns != 0;
  };
  EXPECT_TRUE(alive_after([](Context& context) { context.heartbeat(); }));
  EXPECT_TRUE(alive_after([](Context& context) { context.progress(1, 2); }));
  EXPECT_TRUE(alive_after([](Context& context) { context.emit("x"); }));
  EXPECT_TRUE(alive_after([](Context& context) { context.log(LogLevel::kInfo, "x"); }));
  EXPECT_FALSE(alive_after([](Context& context) { static_cast<void>(context.stop_requested()); }));
}

// ---- Processes ------------------------------------------------------------------------------------------------------

// As a worker is: what is orphaned below it becomes its child.
class ProcessTreeTest : public ProcessWorkerTest {
 protected:
  ProcessTreeTest() { EXPECT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0); }
  ~ProcessTreeTest() override { ::prctl(PR_SET_CHILD_SUBREAPER, 0); }

  static bool is_gone(pid_t pid) { return pid > 0 && ::kill(pid, 0) == -1 && errno == ESRCH; }
};

// A process in a session of its own, orphaned, that would outlive everything; returns once it runs.
pid_t leave_sleeper() {
  int ends[2];
  if (::pipe(ends) != 0) return -1;
  if (::fork() == 0) {
    ::setsid();
    if (::fork() != 0) ::_exit(0);
    const pid_t self = ::getpid();
    if (::write(ends[1], &self, sizeof self) != sizeof self) ::_exit(1);
    for (;;) ::pause();
  }
  pid_t left = -1;
  if (::read(ends[0], &left, sizeof left) != sizeof left) left = -1;
  ::close(ends[0]);
  ::close(ends[1]);
  return left;
}

TEST_F(ProcessTreeTest, WhatATaskLeavesHasEndedWhenItReturns) {
  pid_t left = 0;
  EXPECT_EQ(run([&] { left = leave_sleeper(); }).status, DoneStatus::kSucceeded);
  EXPECT_TRUE(is_gone(left)) << left;
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a zombie is left";
}

TEST_F(ProcessTreeTest, WhatATaskLeavesHasEndedWhenItThrows) {
  pid_t left = 0;
  const auto leave = [&] {
    left = leave_sleeper();
    throw std::runtime_error("after that");
  };
  EXPECT_EQ(run(leave).status, DoneStatus::kTaskError);
  EXPECT_TRUE(is_gone(left)) << left;
}

TEST_F(ProcessTreeTest, WhatATaskLeavesHasEndedWhenItHeedsItsStop) {
  pid_t left = 0;
  const DoneStatus status = run_stopped([&](Context& context) {
    left = leave_sleeper();
    while (context.wait_for(std::chrono::seconds(20))) {
    }
    context.throw_if_stopped();
  });
  EXPECT_EQ(status, DoneStatus::kStopped);
  EXPECT_TRUE(is_gone(left)) << left;
}

// Not through fork(): popen is a posix_spawn.
TEST_F(ProcessTreeTest, WhatAShellOfATaskLeavesHasEnded) {
  pid_t left = 0;
  const Ended ended = run([&] {
    std::FILE* const shell = ::popen("sleep 60 </dev/null >/dev/null 2>&1 & echo $!", "r");
    if (std::fscanf(shell, "%d", &left) != 1) left = 0;
    ::pclose(shell);
  });
  EXPECT_EQ(ended.status, DoneStatus::kSucceeded);
  EXPECT_TRUE(is_gone(left)) << left;
}

TEST_F(ProcessWorkerTest, ATaskThatClosesTheChannelsDescriptorsEndsItsWorker) {
  const std::vector<sdk::RegisteredTask> tasks{task("closes", [&] { ::close(worker_end_.wake_fd()); })};
  PoolTerms terms;
  terms.leaks = Leaks::kIgnore;  // else it would be replaced for that
  ProcessWorker worker(worker_end_, tasks, {}, terms);
  offer("");
  EXPECT_EQ(worker.work(), 1);
  EXPECT_EQ(read().status, DoneStatus::kSucceeded) << "its report was made before";
}

TEST_F(ProcessWorkerTest, ATaskThatGetsNoMemoryIsOutOfMemoryAndMayBeTriedAgain) {
  const Ended ended = run([](Context& context) {
    return context.make_array<double>({std::uint64_t{1} << 40, std::uint64_t{1} << 40});
  });
  EXPECT_EQ(ended.status, DoneStatus::kOutOfMemory);
  EXPECT_EQ(ended.error_class, "std::bad_alloc");
  EXPECT_FALSE(ended.no_retry);
}

TEST_F(ProcessWorkerTest, OneFailureLeavesNothingToTheNextJob) {
  const std::vector<sdk::RegisteredTask> tasks{task("fails",
                                                    [](Context& context) -> Array<double> {
                                                      auto array = context.make_array<double>({100'000});
                                                      throw std::runtime_error("after " + std::to_string(array.size()));
                                                    }),
                                               task("works", [] { return 1; })};
  ProcessWorker worker(worker_end_, tasks);
  offer("", {}, 0);
  offer("", {}, 1);
  work(worker);
  work(worker);
  EXPECT_EQ(read().status, DoneStatus::kTaskError);
  const Ended second = read();
  EXPECT_EQ(first_part(second), "1");
  EXPECT_TRUE(second.descriptors.empty());
}

}  // namespace
}  // namespace futured::runtime
