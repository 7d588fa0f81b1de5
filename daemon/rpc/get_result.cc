#include "daemon/rpc/get_result.h"

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "daemon/rpc/captured_output.h"
#include "daemon/rpc/no_job.h"

namespace futured::rpc {

grpc::ServerWriteReactor<api::GetResultResponse>* ResultCall::open(Front& front, grpc::CallbackServerContext* context,
                                                                   const api::GetResultRequest& request) {
  const auto call = std::make_shared<ResultCall>(front, context, request);
  if (!call->begin(call)) return call.get();
  const bool asked = front.reader.ask([call](StoreReader& reader) { call->read(reader); });
  if (!asked) call->end(busy_error());
  return call.get();
}

void ResultCall::read(StoreReader& reader) {
  const JobId id{request_.id()};
  auto record = reader.get(id, false);
  if (record.ok() && !*record) return end(no_job(id, reader));
  const Status prepared = prepare(std::move(record));
  if (!prepared.ok() || is_interrupted()) return end(prepared);
  StartWrite(&out_);
}

Status ResultCall::prepare(Result<std::optional<JobRecord>> record) {
  const std::string job = "job " + std::to_string(request_.id());
  if (!record.ok()) return record.error();
  if (!*record) return Error{ErrorCode::kNotFound, "no " + job};
  Ending& ending = (*record)->ending;
  if (!is_terminal(ending.state)) return Error{ErrorCode::kFailedPrecondition, job + " has not ended; Wait tells when"};
  api::Outcome& outcome = *out_.mutable_outcome();
  to_outcome(JobId{request_.id()}, ending, ResultWanted::kNone, outcome);
  outcome.set_submitted_us((*record)->job.submitted_at.us);
  outcome.set_result_elided(false);
  result_ = std::move(ending.result);
  auto parts = decode_parts(result_);
  if (!parts.ok()) return parts.error().in("result of " + job);
  std::erase_if(*parts, is_beside_result);
  const std::uint32_t count = static_cast<std::uint32_t>(parts->size());
  if (request_.has_part() && request_.part() >= count) {
    return invalid("part",
                   std::to_string(request_.part()) + " is not below the " + std::to_string(count) + " of " + job);
  }
  if (!request_.has_part() && (request_.begin() != 0 || request_.end() != 0)) {
    return invalid("begin", "and end need a part");
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    to_api((*parts)[i], false, *outcome.add_result());
    if (const Status added = add_stretch(i, (*parts)[i]); !added.ok()) return added.error().in("result of " + job);
  }
  return {};
}

Status ResultCall::add_stretch(std::uint32_t index, const Part& part) {
  const bool wanted = !request_.has_part() || request_.part() == index;
  auto source = BytesSource::of(part, front_.segments, front_.setup.state_directory + "/output");
  if (!source.ok()) {
    if (wanted) return source.error();
    out_.add_part_sizes(0);
    return {};
  }
  out_.add_part_sizes(source->size());
  if (!wanted) return {};
  const std::uint64_t end = request_.end() != 0 ? request_.end() : source->size();
  if (end > source->size() || request_.begin() > end) {
    return invalid("end", "bytes " + std::to_string(request_.begin()) + " to " + std::to_string(end) +
                              " do not lie within the part's " + std::to_string(source->size()));
  }
  if (request_.begin() < end) stretches_.push_back({index, std::move(*source), request_.begin(), end});
  return {};
}

void ResultCall::OnWriteDone(bool ok) {
  if (!ok || stretches_.empty()) return end({});
  Stretch& stretch = stretches_.front();
  out_.Clear();
  out_.set_part(stretch.part);
  out_.set_offset(stretch.next);
  const std::size_t piece = std::min<std::uint64_t>(stretch.end - stretch.next, limits::kPieceBytesMax);
  const Status read = stretch.source.read(stretch.next, piece, *out_.mutable_data());
  if (!read.ok()) return end(read);
  stretch.next += piece;
  if (stretch.next == stretch.end) stretches_.pop_front();
  StartWrite(&out_);
}

}  // namespace futured::rpc
