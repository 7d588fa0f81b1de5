// The machine's own limits, measured without futured: what a benchmark's ratio stands against. Each prints one JSON
// object.
#pragma once

#include <cstdint>
#include <string>

namespace futured::bench {

// Rows a second that one writer gets durably into SQLite, `rows_per_commit` a transaction: the shape of a no-op job's
// row.
void measure_commits(const std::string& folder, std::uint64_t rows, std::uint64_t rows_per_commit);
// A commit of one row at a time: the floor under any durable acknowledgement.
void measure_single_commits(const std::string& folder, std::uint64_t commits);
// Messages of 128 bytes a second from one process to another and back, through two rings in shared memory.
void measure_ring(std::uint64_t messages);
// `/bin/true` a second, two at a time, spawned and reaped by two bare processes.
void measure_spawn(std::uint64_t commands);
// Forks that exit at once a second, two at a time, made and reaped by two bare processes.
void measure_fork(std::uint64_t forks);
// Sums of the squares of 0 to n-1 a second, by so many bare processes that share the calls.
void measure_compute(std::uint64_t calls, std::uint64_t n, int processes);
// A process that is handed a fresh sealed memfd of doubles, maps it and sums it; then sums it again, warm.
void measure_array(std::uint64_t mebibytes, int rounds);

}  // namespace futured::bench
