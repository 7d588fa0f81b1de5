// The order in which jobs start: first in, first out; last in, first out; by priority, and fifo within one; and turns
// between tenants, however many jobs each has brought.
#include <futured/client.h>

#include <algorithm>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

using namespace futured::client;

namespace {

struct Request {
  std::string name;
  std::int32_t priority = 0;
  std::string tenant = {};
};

// The names of the requests in the order in which they ran, one after the other.
std::string order_in(const Client& client, QueueOptions options, const std::vector<Request>& requests) {
  const std::string queue = "example-queues";
  options.concurrency_max = 1;
  (void)client.create_queue(queue, options);
  (void)client.pause_queue(queue);  // all are there before the first one starts
  std::vector<Future> jobs;
  for (const Request& request : requests) {
    JobOptions job{.queue = queue, .priority = request.priority, .name = request.name};
    job.fairness_key = request.tenant;
    jobs.push_back(client.executor(job).submit("sleep", "0.002"));
  }
  for (const Future& job : jobs) (void)job.id();  // it is accepted
  (void)client.resume_queue(queue);
  (void)wait(jobs);
  std::vector<std::pair<std::int64_t, std::string>> begun;
  for (const Future& job : jobs) {
    const JobInfo info = client.job(job.id());
    begun.emplace_back(info.started_us, info.name);
  }
  client.delete_queue(queue);
  std::ranges::sort(begun);
  std::string order;
  for (const auto& [at, name] : begun) order += (order.empty() ? "" : " ") + name;
  return order;
}

}  // namespace

int main() {
  const Client client = Client::connect();
  const std::vector<Request> three = {{"first"}, {"second"}, {"third"}};
  const std::string fifo = order_in(client, {.discipline = "fifo"}, three);
  const std::string lifo = order_in(client, {.discipline = "lifo"}, three);
  const std::string priority =
      order_in(client, {.discipline = "priority"}, {{"low", 1}, {"high", 9}, {"also-high", 9}, {"middle", 5}});
  const std::string fair =
      order_in(client, {.fair = true}, {{"a1", 0, "a"}, {"a2", 0, "a"}, {"a3", 0, "a"}, {"b1", 0, "b"}});
  std::cout << "fifo      " << fifo << "\nlifo      " << lifo << "\npriority  " << priority << "\nfair      " << fair
            << "\n";
  const bool is_as_meant = fifo == "first second third" && lifo == "third second first" &&
                           priority == "high also-high middle low" && fair == "a1 b1 a2 a3";
  return is_as_meant ? 0 : 1;
}
