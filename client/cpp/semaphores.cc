// Semaphores: permits that jobs need to run.
#include "client/cpp/client_state.h"
#include "futured/client.h"

namespace futured::client {

namespace {

SemaphoreInfo from_semaphore(const api::Semaphore& semaphore) {
  return {semaphore.name(), semaphore.permits(), semaphore.held(), semaphore.waiting_jobs()};
}

}  // namespace

SemaphoreInfo Client::set_semaphore(const std::string& name, std::uint32_t permits) const {
  api::SetSemaphoreRequest request;
  request.set_name(name);
  request.set_permits(permits);
  api::Semaphore semaphore;
  state_->call([&](grpc::ClientContext& context) { return state_->semaphores->Set(&context, request, &semaphore); },
               true);
  return from_semaphore(semaphore);
}

std::vector<SemaphoreInfo> Client::semaphores() const {
  api::ListSemaphoresRequest request;
  api::ListSemaphoresResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->semaphores->List(&context, request, &response); },
               true);
  std::vector<SemaphoreInfo> semaphores;
  for (const api::Semaphore& semaphore : response.semaphores()) semaphores.push_back(from_semaphore(semaphore));
  return semaphores;
}

void Client::delete_semaphore(const std::string& name) const {
  api::DeleteSemaphoreRequest request;
  request.set_name(name);
  api::DeleteSemaphoreResponse response;
  state_->call([&](grpc::ClientContext& context) { return state_->semaphores->Delete(&context, request, &response); },
               true);
}

}  // namespace futured::client
