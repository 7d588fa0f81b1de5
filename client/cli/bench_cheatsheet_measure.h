// Cheatsheet: measures row after row with one daemon.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "client/cli/bench_cheatsheet.h"
#include "futured/client.h"

namespace futured::cli::cheatsheet {

// For one thread. What the daemon refuses is a row that says so; a lost daemon is thrown as client::Unavailable.
class Cheatsheet {
 public:
  Cheatsheet(client::Client client, Sizes sizes);

  // `told` is called with each row once it is known, in their order.
  void run(const std::function<void(const Row&)>& told);

 private:
  using Measure = std::function<void(Row&)>;

  Row& measure(Row row, const Measure& work);
  // The same with an executor of a pool of that mode, warm; a row that says how to have one where there is none.
  Row& measure_on(std::string_view mode, Row row, const std::function<void(Row&, const client::Executor&)>& work);
  void tell(Row& row);

  void io();
  void cpu();
  void map();
  void switching();
  void payloads();
  void payload(std::uint64_t bytes);
  void memory();
  void cache();
  void rate();

  const client::Client client_;
  const Sizes sizes_;
  std::vector<client::PoolInfo> pools_;
  std::deque<Row> rows_;  // references to them stay
  std::function<void(const Row&)> told_;
};

}  // namespace futured::cli::cheatsheet
