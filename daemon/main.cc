// futured: the scheduler daemon. Reads its settings, puts the parts together, runs until it is told to stop.

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "base/fd.h"
#include "base/limits.h"
#include "base/loop_gauge.h"
#include "base/spool_file.h"
#include "daemon/callback/courier.h"
#include "daemon/loop/loop.h"
#include "daemon/ops/config.h"
#include "daemon/ops/log.h"
#include "daemon/ops/systemd.h"
#include "daemon/pool/segment_table.h"
#include "daemon/pool/vault_link.h"
#include "daemon/rpc/child.h"
#include "daemon/rpc/found_segments.h"
#include "daemon/rpc/server.h"
#include "daemon/rpc/stored_segments.h"
#include "daemon/rpc/waited_outcome.h"

namespace futured {

namespace {

constexpr const char* kVersion = FUTURED_VERSION;
constexpr auto kPoolsReadyWithin = std::chrono::seconds(10);

struct Options {
  std::string config;
  std::string socket;
  std::string state;
  std::string listen;
  std::string log_level;
  std::int64_t idle_exit_s = -1;
  bool user = false;
  std::string spawner;
  std::string zygote;
  bool no_spawner = false;
};

void describe(CLI::App& app, Options& options) {
  app.add_option("--config", options.config, "Settings file, such as /etc/futured/futured.toml");
  app.add_option("--socket", options.socket, "Path of the gRPC socket; clients find it as unix:PATH");
  app.add_option("--state", options.state, "Directory of database, payloads and outputs");
  app.add_option("--listen", options.listen, "Also serve gRPC over TCP at ADDRESS:PORT; loopback only");
  app.add_option("--idle-exit", options.idle_exit_s,
                 "End daemon and spawner after so many seconds without work; 0: never");
  app.add_option("--log-level", options.log_level, "trace, debug, info, warn, error or off");
  app.add_flag("--user", options.user, "A user's own daemon: the socket is for this user only");
  app.add_option("--spawner", options.spawner,
                 "Program to start as spawner (default: futured-spawner beside this one)");
  app.add_flag("--no-spawner", options.no_spawner, "Never start a spawner: wait for the one that the service runs");
  app.add_option("--zygote", options.zygote, "Program of the pools' zygotes (default: futured-zygote beside this one)");
  app.set_version_flag("--version", std::string("futured ") + kVersion);
  app.footer(
      "Examples:\n"
      "  futured --socket /tmp/f.sock --state /tmp/f     a private daemon\n"
      "  futured --config /etc/futured/futured.toml      as the service runs it\n");
}

Result<ops::Config> settings(const Options& options) {
  auto config = options.config.empty() ? Result<ops::Config>(ops::default_config()) : ops::read_config(options.config);
  if (!config.ok()) return config.error();
  if (!options.socket.empty()) config->socket = options.socket;
  if (!options.state.empty()) config->state = options.state;
  if (!options.listen.empty()) config->listen = options.listen;
  if (!options.log_level.empty()) config->log_level = options.log_level;
  if (options.idle_exit_s >= 0) config->idle_exit_ms = options.idle_exit_s * 1000;
  if (const Status checked = ops::check(*config); !checked.ok()) return checked.error();
  return config;
}

std::string beside_this_program(const char* name) {
  std::error_code ignored;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return ignored ? std::string(name) : (self.parent_path() / name).string();
}

Status make_state_directory(const std::string& path) {
  std::error_code problem;
  std::filesystem::create_directories(path + "/output", problem);  // where long output goes
  if (problem) return Error{ErrorCode::kPermissionDenied, "state directory " + path + ": " + problem.message()};
  if (::access(path.c_str(), W_OK | X_OK) != 0) return system_error("state directory " + path + " must be writable");
  return {};
}

Result<std::string> read_file(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  if (!file) return system_error(path);
  return text;
}

Result<std::map<std::string, rpc::CallbackTls>> read_tls(const ops::CallbackSection& callbacks) {
  std::map<std::string, rpc::CallbackTls> all;
  for (const auto& [name, files] : callbacks.tls) {
    const auto ca = read_file(files.ca);
    const auto certificate = read_file(files.certificate);
    const auto key = read_file(files.key);
    for (const auto& read : {ca, certificate, key}) {
      if (!read.ok()) return read.error().in("[callbacks.tls." + name + "]");
    }
    all[name] = {*ca, *certificate, *key};
  }
  return all;
}

callback::WebhookRules webhook_rules(const ops::CallbackSection& callbacks) {
  callback::WebhookRules rules;
  rules.allow_private = callbacks.allow_private;
  rules.redirects_max = static_cast<std::uint32_t>(callbacks.redirects_max);
  rules.ca_file = callbacks.ca;
  rules.secrets = callbacks.secrets;
  rules.user_agent = std::string("futured/") + kVersion;
  return rules;
}

// Room for workers that stand in for those whose jobs wait for others: behind the slots of all pools, so that their
// numbers stay what they are. What was not asked for shares what is left.
void add_spares(const ops::Config& config, Loop::Parts& parts, std::uint32_t next_slot) {
  std::uint32_t left = limits::kSlotsMax - (next_slot - 1);
  for (std::size_t i = 0; i < config.pools.size(); ++i) {
    const ops::PoolSection& pool = config.pools[i];
    const std::uint32_t each = pool.terms.slots_per_worker();
    const auto pools_left = static_cast<std::uint32_t>(config.pools.size() - i);
    std::uint32_t workers = std::min(limits::kLentWorkersDefault, left / pools_left / each);
    if (pool.waiting_max >= 0) {
      const auto runs = each * pool.terms.runs_per_slot();
      workers = (static_cast<std::uint32_t>(pool.waiting_max) + runs - 1) / runs;
    }
    if (pool.terms.mode == PoolMode::kCommand) workers = 0;  // a command line waits for no job
    const std::uint32_t slots = std::min(workers, left / each) * each;
    parts.setup.pools[i].spare_slots = slots;
    parts.pool_configs[i].first_spare = SlotId{next_slot};
    parts.pool_configs[i].spares = slots;
    parts.spool_users.insert(parts.spool_users.end(), slots, spool_user(pool.terms.user));
    next_slot += slots;
    left -= slots;
  }
}

Loop::Parts parts_of(const ops::Config& config, const Options& options, std::unique_ptr<Store> store,
                     SegmentTable& segments, std::optional<SpoolSweep>& sweep) {
  Loop::Parts parts;
  parts.store = std::move(store);
  parts.setup.seed = static_cast<std::uint64_t>(wall_now().us);
  parts.setup.admin_uid = ::getuid();
  parts.retention = {.age = std::chrono::milliseconds(config.retention.age_ms),
                     .failed_age = std::chrono::milliseconds(config.retention.failed_age_ms),
                     .jobs_max = config.retention.jobs_max,
                     .bytes_max = config.retention.bytes_max};
  parts.setup.cache = {.bytes_max = config.cache.bytes_max, .entries_max = config.cache.entries_max};
  parts.trimmed = [&segments, &sweep](const std::vector<JobId>& jobs) {
    for (const JobId job : jobs) segments.forget_result(job);
    if (sweep) sweep->jobs_removed();
  };
  parts.spool = [&sweep] { return sweep ? sweep->figures() : SpoolFigures{}; };
  std::uint32_t next_slot = 1;
  for (const ops::PoolSection& pool : config.pools) {
    const std::uint32_t workers = ops::workers_max(pool);
    const std::uint32_t slots = workers * pool.terms.slots_per_worker();
    parts.setup.pools.push_back({.name = pool.name,
                                 .commands = pool.terms.mode == PoolMode::kCommand,
                                 .slots = slots,
                                 .tasks = {},
                                 .workers_min = std::min(pool.size_min, workers),
                                 .slots_per_worker = pool.terms.slots_per_worker(),
                                 .runs_per_slot = pool.terms.runs_per_slot(),
                                 .idle = std::chrono::milliseconds(pool.idle_ms),
                                 .memory_bytes_max = pool.terms.memory_bytes_max});
    parts.pool_configs.push_back({.name = pool.name,
                                  .slots = slots,
                                  .first_slot = SlotId{next_slot},
                                  .terms = pool.terms,
                                  .env = pool.env,
                                  .workers_min = parts.setup.pools.back().workers_min,
                                  .idle = parts.setup.pools.back().idle});
    parts.spool_users.insert(parts.spool_users.end(), slots, spool_user(pool.terms.user));
    next_slot += slots;
  }
  add_spares(config, parts, next_slot);
  for (const ops::QueueSection& queue : config.queues) {
    const Discipline discipline = queue.discipline == "lifo"       ? Discipline::kLifo
                                  : queue.discipline == "priority" ? Discipline::kPriority
                                                                   : Discipline::kFifo;
    parts.setup.queues.push_back({queue.name, discipline});
  }
  pool::LocalPoolsSetup pools;
  pools.state_directory = config.state;
  if (!options.no_spawner) {
    pools.spawner_program = options.spawner.empty() ? beside_this_program("futured-spawner") : options.spawner;
  }
  pools.zygote_program = options.zygote.empty() ? beside_this_program("futured-zygote") : options.zygote;
  pools.spawner_idle_exit_s = config.idle_exit_ms / 1000;
  parts.pools = std::make_unique<pool::LocalPools>(std::move(pools));
  parts.ready_within = kPoolsReadyWithin;
  parts.log = [](const std::string& line) { ops::log_warning(line); };
  parts.segments_of = [&segments](std::string_view payload) { return segments.descriptors_for(payload); };
  parts.spool_directory = config.state + "/output";
  parts.keep_segments = [&segments](JobId job, std::string_view result, std::span<Fd> descriptors) {
    return segments.keep_result(job, result, descriptors);
  };
  parts.child = rpc::to_submit;
  parts.outcome_of = [admin = parts.setup.admin_uid](StoreReader& reader, JobId job, Principal who) {
    return rpc::waited_outcome(reader, job, who, admin);
  };
  return parts;
}

rpc::ServerSetup server_setup(const ops::Config& config, const Loop& loop) {
  rpc::ServerSetup setup;
  setup.socket = config.socket;
  setup.listen = config.listen;
  setup.version = kVersion;
  setup.state_directory = config.state;
  const StoreVersion store = sqlite_version();
  setup.store = store.program;
  setup.schema_version = store.schema;
  setup.epoch = loop.epoch();
  setup.idle_exit_ms = config.idle_exit_ms;
  setup.pools = loop.pool_configs();
  setup.admin_uid = ::getuid();
  for (const auto& [name, secret] : config.callbacks.secrets) setup.callback_names.secrets.insert(name);
  for (const auto& [name, tls] : config.callbacks.tls) setup.callback_names.tls.insert(name);
  setup.callback_names.allow_private = config.callbacks.allow_private;
  setup.log = [](const std::string& line) { ops::log_warning(line); };
  return setup;
}

// SIGTERM and SIGINT, and what the Shutdown call asks for, arrive here.
class StopSignal {
 public:
  StopSignal() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    fd_ = Fd(signalfd(-1, &signals, SFD_CLOEXEC));
    ::signal(SIGPIPE, SIG_IGN);
  }
  // True when it came within `timeout_ms` (-1: for ever).
  bool wait(int timeout_ms) {
    pollfd poll{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    const Instant asleep = monotonic_now();
    gauge_->end(asleep, "looking whether the daemon is idle");
    gauge_->set_timers(timeout_ms < 0 ? 0 : 1);
    const bool came = ::poll(&poll, 1, timeout_ms) > 0;
    gauge_->begin(monotonic_now());
    if (!came && timeout_ms >= 0) gauge_->due(asleep + std::chrono::milliseconds(timeout_ms));
    return came;
  }
  // Turns lag from the end of the wait on; a signal does not tell since when it is there.
  [[nodiscard]] std::shared_ptr<const LoopGauge> gauge() const { return gauge_; }

 private:
  Fd fd_;
  const std::shared_ptr<LoopGauge> gauge_ = std::make_shared<LoopGauge>("main", std::vector<std::string>{"signals"});
};

// Ends an idle user's daemon. Looked at now and then: being a little late costs nothing.
class IdleWatch {
 public:
  IdleWatch(Loop& loop, rpc::Server& server, std::int64_t idle_exit_ms)
      : loop_(loop), server_(server), idle_exit_(std::chrono::milliseconds(idle_exit_ms)) {}

