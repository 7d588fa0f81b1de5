#include "worker/runtime/command_run.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/limits.h"
#include "base/payload.h"
#include "segment/memory.h"
#include "worker/runtime/command_stacks.h"
#include "worker/runtime/spool.h"

namespace futured::runtime {

namespace {

using channel::DoneStatus;

constexpr std::size_t kReadBytes = 64 * 1024;  // what a pipe holds
constexpr int kReadsMax = 32;                  // two mebibytes, more than a command may make its pipe hold
// A command that ends sooner sends its output once, in its report, unless somebody watches from the start.
constexpr Duration kQuietTime = std::chrono::milliseconds(100);
// One that ends sooner is not listened to at all before: its pipes would wake us when it closes them, its end again.
constexpr Duration kDeafTime = std::chrono::milliseconds(1);
// A watched command waits this long for a daemon that has no room; then its live output has a gap.
constexpr Duration kEmitPatience = std::chrono::milliseconds(200);

// Read and written by the SIGTERM handler, in the one thread there is.
volatile std::sig_atomic_t g_command_runs = 0;
volatile std::sig_atomic_t g_command_pid = 0;
volatile std::sig_atomic_t g_must_end = 0;

// SIGTERM waits, but for where the mask is as it was before: between a look at g_must_end and the sleep after it, its
// handler would wake nobody.
class TermBlocked {
 public:
  TermBlocked() {
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &before_);
  }
  TermBlocked(const TermBlocked&) = delete;
  TermBlocked& operator=(const TermBlocked&) = delete;
  ~TermBlocked() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  [[nodiscard]] const sigset_t& before() const { return before_; }

 private:
  sigset_t before_{};
};

struct Pipe {
  Fd read_end;
  Fd write_end;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return system_error("pipe");
  Pipe made{Fd(ends[0]), Fd(ends[1])};
  // Ours alone: the command's end must block as programs expect.
  if (fcntl(made.read_end.get(), F_SETFL, O_NONBLOCK) != 0) return system_error("fcntl");
  return made;
}

void refuse(CommandOutcome& outcome, DoneStatus status, std::string_view error_class, std::string message) {
  outcome.status = status;
  outcome.error_class = error_class;
  outcome.error_message = std::move(message);
  outcome.no_retry = status != DoneStatus::kWorkerError;
}

}  // namespace

bool terminate_current_command() {
  if (g_command_runs == 0) return false;
  g_must_end = 1;
  if (g_command_pid > 0) kill(-g_command_pid, SIGTERM);
  return true;
}

CommandRun::CommandRun(channel::WorkerEnd& end, const CommandOptions& options, OutOfMemoryWatch& memory,
                       const OwnLimits& limits, channel::Run& run)
    : end_(end),
      options_(options),
      memory_(memory),
      limits_(limits),
      run_(run),
      stdout_{{}, 1, {spool_path(options.spool_directory, run.fence, "stdout"), options.capture}},
      stderr_{{}, 2, {spool_path(options.spool_directory, run.fence, "stderr"), options.capture}},
      is_live_(run.follow) {}

CommandOutcome CommandRun::execute() {
  CommandOutcome outcome;
  if (!prepare(outcome)) return outcome;
  g_must_end = 0;
  g_command_runs = 1;
  if (start(outcome)) {
    follow_until_end();
    reap(outcome);
  }
  // Before the outcome is told: an attempt that has ended has left nothing on the disk either.
  if (!directory_.empty()) options_.directory->leave();
  g_command_pid = 0;
  g_command_runs = 0;
  return outcome;
}

bool CommandRun::prepare(CommandOutcome& outcome) {
  const auto parts = decode_parts(run_.payload);
  if (!parts) {
    refuse(outcome, DoneStatus::kBadPayload, "InvalidCommand", parts.error().message);
    return false;
  }
  if (parts->empty() || parts->size() > 2 || (*parts)[0].content_type != kCommandType ||
      (*parts)[0].kind != PartKind::kInline) {
    refuse(outcome, DoneStatus::kBadPayload, "InvalidCommand", "the payload is not a command line and its input");
    return false;
  }
  auto command = decode_command((*parts)[0].bytes);
  if (!command) {
    refuse(outcome, DoneStatus::kBadPayload, "InvalidCommand", command.error().message);
    return false;
  }
  command_ = std::move(*command);
  if (const Status sound = check_command(command_); !sound) {
    refuse(outcome, DoneStatus::kStartFailed, "InvalidCommand", sound.error().message);
    return false;
  }
  const Status input = open_stdin(parts->size() == 2 ? (*parts)[1] : Part{});
  if (!input) refuse(outcome, DoneStatus::kWorkerError, "StandardInput", input.error().message);
  return input.ok();
}

