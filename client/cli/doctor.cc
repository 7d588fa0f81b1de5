// fut doctor: is everything as it should be?
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"
#include "client/cli/cli.h"
#include "client/cli/start_daemon.h"
#include "client/cli/text.h"

namespace futured::cli {

namespace {

enum class Health { kGood, kWarning, kBad };

struct Finding {
  Health health = Health::kGood;
  std::string what;
  std::string detail;
};
using Findings = std::vector<Finding>;

std::string_view word_of(Health health) {
  switch (health) {
    case Health::kGood:
      return "ok";
    case Health::kWarning:
      return "warning";
    case Health::kBad:
      return "problem";
  }
  return "";
}

Finding store_finding(const client::Client& client, const client::DaemonInfo& info) {
  const auto figures = client.stats().figures;
  const auto failing = figures.find("store_failing");
  if (failing != figures.end() && failing->second != 0) {
    return {Health::kBad, "store", "cannot commit, so no job is accepted: make room in " + info.state_dir};
  }
  return info.durable ? Finding{Health::kGood, "store", info.store + " in " + info.state_dir}
                      : Finding{Health::kWarning, "store", "in memory only: jobs end with the daemon"};
}

// Large payloads and results, as the daemon finds them: their folder is closed to others.
void check_payload_files(const client::Client& client, const client::DaemonInfo& info, Findings& findings) {
  const auto figures = client.stats().figures;
  const auto figure = [&](const char* name) {
    const auto found = figures.find(name);
    return found == figures.end() ? std::int64_t{-1} : found->second;
  };
  if (!info.durable || figure("content_files") < 0) return;  // in memory only; or an older daemon
  const std::string folder = info.state_dir + "/futured.db.files";
  const char* const at_least = figure("content_counted_all") == 0 ? "at least " : "";
  findings.push_back({Health::kGood, "payloads",
                      at_least + std::to_string(figure("content_files")) + " files, " +
                          bytes_text(figure("content_bytes")) + ", in " + folder});
  if (figure("content_writable") == 0) {
    findings.push_back({Health::kWarning, "payloads",
                        folder + " is not writable for the daemon: payloads over 256 KiB are refused until it is"});
  }
  if (const std::int64_t left = figure("content_unfinished_files"); left > 0) {
    findings.push_back({Health::kWarning, "payloads",
                        std::to_string(left) + " orphaned files of a daemon that was killed in " + folder +
                            ": the next start of the daemon removes them"});
  }
  if (const std::int64_t left = figure("content_foreign_files"); left > 0) {
    findings.push_back(
        {Health::kWarning, "payloads",
         std::to_string(left) + " files in " + folder + " are not futured's, and nobody removes them: move them away"});
  }
}

// What retention removes, and whether it keeps up. An older daemon tells nothing of it.
void check_retention(const client::Client& client, Findings& findings) {
  const auto figures = client.stats().figures;
  const auto figure = [&](const char* name) {
    const auto found = figures.find(name);
    return found == figures.end() ? std::int64_t{0} : found->second;
  };
  if (!figures.contains("kept_bytes_max")) return;
  const std::int64_t kept = figure("kept_bytes");
  const std::int64_t most = figure("kept_bytes_max");
  findings.push_back({Health::kGood, "retention",
                      bytes_text(kept) + " kept" + (most != 0 ? " of at most " + bytes_text(most) : "") +
                          ", of which " + bytes_text(figure("spool_bytes")) + " are " +
                          std::to_string(figure("spool_files")) + " long outputs; removed since the daemon's start: " +
                          std::to_string(figure("trimmed_jobs")) + " jobs, " + bytes_text(figure("trimmed_bytes"))});
  if (most != 0 && kept > most) {
    findings.push_back({Health::kWarning, "retention",
                        "over bytes_max: what has not ended, or was not told yet, is not removed; jobs may come faster "
                        "than they go; or raise bytes_max in [retention]"});
  }
  if (figure("trim_failed") != 0) {
    findings.push_back(
        {Health::kWarning, "retention", "the last step failed, as the daemon's log says; it is tried again"});
  }
  if (figure("spool_failed") != 0) {
    findings.push_back({Health::kWarning, "retention",
                        "long outputs of removed jobs could not be removed: the daemon's log says why"});
  }
  const std::int64_t hits = figure("cache_hits") + figure("cache_joined");
  findings.push_back({Health::kGood, "cache",
                      std::to_string(figure("cache_entries")) + " outcomes, " + bytes_text(figure("cache_bytes")) +
                          " of at most " + bytes_text(figure("cache_bytes_max")) + "; of use " + std::to_string(hits) +
                          " times, of none " + std::to_string(figure("cache_misses")) + " times"});
}

std::optional<client::DaemonInfo> check_daemon(const Globals& globals, Findings& findings) {
  try {
    const client::Client client = connect_only(globals);
    const client::DaemonInfo info = client.info();
    findings.push_back({Health::kGood, "daemon",
                        "version " + info.version + ", pid " + std::to_string(info.pid) + ", at " + client.address() +
                            ", epoch " + std::to_string(info.epoch)});
    if (info.version != FUTURED_VERSION) {
      findings.push_back(
          {Health::kWarning, "versions", "fut is " FUTURED_VERSION ": restart the daemon to have one version"});
    }
    findings.push_back(store_finding(client, info));
    check_payload_files(client, info, findings);
    check_retention(client, findings);
    for (const client::PoolInfo& pool : info.pools) {
      findings.push_back({pool.problem.empty() ? Health::kGood : Health::kBad, "pool " + pool.name,
                          pool.problem.empty() ? pool.mode + ", " + std::to_string(pool.workers) + " workers, " +
                                                     std::to_string(pool.tasks.size()) + " tasks"
                                               : pool.problem});
    }
    return info;
  } catch (const client::Error& error) {
    findings.push_back({Health::kBad, "daemon", error.what()});
    return std::nullopt;
  }
}

void check_socket(const std::string& address, Findings& findings) {
  if (!address.starts_with("unix:") && !address.starts_with('/')) return;
  const std::string path = address.starts_with('/') ? address : address.substr(sizeof("unix:") - 1);
  struct stat found = {};
  if (::stat(path.c_str(), &found) != 0) {
    findings.push_back({Health::kWarning, "socket", system_error(path).message});
    return;
  }
  char mode[8];
  std::snprintf(mode, sizeof mode, "%04o", found.st_mode & 07777);
  const bool open_to_all = (found.st_mode & S_IWOTH) != 0;
  const bool usable = ::access(path.c_str(), W_OK) == 0;
  const std::string detail =
      path + ", mode " + mode + ", owner " + std::to_string(found.st_uid) + ":" + std::to_string(found.st_gid);
  if (!usable) {
    findings.push_back({Health::kBad, "socket", detail + ": you may not connect; join its group"});
  } else {
    findings.push_back({open_to_all ? Health::kWarning : Health::kGood, "socket",
                        detail + (open_to_all ? ": every user of this machine may submit" : "")});
  }
}

void check_file_system(const std::string& state_dir, Findings& findings) {
  constexpr long kTmpfs = 0x01021994;
  constexpr long kNfs = 0x6969;
  constexpr long kSmb = 0xfe534d42;
  struct statfs about = {};
  if (::statfs(state_dir.c_str(), &about) != 0) {
    findings.push_back({Health::kWarning, "state", system_error(state_dir).message});
    return;
  }
  const auto free_bytes = static_cast<std::int64_t>(about.f_bavail) * about.f_bsize;
  const std::string room = bytes_text(free_bytes) + " free in " + state_dir;
  if (about.f_type == kTmpfs) {
    findings.push_back({Health::kWarning, "state", room + ", which is memory: nothing survives a reboot"});
  } else if (about.f_type == kNfs || about.f_type == kSmb) {
    findings.push_back(
        {Health::kBad, "state", room + ", which is a network file system: SQLite's WAL does not work there"});
  } else {
    const bool short_of_room = free_bytes < (std::int64_t{256} << 20);
    findings.push_back({short_of_room ? Health::kWarning : Health::kGood, "state", room});
  }
}

// Median of 21 appends of 4 KiB with fdatasync: what one commit costs at least.
void check_fsync(const std::string& state_dir, Findings& findings) {
  const Fd file(::open(state_dir.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  if (!file.is_open()) {
    findings.push_back({Health::kWarning, "fsync", "not measured: " + system_error(state_dir).message});
    return;
  }
  const std::string page(4096, 'x');
  std::vector<std::int64_t> times;
  for (int i = 0; i < 21; ++i) {
    const Instant begin = monotonic_now();
    if (::write(file.get(), page.data(), page.size()) < 0 || ::fdatasync(file.get()) != 0) {
      findings.push_back({Health::kBad, "fsync", system_error(state_dir).message});
      return;
    }
    times.push_back((monotonic_now() - begin).count() / 1000);
  }
  std::sort(times.begin(), times.end());
  const std::int64_t median = times[times.size() / 2];
  const bool slow = median > 10'000;
  findings.push_back({slow ? Health::kWarning : Health::kGood, "fsync",
                      duration_text(median) + " for 4 KiB" + (slow ? ": every job waits for this at least once" : "")});
}

void check_cgroup(Findings& findings) {
  std::ifstream file("/proc/self/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with("0::")) continue;
    for (const char* mount : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
      const std::string path = mount + line.substr(3);
      if (::access((path + "/cgroup.procs").c_str(), F_OK) != 0) continue;
      const bool writable = ::access(path.c_str(), W_OK) == 0;
      findings.push_back(
          {writable ? Health::kGood : Health::kWarning, "cgroup",
           path + (writable ? ", writable" : " is not writable for you: process trees are stopped by walking them")});
      return;
    }
  }
  findings.push_back({Health::kWarning, "cgroup", "no cgroup v2: process trees are stopped by walking them"});
}

void check_limits(Findings& findings) {
  rlimit files = {};
  rlimit processes = {};
  ::getrlimit(RLIMIT_NOFILE, &files);
  ::getrlimit(RLIMIT_NPROC, &processes);
  const auto text = [](rlim_t limit) {
    return limit == RLIM_INFINITY ? std::string("no limit") : std::to_string(limit);
  };
  const bool few = files.rlim_max < 4096 || processes.rlim_cur < 256;
  findings.push_back({few ? Health::kWarning : Health::kGood, "limits",
                      "descriptors " + text(files.rlim_cur) + " of " + text(files.rlim_max) + ", processes " +
                          text(processes.rlim_cur) + (few ? ": raise them with ulimit" : "")});
  const Fd memory(::memfd_create("fut-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  findings.push_back(memory.is_open() ? Finding{Health::kGood, "memfd", "sealed shared memory works"}
                                      : Finding{Health::kBad, "memfd", system_error("memfd_create").message});
}

// Where it is "advise" or more, arrays have huge pages. Nothing is wrong without: docs/client.md tells what they gain
// and what they may cost.
void check_huge_pages(Findings& findings) {
  std::ifstream file("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
  std::string choices;
  std::getline(file, choices);
  const std::size_t from = choices.find('[');
  if (from == std::string::npos) return;
  const std::string chosen = choices.substr(from + 1, choices.find(']', from) - from - 1);
  findings.push_back({Health::kGood, "huge pages", "for shared memory: " + chosen});
}

int doctor(const Globals& globals) {
  Findings findings;
  const std::optional<client::DaemonInfo> info = check_daemon(globals, findings);
  check_socket(globals.address.empty() ? client::default_address() : globals.address, findings);
  const std::string state_dir = info && !info->state_dir.empty() ? info->state_dir : user_daemon().state_dir;
  check_file_system(state_dir, findings);
  check_fsync(state_dir, findings);
  check_cgroup(findings);
  check_limits(findings);
  check_huge_pages(findings);
  bool bad = false;
  Table table({"CHECK", "", "FOUND"});
  for (const Finding& finding : findings) {
    bad = bad || finding.health == Health::kBad;
    if (globals.json) {
      print_json({{"check", finding.what}, {"health", word_of(finding.health)}, {"found", finding.detail}});
    } else {
      table.add({finding.what, std::string(word_of(finding.health)), finding.detail});
    }
  }
  if (!globals.json) table.print();
  if (!info) return kUnreachable;
  return bad ? kJobFailed : kOk;
}

}  // namespace

void add_doctor(CLI::App& app, Globals& globals) {
  CLI::App& verb = *app.add_subcommand("doctor", "Check daemon, socket, disk, payload files, cgroups and limits");
  verb.footer(
      "Starts nothing. Exits 0 when there is no problem, 1 when there is one, 3 when no daemon answers.\n\n"
      "Examples:\n"
      "  fut doctor\n"
      "  fut --address unix:/run/futured/futured.sock doctor --json\n");
  verb.callback([&globals] { globals.action = [&globals] { return doctor(globals); }; });
}

}  // namespace futured::cli
