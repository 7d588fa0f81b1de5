#include "daemon/rpc/list_call.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/limits.h"
#include "daemon/rpc/job_filter.h"
#include "daemon/rpc/job_view.h"

namespace futured::rpc {

namespace {

constexpr std::uint32_t kPageDefault = 100;

struct Asked {
  JobQuery query;  // what the store looks for
  JobChoice choice;
  std::int64_t after_us = 0;
  std::int64_t before_us = 0;
  JobId retry_of;

  [[nodiscard]] bool takes(const JobView& view) const {
    const StoredJob& job = view.record.job;
    if (!choice.takes(job.id, view.state(), job.owner)) return false;
    if (after_us != 0 && job.submitted_at.us <= after_us) return false;
    if (before_us != 0 && job.submitted_at.us >= before_us) return false;
    if (query.parent.is_set() && query.parent != job.lineage.parent) return false;
    return !retry_of.is_set() || retry_of == job.retry_of;
  }
};

// What the store calls a state: of jobs that have not ended it knows only that.
JobState stored_state(JobState state) { return is_terminal(state) ? state : JobState::kQueued; }

Status take_filter(const api::JobFilter& filter, Asked& asked) {
  auto choice = read_filter(filter);
  if (!choice.ok()) return choice.error();
  for (const JobState state : choice->states) {
    if (std::ranges::find(asked.query.states, stored_state(state)) != asked.query.states.end()) continue;
    asked.query.states.push_back(stored_state(state));
  }
  asked.query.queue = choice->queue;
  asked.query.task = choice->task;
  asked.query.name = choice->name;
  asked.query.causes = choice->causes;
  asked.choice = std::move(*choice);
  asked.after_us = filter.submitted_after_us();
  asked.before_us = filter.submitted_before_us();
  asked.retry_of = JobId{filter.retry_of()};
  asked.query.parent = JobId{filter.parent_id()};
  return {};
}

Result<Asked> read_request(const api::ListJobsRequest& request) {
  if (request.oldest_first()) return unbuilt("oldest_first");
  if (request.page_size() > limits::kListPageMax) {
    return too_much("page_size",
                    std::to_string(request.page_size()) + " is over " + std::to_string(limits::kListPageMax));
  }
  Asked asked;
  asked.query.jobs_max = request.page_size() != 0 ? request.page_size() : kPageDefault;
  if (const Status read = take_filter(request.filter(), asked); !read.ok()) return read.error();
  if (!asked.choice.ids.empty()) asked.query.before = asked.choice.ids.back().end;
  if (!request.page_token().empty()) {
    const std::string& token = request.page_token();
    std::uint64_t before = 0;
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), before);
    if (error != std::errc() || end != token.data() + token.size() || before == 0) {
      return invalid("page_token", "is none that this server gave");
    }
    asked.query.before = asked.query.before != 0 ? std::min(asked.query.before, before) : before;
  }
  return asked;
}

void fill(const std::vector<JobView>& views, const Asked& asked, std::uint64_t next_before,
          api::ListJobsResponse& response) {
  UserNames names;
  for (const JobView& view : views) {
    if (!asked.takes(view)) continue;
    api::Job& job = *response.add_jobs();
    to_api(view, false, job);
    job.set_owner(names.of(view.record.job.owner));
  }
  const bool ids_left = asked.choice.ids.empty() || next_before > asked.choice.ids.front().first;
  if (next_before != 0 && ids_left) response.set_next_page_token(std::to_string(next_before));
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
    std::vector<JobId> ids;
    for (const LiveJob& live : loop.scheduler().running()) {
      if (asked->query.before == 0 || live.id.value < asked->query.before) ids.push_back(live.id);
    }
    std::ranges::sort(ids, std::greater());
    const bool more = ids.size() > asked->query.jobs_max;
    if (more) ids.resize(asked->query.jobs_max);
    const bool room = front.reader.ask([&front, answer, asked, ids, more](StoreReader& reader) {
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
      answer_with(front, answer, asked, std::move(page));
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
    auto page = reader.list(asked->query);
    if (!page.ok()) return answer->refuse(page.error());
    answer_with(front, answer, asked, std::move(*page));
  });
  return answer->reactor();
}

}  // namespace futured::rpc
