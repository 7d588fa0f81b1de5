// One run of a command, from its payload to its outcome.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/command.h"
#include "base/out_of_memory.h"
#include "base/payload.h"
#include "worker/channel/worker_end.h"
#include "worker/runtime/command_mode.h"
#include "worker/runtime/command_spawn.h"
#include "worker/runtime/descendants.h"
#include "worker/runtime/own_limits.h"

namespace futured::runtime {

// What a report is made of; owns what channel::Outcome only views.
struct CommandOutcome {
  channel::DoneStatus status = channel::DoneStatus::kSucceeded;
  std::string error_class;
  std::string error_message;  // of a success: what is missing of its output
  bool no_retry = false;
  bool stacks_kept = false;
  int exit_code = 0;
  int signal = 0;
  Usage usage;
  std::string result;  // encoded parts
};

class CommandRun {
 public:
  CommandRun(channel::WorkerEnd& end, const CommandOptions& options, OutOfMemoryWatch& memory, const OwnLimits& limits,
             channel::Run& run);

  // Starts the command, waits for its end, kills what it left. Once.
  [[nodiscard]] CommandOutcome execute();
  // The lifeline closed meanwhile. Nothing of the command is left, and its outcome says nothing: it is not to be
  // reported.
  [[nodiscard]] bool is_orphaned() const { return is_orphaned_; }

 private:
  struct Stream {
    Fd pipe;
    std::uint32_t number;  // 1 stdout, 2 stderr
    OutputCapture capture;
    std::uint64_t emitted = 0;  // up to where its bytes were sent, or given up
  };

  [[nodiscard]] bool prepare(CommandOutcome& outcome);
  [[nodiscard]] Status open_stdin(const Part& part);
  [[nodiscard]] bool start(CommandOutcome& outcome);
  [[nodiscard]] bool make_directory(CommandOutcome& outcome);
  void follow_until_end();
  [[nodiscard]] bool look_for_stop();
  void tell_stacks_and_kill();
  void drain(Stream& stream);
  void emit(Stream& stream, std::string_view bytes);
  void emit_backlog();
  [[nodiscard]] Duration patience() const;
  void reap(CommandOutcome& outcome);
  void describe_ending(int wait_status, CommandOutcome& outcome) const;
  void blame_memory(CommandOutcome& outcome) const;
  void write_result(CommandOutcome& outcome);
  static void tell_loss(const Stream& stream, CommandOutcome& outcome);

  channel::WorkerEnd& end_;
  const CommandOptions& options_;
  OutOfMemoryWatch& memory_;
  const OwnLimits& limits_;
  channel::Run& run_;
  Command command_;
  Fd stdin_;
  std::string directory_;  // made for this run; empty: none is
  Stream stdout_;
  Stream stderr_;
  Spawned child_;
  bool stopping_ = false;
  bool stacks_kept_ = false;
  bool is_orphaned_ = false;
  bool is_live_ = false;  // output is sent as it comes
  bool daemon_is_slow_ = false;
};

// For the worker's SIGTERM handler: asks the command that runs now to end. False: none runs.
[[nodiscard]] bool terminate_current_command();

}  // namespace futured::runtime