  [[nodiscard]] int period_ms() const {
    if (idle_exit_.count() == 0) return -1;
    return static_cast<int>(std::clamp<std::int64_t>(idle_exit_.count() / 4'000'000, 250, 15'000));
  }
  void check() {
    loop_.look([this](const Loop& loop) {
      const Instant now = monotonic_now();
      if (!loop.scheduler().idle() || loop.scheduler().owes_callbacks() || loop.scheduler().waits_for_time() ||
          server_.open_calls() > 0)
        last_busy_.store(now.ns);
      const Instant last = std::max(Instant{last_busy_.load()}, server_.last_call());
      if (now - last >= idle_exit_) ::kill(::getpid(), SIGTERM);
    });
  }
  [[nodiscard]] bool is_over() const {
    return idle_exit_.count() > 0 &&
           monotonic_now() - std::max(Instant{last_busy_.load()}, server_.last_call()) >= idle_exit_;
  }

 private:
  Loop& loop_;
  rpc::Server& server_;
  Duration idle_exit_;
  std::atomic<std::int64_t> last_busy_{monotonic_now().ns};
};

Status run(const ops::Config& config, const Options& options) {
  StopSignal stop_signal;
  if (const Status made = make_state_directory(config.state); !made.ok()) return made;
  auto store = open_sqlite_store(config.state + "/futured.db", static_cast<int>(config.compression_level));
  if (!store.ok()) return store.error();
  auto tls = read_tls(config.callbacks);
  if (!tls.ok()) return tls.error();
  auto reader = (*store)->reader();
  auto courier_reader = (*store)->reader();
  auto keeper = (*store)->keeper();
  auto sweep_reader = (*store)->reader();
  const std::shared_ptr<SentContents> sent = (*store)->sent_contents();
  SegmentTable segments;
  std::unique_ptr<callback::Courier> courier;
  std::optional<SpoolSweep> sweep;  // once there are threads
  Loop::Parts parts = parts_of(config, options, std::move(*store), segments, sweep);
  parts.deliver = [&courier](std::vector<effect::Deliver> deliveries) { courier->deliver(std::move(deliveries)); };
  ReaderThread* asked = nullptr;  // once there is one
  parts.ask_reader = [&asked](std::function<void(StoreReader&)> question) {
    return asked != nullptr && asked->ask(std::move(question));
  };
  KeeperThread* keeping = nullptr;  // once there is one
  parts.fetch_segments = [&segments, &keeping](std::string payload, Loop::Parts::Descriptors then) {
    if (keeping == nullptr) return then(Error{ErrorCode::kResourceExhausted, "the daemon is starting"});
    rpc::fetch_segments(segments, *keeping, std::move(payload), std::move(then));
  };
  std::optional<Epoch> epoch;
  // What waits for its jobs lies with the spawner too, and outlives this daemon.
  const auto entrust = [&] {
    auto vault = VaultLink::open(config.state, *epoch);
    if (vault.ok()) return segments.entrust(*std::move(vault));
    ops::log_warning("segments would be lost with this daemon: " + vault.error().message);
    return std::vector<SegmentTable::Found>();
  };
  parts.reattached = [&entrust] { static_cast<void>(entrust()); };
  Loop loop(std::move(parts));
  courier = std::make_unique<callback::Courier>(
      callback::Courier::Parts{std::move(courier_reader), webhook_rules(config.callbacks),
                               [&loop](event::Delivered delivered) { loop.delivered(std::move(delivered)); }});
  if (const Status started = loop.start(); !started.ok()) return started.error();
  epoch = loop.epoch();
  {
    const std::vector<SegmentTable::Found> found = entrust();
    if (const Status given = rpc::give_back(found, *reader, loop); !given.ok()) {
      segments.leave_to_vault();
      return given.error();
    }
  }

  // From here on there are threads.
  ReaderThread readers(std::move(reader), limits::kQuestionsMax);
  asked = &readers;
  KeeperThread keepers(std::move(keeper), limits::kQuestionsMax);
  sweep.emplace(SpoolSweep::Setup{config.state + "/output", std::move(sweep_reader),
                                  [](const std::string& line) { ops::log_warning(line); }});
  keeping = &keepers;
  Status outcome;
  std::thread turns([&] {
    outcome = loop.run();
    ::kill(::getpid(), SIGTERM);
  });
  rpc::ServerSetup setup = server_setup(config, loop);
  setup.callback_tls = std::move(*tls);
  setup.sent = sent;
  setup.other_gauges = {courier->gauge(), stop_signal.gauge(), sweep->gauge()};
  auto server = rpc::Server::start(std::move(setup), loop, readers, keepers, segments);
  std::optional<IdleWatch> idle;  // until the loop has ended, for that may still be looking for it
  if (server.ok()) {
    courier->start((*server)->callback_transport());
    ops::log_info("ready at " + config.socket);
    ops::notify_ready("serving " + config.socket);
    idle.emplace(loop, **server, config.idle_exit_ms);
    while (!stop_signal.wait(idle->period_ms())) idle->check();
    if (idle->is_over()) ops::log_info("idle for long enough: ending");
    ops::notify_stopping();
  }
  // A daemon that never served leaves no spawner behind that it has started, either.
  const bool ends_spawner = !server.ok() || idle->is_over();
  loop.stop(ends_spawner ? Loop::Spawner::kStopIfIdle : Loop::Spawner::kLeave);
  turns.join();
  sweep.reset();  // it reads the store, which goes with the loop
  segments.leave_to_vault();
  courier->stop();
  if (!server.ok()) return server.error();
  (*server)->stop();
  return outcome;
}

}  // namespace

}  // namespace futured

int main(int argc, char** argv) {
  CLI::App app("futured, a job-processing daemon: accepts jobs over gRPC and runs them in forked workers.", "futured");
  futured::Options options;
  describe(app, options);
  CLI11_PARSE(app, argc, argv);
  const auto config = futured::settings(options);
  if (!config.ok()) {
    std::fprintf(stderr, "futured: %s\n", config.error().message.c_str());
    return 2;
  }
  futured::ops::start_log(config->log_level);
  ::umask(options.user ? 0077 : 0007);
  const futured::Status outcome = futured::run(*config, options);
  if (outcome.ok()) return 0;
  futured::ops::log_error(outcome.error().message);
  return 1;
}
