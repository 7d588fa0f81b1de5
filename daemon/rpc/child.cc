#include "daemon/rpc/child.h"

#include <string>
#include <utility>

#include "base/child.h"
#include "base/payload.h"
#include "daemon/rpc/convert.h"
#include "daemon/rpc/submit_keys.h"

namespace futured::rpc {

namespace {

api::JobSpec asked_spec(const ChildRequest& request) {
  api::JobSpec spec;
  spec.set_task(std::string(request.task));
  spec.set_queue(std::string(request.queue));
  spec.set_pool(std::string(request.pool));
  spec.set_name(std::string(request.name));
  spec.set_priority(request.priority);
  spec.set_at_most_once(request.at_most_once);
  spec.mutable_retries()->set_max_attempts(request.max_attempts);
  spec.mutable_timeouts()->set_queue_ms(request.queue_timeout_ms);
  spec.mutable_timeouts()->set_run_ms(request.run_timeout_ms);
  spec.mutable_timeouts()->set_total_ms(request.total_timeout_ms);
  return spec;
}

Status add_parts(std::string_view payload, api::Item& item) {
  const auto parts = decode_parts(payload);
  if (!parts.ok()) return parts.error();
  for (const Part& part : *parts) {
    api::Part& asked = *item.add_parts();
    asked.set_content_type(std::string(part.content_type));
    asked.set_data(std::string(part.bytes));
  }
  return {};
}

}  // namespace

Result<event::Submit> to_submit(std::string_view encoded) {
  const auto request = decode_child(encoded);
  if (!request.ok()) return request.error();
  auto spec = to_spec(asked_spec(*request));
  if (!spec.ok()) return spec.error();
  google::protobuf::RepeatedPtrField<api::Item> items;
  if (const Status added = add_parts(request->payload, *items.Add()); !added.ok()) return added.error();
  auto payloads = to_payloads(items, /*commands=*/false, [](SegmentId) -> Result<std::uint64_t> {
    return invalid("items[0].parts", "a child job has no segments");
  });
  if (!payloads.ok()) return payloads.error();
  auto keys = to_keys(*spec, *payloads, items, std::string(request->key));
  if (!keys.ok()) return keys.error();
  event::Submit submit;
  submit.spec = std::move(*spec);
  submit.bytes = std::move(payloads->bytes);
  submit.ends = std::move(payloads->ends);
  submit.key_is_of_batch = !keys->empty();
  submit.keys = std::move(*keys);
  return submit;
}

}  // namespace futured::rpc
