// What jobs are asked to wait for. Items of one request may name each other, in any order and in no circle.
#include <algorithm>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "base/limits.h"
#include "daemon/rpc/convert.h"

namespace futured::rpc {

namespace {

using Aliases = std::unordered_map<std::string_view, std::uint32_t>;
using Items = google::protobuf::RepeatedPtrField<api::Item>;

std::string indexed(std::string_view name, std::size_t index) {
  return std::string(name) + "[" + std::to_string(index) + "]";
}

Result<DependencyCondition> to_condition(api::DependencyCondition condition, const std::string& field) {
  switch (condition) {
    case api::DEPENDENCY_CONDITION_ENDED:
      return DependencyCondition::kEnded;
    case api::DEPENDENCY_CONDITION_SUCCEEDED:
      return DependencyCondition::kSucceeded;
    case api::DEPENDENCY_CONDITION_FAILED:
      return DependencyCondition::kNotSucceeded;
    default:
      return invalid(field + ".condition", std::to_string(static_cast<int>(condition)) + " is no condition");
  }
}

// `aliases` null: of a spec, which cannot name items.
Result<event::AskedDependency> to_dependency(const api::Dependency& asked, const std::string& field,
                                             const Aliases* aliases) {
  event::AskedDependency out;
  const auto condition = to_condition(asked.condition(), field);
  if (!condition.ok()) return condition.error();
  out.on.condition = *condition;
  out.on.any_of = asked.any_of_group();
  if (asked.holds()) return invalid(field + ".holds", "it is told, not asked; leave it out");
  switch (asked.on_case()) {
    case api::Dependency::kJobId:
      if (asked.job_id() == 0) return invalid(field + ".job_id", "0 is no job");
      out.on.job = JobId{asked.job_id()};
      return out;
    case api::Dependency::kBatchId:
      if (asked.batch_id() == 0) return invalid(field + ".batch_id", "0 is no batch");
      out.on.job = JobId{asked.batch_id()};
      out.is_of_batch = true;
      return out;
    case api::Dependency::kEvent:
      if (const Status sound = check_name(asked.event(), field + ".event"); !sound.ok()) return sound.error();
      if (out.on.condition != DependencyCondition::kEnded) {
        return invalid(field + ".condition", "an event is set or not, and never fails; leave it out");
      }
      out.on.event = asked.event();
      return out;
    case api::Dependency::kItem: {
      if (aliases == nullptr) {
        return invalid(field + ".item", "each job of the batch would wait for it, itself too; say it of the items");
      }
      const auto found = aliases->find(asked.item());
      if (found == aliases->end()) {
        return invalid(field + ".item", "no item of this request has the alias \"" + asked.item() +
                                            "\"; name a job of an earlier one by job_id");
      }
      out.item = found->second;
      return out;
    }
    case api::Dependency::ON_NOT_SET:
      break;
  }
  return invalid(field, "says of nothing what it depends on; set job_id, batch_id, event or item");
}

Status check_count(std::size_t count, const std::string& field) {
  if (count <= limits::kDependenciesPerJobMax) return {};
  return too_much(field, std::to_string(count) + " of one job are over " +
                             std::to_string(limits::kDependenciesPerJobMax) +
                             "; let a job between wait for some of them");
}

// Results that the payload of an item takes: each is a dependency, once.
void add_results(const api::Item& item, const Aliases& aliases, std::vector<event::AskedDependency>& out) {
  const auto add = [&out](JobId job, std::optional<std::uint32_t> other) {
    const auto is_same = [&](const event::AskedDependency& known) {
      return known.on.job == job && known.item == other;
    };
    if (std::ranges::any_of(out, is_same)) return;
    event::AskedDependency taken;
    taken.on = {.job = job, .event = {}, .condition = DependencyCondition::kSucceeded, .takes_result = true};
    taken.item = other;
    out.push_back(std::move(taken));
  };
  for (const api::Part& part : item.parts()) {
    if (part.source_case() == api::Part::kResultOf) add(JobId{part.result_of()}, {});
    if (part.source_case() != api::Part::kResultOfItem) continue;
    if (const auto found = aliases.find(part.result_of_item()); found != aliases.end()) add({}, found->second);
  }
  if (item.command().stdin_result_of() != 0) add(JobId{item.command().stdin_result_of()}, {});
}

Result<Aliases> to_aliases(const Items& items) {
  Aliases aliases;
  for (int i = 0; i < items.size(); ++i) {
    const std::string& alias = items[i].alias();
    if (alias.empty()) continue;
    const std::string field = indexed("items", static_cast<std::size_t>(i)) + ".alias";
    if (const Status sound = check_name(alias, field); !sound.ok()) return sound.error();
    const auto [known, is_new] = aliases.emplace(alias, static_cast<std::uint32_t>(i));
    if (!is_new) {
      return invalid(field, "\"" + alias + "\" is the alias of " + indexed("items", known->second) + " already");
    }
  }
  return aliases;
}

// Depth first, without recursion: a chain may be as long as the request.
class Circles {
 public:
  Circles(const Items& items, const ItemDependencies& edges) : items_(items), edges_(edges) {
    first_.assign(static_cast<std::size_t>(items.size()) + 1, 0);
    for (const auto& [item, asked] : edges) ++first_[item + 1];
    for (std::size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
  }

  Status look() {
    seen_.assign(first_.size() - 1, Seen::kNo);
    for (std::uint32_t item = 0; item < seen_.size(); ++item) {
      if (seen_[item] != Seen::kNo) continue;
      if (const Status sound = look_from(item); !sound.ok()) return sound;
    }
    return {};
  }

 private:
  enum class Seen : std::uint8_t { kNo, kOnPath, kDone };
  struct Step {
    std::uint32_t item = 0;
    std::size_t next = 0;  // of its edges
  };

  Status look_from(std::uint32_t start) {
    path_.assign(1, {start, first_[start]});
    seen_[start] = Seen::kOnPath;
    while (!path_.empty()) {
      Step& step = path_.back();
      if (step.next == first_[step.item + 1]) {
        seen_[step.item] = Seen::kDone;
        path_.pop_back();
        continue;
      }
      const event::AskedDependency& asked = edges_[step.next++].second;
      if (!asked.item) continue;
      if (seen_[*asked.item] == Seen::kOnPath) return circle_to(*asked.item);
      if (seen_[*asked.item] == Seen::kDone) continue;
      seen_[*asked.item] = Seen::kOnPath;
      path_.push_back({*asked.item, first_[*asked.item]});
    }
    return {};
  }

  Error circle_to(std::uint32_t item) const {
    std::string text;
    std::size_t at = 0;
    while (path_[at].item != item) ++at;
    const std::size_t begin = at;
    for (; at < path_.size(); ++at) {
      if (at - begin < kNamed) text += items_[static_cast<int>(path_[at].item)].alias() + " -> ";
    }
    if (path_.size() - begin > kNamed) text += "... -> ";
    text += items_[static_cast<int>(item)].alias();
    return invalid(indexed("items", item) + ".dependencies",
                   text + " is a circle, in which each job waits for the next; take one of them out");
  }

  static constexpr std::size_t kNamed = 20;

  const Items& items_;
  const ItemDependencies& edges_;
  std::vector<std::size_t> first_;  // of an item, among the edges
  std::vector<Seen> seen_;
  std::vector<Step> path_;
};

}  // namespace

Result<std::vector<event::AskedDependency>> to_dependencies(const api::JobSpec& spec) {
  std::vector<event::AskedDependency> out;
  const auto count = static_cast<std::size_t>(spec.dependencies_size());
  if (const Status fits = check_count(count, "spec.dependencies"); !fits.ok()) return fits.error();
  for (std::size_t i = 0; i < count; ++i) {
    auto one = to_dependency(spec.dependencies(static_cast<int>(i)), indexed("spec.dependencies", i), nullptr);
    if (!one.ok()) return one.error();
    out.push_back(*std::move(one));
  }
  return out;
}

Result<ItemDependencies> to_dependencies(const Items& items, std::size_t of_spec) {
  ItemDependencies out;
  const auto aliases = to_aliases(items);
  if (!aliases.ok()) return aliases.error();
  bool names_items = false;
  const std::string* keyed = nullptr;
  for (int i = 0; i < items.size(); ++i) {
    const api::Item& item = items[i];
    if (!item.idempotency_key().empty()) keyed = &item.idempotency_key();
    std::vector<event::AskedDependency> results;
    add_results(item, *aliases, results);
    if (item.dependencies().empty() && results.empty()) continue;
    const std::string field = indexed("items", static_cast<std::size_t>(i)) + ".dependencies";
    const auto count = static_cast<std::size_t>(item.dependencies_size());
    const std::size_t in_all = of_spec + count + results.size();
    if (const Status fits = check_count(in_all, field); !fits.ok()) return fits.error();
    for (std::size_t at = 0; at < count; ++at) {
      auto one = to_dependency(item.dependencies(static_cast<int>(at)), indexed(field, at), &*aliases);
      if (!one.ok()) return one.error();
      names_items = names_items || one->item.has_value();
      out.emplace_back(static_cast<std::uint32_t>(i), *std::move(one));
    }
    for (event::AskedDependency& taken : results) {
      names_items = names_items || taken.item.has_value();
      out.emplace_back(static_cast<std::uint32_t>(i), std::move(taken));
    }
  }
  if (!names_items) return out;
  if (keyed != nullptr) {
    return invalid("items", "dependencies on items are refused beside keys of items (\"" + *keyed +
                                "\"), some of which may be jobs of an earlier batch; give the batch one key");
  }
  if (const Status sound = Circles(items, out).look(); !sound.ok()) return sound.error();
  return out;
}

void to_api(const DependencyRow& row, api::Dependency& out) {
  out.set_any_of_group(row.on.any_of);
  if (row.on.batch_jobs > 0) {
    out.set_batch_id(row.on.job.value);
  } else if (row.on.job.is_set()) {
    out.set_job_id(row.on.job.value);
  } else {
    out.set_event(row.on.event);
  }
  switch (row.on.condition) {
    case DependencyCondition::kEnded:
      out.set_condition(api::DEPENDENCY_CONDITION_ENDED);
      break;
    case DependencyCondition::kSucceeded:
      out.set_condition(api::DEPENDENCY_CONDITION_SUCCEEDED);
      break;
    case DependencyCondition::kNotSucceeded:
      out.set_condition(api::DEPENDENCY_CONDITION_FAILED);
      break;
  }
  out.set_holds(row.state == DependencyState::kHolds);
}

}  // namespace futured::rpc