// A file in memory rather than a pipe: nobody has to keep filling it, and the command may seek.
Status CommandRun::open_stdin(const Part& part) {
  if (part.kind == PartKind::kInline && part.bytes.empty()) {
    stdin_ = Fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!stdin_.is_open()) return system_error("open /dev/null");
    return {};
  }
  std::string_view bytes = part.bytes;
  Mapping mapping;
  if (part.kind == PartKind::kSegment) {
    if (run_.descriptors.size() != 1)
      return Error{ErrorCode::kDataLoss, "the segment of standard input did not arrive"};
    auto segment = adopt_segment(std::move(run_.descriptors[0]));
    if (!segment) return segment.error();
    if (part.end > segment->size) return Error{ErrorCode::kInvalidArgument, "standard input ends after its segment"};
    if (part.begin == 0 && part.end == segment->size) {
      // Opened anew, for a file position that nobody else moves.
      const std::string path = "/proc/self/fd/" + std::to_string(segment->descriptor.get());
      stdin_ = Fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (stdin_.is_open()) return {};
    }
    auto mapped = map_segment(*segment);
    if (!mapped) return mapped.error();
    mapping = std::move(*mapped);
    bytes = {reinterpret_cast<const char*>(mapping.data()) + part.begin, part.end - part.begin};
  }
  stdin_ = Fd(memfd_create("futured-stdin", MFD_CLOEXEC));
  if (!stdin_.is_open()) return system_error("memfd_create");
  for (std::string_view rest = bytes; !rest.empty();) {
    const ssize_t written = write(stdin_.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return system_error("write standard input");
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  if (lseek(stdin_.get(), 0, SEEK_SET) != 0) return system_error("lseek");
  return {};
}

bool CommandRun::make_directory(CommandOutcome& outcome) {
  if (options_.directory == nullptr || !command_.cwd.empty()) return true;
  auto made = options_.directory->make(run_.fence);
  if (!made) {
    refuse(outcome, DoneStatus::kWorkerError, "WorkDirectory", made.error().message);
    return false;
  }
  directory_ = std::move(*made);
  return true;
}

bool CommandRun::start(CommandOutcome& outcome) {
  if (!make_directory(outcome)) return false;
  auto out = make_pipe();
  auto err = make_pipe();
  if (!out || !err) {
    refuse(outcome, DoneStatus::kWorkerError, "SpawnFailed", (!out ? out : err).error().message);
    return false;
  }
  const std::vector<std::string> variables{"FUTURED_JOB_ID=" + std::to_string(run_.fence.job.value),
                                           "FUTURED_ATTEMPT=" + std::to_string(run_.fence.attempt)};
  child_ = spawn(
      {command_, variables, stdin_.get(), out->write_end.get(), err->write_end.get(), directory_, options_.limits});
  stdin_.reset();
  if (!child_.is_running()) {
    refuse(outcome, DoneStatus::kStartFailed, child_.error_class, child_.message);
    outcome.no_retry = child_.retry_is_pointless;
    return false;
  }
  stdout_.pipe = std::move(out->read_end);
  stderr_.pipe = std::move(err->read_end);
  g_command_pid = child_.pid;
  if (g_must_end != 0) kill(-child_.pid, SIGTERM);  // SIGTERM came before the handler could know the pid
  return true;
}

// Returns once the command's own process has ended; what it left may still run.
void CommandRun::follow_until_end() {
  bool is_deaf = true;
  for (;;) {
    std::array<pollfd, 5> sources{{{child_.pidfd.get(), POLLIN, 0},
                                   {end_.lifeline_fd(), 0, 0},
                                   {end_.wake_fd(), POLLIN, 0},
                                   {stdout_.pipe.get(), POLLIN, 0},
                                   {stderr_.pipe.get(), POLLIN, 0}}};
    int ready = 0;
    {
      const TermBlocked term;
      if (!look_for_stop()) continue;
      const Duration patience = is_deaf ? kDeafTime : this->patience();
      const timespec limit{0, patience.count()};
      ready = ppoll(sources.data(), is_deaf ? sources.size() - 2 : sources.size(),
                    patience == Duration::max() ? nullptr : &limit, &term.before());
      if (ready < 0 && errno == EINVAL) limits_.keep();  // more descriptors than it may have
    }
    end_.disarm();
    if (ready < 0) continue;  // a signal
    if (ready == 0 && !is_deaf) emit_backlog();
    is_deaf = false;
    if ((sources[3].revents & (POLLIN | POLLHUP)) != 0) drain(stdout_);
    if ((sources[4].revents & (POLLIN | POLLHUP)) != 0) drain(stderr_);
    if (sources[0].revents != 0) return;
    if ((sources[1].revents & (POLLHUP | POLLERR)) != 0) {
      is_orphaned_ = true;
      return;
    }
  }
}

// True: the worker may sleep, and a stop will wake it.
bool CommandRun::look_for_stop() {
  if (!stopping_ && end_.stop_requested(run_.fence)) {
    stopping_ = true;
    kill(-child_.pid, SIGTERM);
    kill(-child_.pid, SIGCONT);  // a stopped process would never hear of it
  }
  // It ignored its soft timeout, and we are asked to end.
  const bool is_overdue = stopping_ && g_must_end != 0 && end_.is_stopped_softly(run_);
  if (is_overdue && !stacks_kept_ && !options_.spool_directory.empty()) tell_stacks_and_kill();
  return end_.arm_for_stop();
}

void CommandRun::tell_stacks_and_kill() {
  const std::string text = stacks_below(getpid());
  const std::string path = spool_path(options_.spool_directory, run_.fence, "stacks");
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  // Without room on the disk they are cut, or not there; the kill does not wait for it.
  if (file.is_open()) (void)!write(file.get(), text.data(), text.size());
  stacks_kept_ = true;
  kill(child_.pid, SIGKILL);
}

// Until output may be sent, time limits how long what is there waits.
Duration CommandRun::patience() const {
  if (is_live_ || stdout_.capture.total() + stderr_.capture.total() == 0) return Duration::max();
  return std::max(run_.taken_at + kQuietTime - monotonic_now(), Duration(0));
}

// A bound on the reads: a command that writes without end must not keep us from seeing its stop.
void CommandRun::drain(Stream& stream) {
  static char buffer[kReadBytes];
  for (int reads = 0; reads < kReadsMax && stream.pipe.is_open(); ++reads) {
    const ssize_t size = read(stream.pipe.get(), buffer, sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return;  // nothing more for now
    if (size == 0) {
      stream.pipe.reset();
      return;
    }
    const std::string_view bytes(buffer, static_cast<std::size_t>(size));
    // What does not fit into memory could not be sent later.
    if (!is_live_ && stream.capture.total() + bytes.size() > options_.capture.memory_bytes_max) emit_backlog();
    end_.beat(run_);
    stream.capture.append(bytes);
    if (is_live_) emit(stream, bytes);
  }
}

void CommandRun::emit_backlog() {
  if (is_live_) return;
  is_live_ = true;
  for (Stream* stream : {&stdout_, &stderr_}) emit(*stream, stream->capture.memory());
}

// A watcher may slow the command down for a moment, but a daemon that is gone never does.
void CommandRun::emit(Stream& stream, std::string_view bytes) {
  while (!bytes.empty()) {
    const std::string_view piece = bytes.substr(0, channel::kEmitBytesMax / 2);
    bytes.remove_prefix(piece.size());
    const bool sent = run_.follow && !daemon_is_slow_
                          ? end_.emit(run_.fence, stream.number, stream.emitted, piece, kEmitPatience)
                          : end_.try_emit(run_.fence, stream.number, stream.emitted, piece);
    daemon_is_slow_ = !sent;
    stream.emitted += piece.size();
  }
}

void CommandRun::reap(CommandOutcome& outcome) {
  int wait_status = 0;
  rusage usage{};
  if (is_orphaned_) kill(child_.pid, SIGKILL);
  while (wait4(child_.pid, &wait_status, 0, &usage) < 0 && errno == EINTR) {
  }
  g_command_pid = 0;  // the number may now belong to somebody else
  outcome.usage.add(usage);
  limits_.keep();  // without descriptors nobody below it can be found
  end_descendants(outcome.usage);
  // All writers are dead: what they wrote is in the pipes, whole.
  for (Stream* stream : {&stdout_, &stderr_}) {
    drain(*stream);
    stream->pipe.reset();
  }
  describe_ending(wait_status, outcome);
  outcome.stacks_kept = stacks_kept_;
  write_result(outcome);
}

void CommandRun::describe_ending(int wait_status, CommandOutcome& outcome) const {
  if (WIFSIGNALED(wait_status)) {
    outcome.signal = WTERMSIG(wait_status);
    outcome.error_message =
        "killed by signal " + std::to_string(outcome.signal) + " (" + strsignal(outcome.signal) + ")";
  } else {
    outcome.exit_code = WEXITSTATUS(wait_status);
    if (outcome.exit_code != 0) outcome.error_message = "exit code " + std::to_string(outcome.exit_code);
  }
  if (!outcome.error_message.empty()) {
    outcome.status = DoneStatus::kCommandFailed;
    outcome.error_class = "CommandFailed";
  }
  if (stopping_ || g_must_end != 0) {
    outcome.status = DoneStatus::kStopped;
    outcome.error_class = "Stopped";
    outcome.error_message =
        "stopped as it was asked to" + (outcome.error_message.empty() ? std::string() : ": " + outcome.error_message);
  } else if (outcome.signal == SIGKILL) {
    blame_memory(outcome);
  }
}

// Under v1 the kernel kills one process of a group that is over its limit, and this worker lives to tell; under v2 both
// end, and the spawner tells.
void CommandRun::blame_memory(CommandOutcome& outcome) const {
  const bool is_raised = options_.memory_bytes_max != 0 && memory_.bytes_max() > options_.memory_bytes_max;
  switch (memory_.look()) {
    case MemoryKill::kNo:
      return;
    case MemoryKill::kLikely:
      outcome.error_message = "likely: " + outcome.error_message +
                              ", which futured did not send, and the kernel has killed for want of memory";
      break;
    case MemoryKill::kYes:
      outcome.error_message = "killed by the kernel (counted by its control group)";
      break;
    case MemoryKill::kOverLimit:
      outcome.error_message = std::string("killed by the kernel, over ") +
                              (is_raised ? "the raised limit of this attempt, " : "the memory_max of its pool, ") +
                              std::to_string(memory_.bytes_max()) + " bytes (counted by its control group)";
      break;
  }
  outcome.status = DoneStatus::kOutOfMemory;
  outcome.error_class = "OutOfMemory";
}

void CommandRun::write_result(CommandOutcome& outcome) {
  // Together they must fit one report; the longer one makes room.
  const std::size_t both = stdout_.capture.memory().size() + stderr_.capture.memory().size();
  if (both > options_.capture.memory_bytes_max) {
    Stream& longer = stdout_.capture.memory().size() >= stderr_.capture.memory().size() ? stdout_ : stderr_;
    longer.capture.spool();
  }
  for (Stream* stream : {&stdout_, &stderr_}) {
    stream->capture.finish();
    tell_loss(*stream, outcome);
  }
  append_output(outcome.result, kStdoutType, stdout_.capture);
  append_output(outcome.result, kStderrType, stderr_.capture);
}

// How much is missing stands with the output itself; the message says why. The command ended as it ended: neither its
// status nor its exit code changes, for running it again would not bring room to the disk.
void CommandRun::tell_loss(const Stream& stream, CommandOutcome& outcome) {
  if (stream.capture.fault().empty()) return;
  if (!outcome.error_message.empty()) outcome.error_message += "; ";
  outcome.error_message += stream.number == 1 ? "standard output" : "standard error";
  outcome.error_message += " is incomplete: " + stream.capture.fault();
}

}  // namespace futured::runtime
