// ExecutorState: what the handles of one executor share. Internal.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "client/cpp/client_state.h"

namespace futured::client {

class ExecutorState {
 public:
  ExecutorState(std::shared_ptr<ClientState> of, JobOptions job_options)
      : client(std::move(of)), options(std::move(job_options)) {}

  // Throws after shutdown.
  void check_open() const;
  // The options with this task ("" = commands), made once per task, for jobs that share batches with others. Throws
  // after shutdown, and when an option is one of a batch.
  std::shared_ptr<const Spec> spec_for(std::string_view task);
  // The same for a batch that is submitted as one.
  std::shared_ptr<const Spec> batch_spec_for(std::string_view task);
  // The same for jobs whose payload is a chunk of calls. A new one each time.
  std::shared_ptr<const Spec> chunk_spec_for(std::string_view task);

  const std::shared_ptr<ClientState> client;
  const JobOptions options;
  const std::shared_ptr<Tally> tally = std::make_shared<Tally>();
  std::atomic<bool> closed{false};

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const Spec>, std::less<>> specs_;  // as many as the program names tasks
};

}  // namespace futured::client
