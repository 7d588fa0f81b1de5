#include "daemon/rpc/list_call.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/limits.h"
#include "daemon/rpc/chosen_jobs.h"

namespace futured::rpc {

namespace {

constexpr std::uint32_t kPageDefault = 100;

using Asked = ChosenJobs;

Result<Asked> read_request(const api::ListJobsRequest& request) {
  if (request.page_size() > limits::kListPageMax) {
    return too_much("page_size",
                    std::to_string(request.page_size()) + " is over " + std::to_string(limits::kListPageMax));
  }
  auto asked = choose_jobs(request.filter(), request.oldest_first());
  if (!asked.ok()) return asked;
  JobQuery& query = asked->query;
  query.jobs_max = request.page_size() != 0 ? request.page_size() : kPageDefault;
  if (request.page_token().empty()) return asked;
  const std::string& token = request.page_token();
  std::uint64_t place = 0;
  const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), place);
  if (error != std::errc() || end != token.data() + token.size() || place == 0) {
    return invalid("page_token", "is none that this server gave");
  }
  if (query.oldest_first) {
    query.after = std::max(query.after, place);
  } else {
    query.before = query.before != 0 ? std::min(query.before, place) : place;
  }
  return asked;
}

// `next` is the last job that was looked at; behind it may be none that the filter names.
bool ids_left(const Asked& asked, std::uint64_t next) {
  const std::vector<JobRange>& ids = asked.choice.ids;
  if (ids.empty()) return true;
  return asked.query.oldest_first ? next + 1 < ids.back().end : next > ids.front().first;
}

void fill(const std::vector<JobView>& views, const Asked& asked, std::uint64_t next, api::ListJobsResponse& response) {
  UserNames names;
  for (const JobView& view : views) {
    if (!asked.takes(view)) continue;
    api::Job& job = *response.add_jobs();
    to_api(view, false, job);
    job.set_owner(names.of(view.record.job.owner));
  }
  if (next != 0 && ids_left(asked, next)) response.set_next_page_token(std::to_string(next));
}

using ListAnswer = std::shared_ptr<Answer<api::ListJobsResponse>>;

void answer_with(Front& front, const ListAnswer& answer, const std::shared_ptr<const Asked>& asked, JobPage page) {
  add_live(front, std::move(page.jobs),
           [answer, asked, next_before = page.next_before](const Result<std::vector<JobView>>& views) {
             if (!views.ok()) return answer->refuse(views.error());
             answer->give([&](api::ListJobsResponse& response) { fill(*views, *asked, next_before, response); });
           });
}

// Only the loop knows what runs; looking through all that is queued for it would take for ever.
void list_running(Front& front, const ListAnswer& answer, const std::shared_ptr<const Asked>& asked) {
  front.loop.look([&front, answer, asked](const Loop& loop) {
    const JobQuery& wanted = asked->query;
    std::vector<JobId> ids;
    for (const LiveJob& live : loop.scheduler().running()) {
      const bool is_before = wanted.before == 0 || live.id.value < wanted.before;
      if (is_before && (!wanted.oldest_first || live.id.value > wanted.after)) ids.push_back(live.id);
    }
    if (!wanted.oldest_first) std::ranges::reverse(ids);
    const bool more = ids.size() > asked->query.jobs_max;
    if (more) ids.resize(asked->query.jobs_max);
    const bool room = front.reader.ask([&front, answer, asked, ids, more](StoreReader& reader) {
      const auto within = within_batch(asked, reader);
      if (!within.ok()) return answer->refuse(within.error());
      JobPage page;
      if (more) page.next_before = ids.back().value;
      for (const JobId id : ids) {
        auto record = reader.get(id, false);
        if (!record.ok()) return answer->refuse(record.error());
        if (!*record) continue;  // it runs, and its submit is not on disk yet: nobody knows its number
        const JobSpec& spec = (*record)->spec;
        const JobQuery& query = asked->query;
        const bool fits = (query.queue.empty() || query.queue == spec.queue) &&
                          (query.task.empty() || query.task == spec.task) &&
                          (query.name.empty() || query.name == spec.name);
        if (fits) page.jobs.push_back(std::move(**record));
      }
      answer_with(front, answer, *within, std::move(page));
    });
    if (!room) front.pump.post([answer] { answer->refuse(busy_error()); });
  });
}

}  // namespace

grpc::ServerUnaryReactor* open_list(Front& front, grpc::CallbackServerContext* context,
                                    const api::ListJobsRequest& request, api::ListJobsResponse* response) {
  auto read = read_request(request);
  if (!read.ok()) return answer_now(context, read.error());
  auto asked = std::make_shared<const Asked>(std::move(*read));
  auto answer = Answer<api::ListJobsResponse>::open(front, context, response);
  const std::vector<JobState>& states = asked->choice.states;
  if (!states.empty() && std::ranges::all_of(states, [](JobState state) { return state == JobState::kRunning; }) &&
      asked->query.causes.empty()) {
    list_running(front, answer, asked);
    return answer->reactor();
  }
  ask_reader(front, answer, [&front, answer, asked](StoreReader& reader) {
    const auto within = within_batch(asked, reader);
    if (!within.ok()) return answer->refuse(within.error());
    auto page = reader.list((*within)->query);
    if (!page.ok()) return answer->refuse(page.error());
    answer_with(front, answer, *within, std::move(*page));
  });
  return answer->reactor();
}

}  // namespace futured::rpc
