// A job outlives who submitted it: one process submits and is killed, another takes the job up by its number. The
// daemon may be killed and started again meanwhile; the wait goes on by itself.
//   reattach_after_kill [SHELL COMMAND]
#include <futured/client.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <iostream>

using namespace std::chrono_literals;
using namespace futured::client;

namespace {

[[noreturn]] void submit_and_die(int tell, const char* command) {
  const Client client = Client::connect();
  const std::uint64_t id = client.executor().submit(CommandLine{.argv = {"sh", "-c", command}}).id();
  static_cast<void>(::write(tell, &id, sizeof id));  // the job is on disk from here on
  std::raise(SIGKILL);
  std::abort();
}

}  // namespace

int main(int argc, char** argv) {
  int ends[2] = {};
  if (::pipe(ends) != 0) return 1;
  const pid_t submitter = ::fork();  // before there is a client: none survives a fork
  if (submitter == 0) submit_and_die(ends[1], argc > 1 ? argv[1] : "sleep 0.2; echo survived");
  int status = 0;
  ::waitpid(submitter, &status, 0);
  std::uint64_t id = 0;
  if (::read(ends[0], &id, sizeof id) != sizeof id) return 1;
  std::cout << "its submitter was killed; taking up job " << id << std::endl;

  const std::string result = Client::connect().future(id).result(60s);
  std::cout << result;
  return WIFSIGNALED(status) && result.ends_with("survived\n") ? 0 : 1;
}
