// Schedules: jobs that the daemon makes by itself, again and again. docs/schedules.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "futured/types.h"

namespace futured::client {

enum class CatchUp : std::uint8_t { kSkip, kOne, kAll };  // of firings that were missed; kAll: up to catch_up_max
enum class Overlap : std::uint8_t { kAllow, kSkip, kQueue, kReplace };  // while the job of the last firing goes on

struct Schedule {
  std::string name;
  std::string cron;       // five fields, or six with seconds first; or
  Milliseconds every{0};  // from 1 s on
  std::string time_zone;  // IANA name, of the cron line; "" = UTC
  CatchUp catch_up = CatchUp::kSkip;
  std::uint32_t catch_up_max = 0;
  Overlap overlap = Overlap::kAllow;
  Milliseconds jitter{0};  // fires up to so long after its time
  bool paused = false;
  JobOptions job;             // of each job; not told by the daemon
  std::string task;           // with its payload, or
  std::vector<Part> payload;  // of inline bytes
  CommandLine command;

  // Told by the daemon.
  std::string queue;
  std::int64_t last_us = 0;  // the firing of the last job; 0: there is none yet
  std::uint64_t last_job_id = 0;
  std::int64_t next_us = 0;  // 0: it is paused
};

}  // namespace futured::client
