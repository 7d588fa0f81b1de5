// How much at once, and how often: a semaphore that all who need it share, a rate with a burst, and room for so many
// jobs. The daemon keeps them, for whoever submits from wherever.
#include <futured/client.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

using namespace futured::client;

namespace {

// When each has started and finished, in microseconds, by their starts.
std::vector<std::pair<std::int64_t, std::int64_t>> times_of(const Client& client, const std::vector<Future>& jobs) {
  (void)wait(jobs);
  std::vector<std::pair<std::int64_t, std::int64_t>> times;
  for (const Future& job : jobs) {
    const JobInfo info = client.job(job.id());
    times.emplace_back(info.started_us, info.finished_us);
  }
  std::ranges::sort(times);
  return times;
}

bool shares_a_semaphore(const Client& client) {
  (void)client.set_semaphore("example-license", 1);
  JobOptions licensed;
  licensed.needs = {{"example-license", 1}};
  const Executor executor = client.executor(licensed);
  std::vector<Future> jobs;
  for (int i = 0; i < 4; ++i) jobs.push_back(executor.submit("sleep", "0.02"));
  std::printf("%s\n", client.why(jobs.back().id()).text.c_str());
  const auto times = times_of(client, jobs);
  bool is_one_by_one = true;
  for (std::size_t i = 1; i < times.size(); ++i) is_one_by_one &= times[i].first >= times[i - 1].second;
  std::printf("with one license for four jobs, they ran %s\n", is_one_by_one ? "one after the other" : "together");

  // What could never run is refused at once.
  licensed.needs = {{"example-license", 2}};
  bool is_refused = false;
  try {
    (void)client.executor(licensed).submit("noop", "").id();
  } catch (const Error& error) {
    is_refused = true;
    std::printf("two of one: %s\n", error.what());
  }
  client.delete_semaphore("example-license");
  return is_one_by_one && is_refused;
}

bool keeps_a_rate(const Client& client) {
  const std::string queue = "example-rate";
  (void)client.create_queue(queue, {.rate = {.starts = 50, .burst = 2}});
  const Executor executor = client.executor({.queue = queue});
  std::vector<Future> jobs;
  for (int i = 0; i < 8; ++i) jobs.push_back(executor.submit("noop", ""));
  const auto times = times_of(client, jobs);
  client.delete_queue(queue);
  // Two at once, then one every 20 ms.
  const double took_ms = static_cast<double>(times.back().first - times.front().first) / 1e3;
  std::printf("8 starts at 50 a second with a burst of 2: %.0f ms from the first to the last\n", took_ms);
  return took_ms >= 6 * 20 - 5;
}

bool has_room_for_two(const Client& client) {
  const std::string queue = "example-room";
  (void)client.create_queue(queue, {.queued_jobs_max = 2});
  (void)client.pause_queue(queue);
  const Executor executor = client.executor({.queue = queue});
  std::vector<Future> jobs = {executor.submit("noop", ""), executor.submit("noop", "")};
  (void)jobs.back().id();  // both are accepted
  jobs.push_back(executor.submit("noop", ""));
  const std::uint64_t queued = client.queue(queue).queued;
  std::printf("%llu of 3 jobs are in a queue with room for 2, the other waits to be submitted\n",
              static_cast<unsigned long long>(queued));
  (void)client.resume_queue(queue);
  (void)wait(jobs);
  client.delete_queue(queue);
  return queued == 2 && jobs.back().outcome().succeeded();
}

}  // namespace

int main() {
  const Client client = Client::connect();
  return shares_a_semaphore(client) && keeps_a_rate(client) && has_room_for_two(client) ? 0 : 1;
}
