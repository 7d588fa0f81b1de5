// Idempotency keys. A keyed submit waits until the store has said which of its keys were used before: one question is
// under way at a time, and only its answer brings new keys, so no two submits of one key can both be the first.
#include <cinttypes>
#include <cstdio>
#include <map>
#include <string_view>
#include <unordered_map>

#include "base/limits.h"
#include "daemon/core/scheduler.h"

namespace futured {

namespace {

std::string hex(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, value);
  return text;
}

Error other_work(const std::string& field, const std::string& key, const std::string& user, std::uint64_t before,
                 std::uint64_t now) {
  return {ErrorCode::kAlreadyExists, field + ": key \"" + key + "\" belongs to " + user +
                                         ", which has another task, queue or payload (fingerprint " + hex(before) +
                                         ", here " + hex(now) + "); use a new key for new work"};
}

std::string jobs_of(const KeyRow& row) {
  const std::string first = std::to_string(row.first.value);
  return row.count == 1 ? "job " + first : "jobs " + first + "-" + std::to_string(row.first.value + row.count - 1);
}

}  // namespace

void Scheduler::ask_for_keys(Effects& effects) {
  if (!keyed_.asked.empty()) return;
  while (!keyed_.waiting.empty() && effects.key_queries.size() < limits::kKeyQueriesMax) {
    event::Submit submit = std::move(keyed_.waiting.front());
    keyed_.waiting.pop_front();
    for (const event::SubmitKey& key : submit.keys) {
      if (!key.key.empty()) effects.key_queries.push_back({submit.who.uid, key.key});
    }
    keyed_.asked.push_back(std::move(submit));
  }
}

void Scheduler::on(const event::KeysFound& found, Moment now, Effects& effects) {
  KnownKeys known;
  for (const std::optional<KeyRow>& row : found.answer) {
    if (row) known.emplace(row->key, *row);
  }
  for (const event::Submit& submit : std::exchange(keyed_.asked, {})) {
    keyed_.jobs -= submit.ends.size();
    accept_keyed(submit, known, now, effects);
  }
}

// Each key stands for the jobs that it was first used for: those of an earlier submit, those of an earlier item of this
// batch, or, when it is new, those that are made now.
void Scheduler::accept_keyed(const event::Submit& submit, KnownKeys& known, Moment now, Effects& effects) {
  if (submit.is_next) {
    if (const auto queue = queue_named(submit.spec.queue); queue.ok()) (*queue)->asks_keys = false;
  }
  const bool whole = submit.key_is_of_batch;
  const auto count = static_cast<std::uint32_t>(submit.ends.size());
  const std::uint32_t items_per_key = whole ? count : 1;
  const auto field = [&](std::size_t i) {
    return whole ? std::string("idempotency_key") : "items[" + std::to_string(i) + "].idempotency_key";
  };

  std::vector<const KeyRow*> old(submit.keys.size(), nullptr);
  std::unordered_map<std::string_view, std::uint32_t> first_use;  // of new keys: index in submit.keys
  std::vector<std::uint32_t> same_as(submit.keys.size());         // index of the first use, mostly its own
  std::vector<std::uint32_t> fresh;                               // items that become jobs
  for (std::uint32_t i = 0; i < submit.keys.size(); ++i) {
    const event::SubmitKey& key = submit.keys[i];
    same_as[i] = i;
    const auto used = known.find({submit.who.uid, key.key});
    if (used != known.end()) {
      const KeyRow& row = used->second;
      if (row.fingerprint != key.fingerprint || row.count != items_per_key) {
        effects.refused.push_back(
            {submit.token, other_work(field(i), key.key, jobs_of(row), row.fingerprint, key.fingerprint)});
        return;
      }
      old[i] = &row;
      continue;
    }
    if (!key.key.empty()) same_as[i] = first_use.emplace(key.key, i).first->second;
    const std::uint64_t before = submit.keys[same_as[i]].fingerprint;
    if (before != key.fingerprint) {
      effects.refused.push_back(
          {submit.token, other_work(field(i), key.key, field(same_as[i]), before, key.fingerprint)});
      return;
    }
    for (std::uint32_t k = 0; same_as[i] == i && k < items_per_key; ++k) fresh.push_back(i * items_per_key + k);
  }

  effect::Accepted accepted{submit.token, {}, static_cast<std::uint32_t>(fresh.size()), {}, {}};
  if (!fresh.empty()) {
    const auto spec = intern(submit.spec, effects);
    if (!spec.ok()) {
      effects.refused.push_back({submit.token, spec.error()});
      return;
    }
    if (const Status sound = check_submit(submit, **spec, now); !sound.ok()) {
      effects.refused.push_back({submit.token, sound.error()});
      return;
    }
    std::uint64_t bytes = 0;
    for (const std::uint32_t item : fresh) bytes += submit.ends[item] - (item == 0 ? 0 : submit.ends[item - 1]);
    if (!has_room(submit, *(*spec)->lane->queue, fresh.size(), bytes, effects)) return;
    accepted.first = add_jobs(submit, fresh, **spec, now, effects);
  }
  std::vector<JobId> first_of(submit.keys.size());  // job of each key
  JobId next = accepted.first;
  for (std::uint32_t i = 0; i < submit.keys.size(); ++i) {
    const event::SubmitKey& key = submit.keys[i];
    if (old[i] != nullptr) {
      first_of[i] = old[i]->first;
    } else if (same_as[i] != i) {
      first_of[i] = first_of[same_as[i]];
    } else {
      first_of[i] = next;
      next.value += items_per_key;
      if (key.key.empty()) continue;
      const KeyRow row{{submit.who.uid, key.key}, first_of[i], items_per_key, key.fingerprint};
      effects.rows.keys_added.push_back(row);
      known.emplace(row.key, row);
    }
  }
  if (accepted.count != count) {
    for (std::uint32_t item = 0; item < count; ++item) {
      const std::uint32_t i = item / items_per_key;
      accepted.ids.push_back({first_of[i].value + item % items_per_key});
      if (old[i] != nullptr || same_as[i] != i) accepted.old_items.push_back(item);
    }
  }
  effects.accepted.push_back(std::move(accepted));
}

}  // namespace futured
