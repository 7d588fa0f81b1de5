#include "client/cli/bench_cheatsheet_work.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <random>

#include "base/limits.h"
#include "client/cli/bench_cheatsheet.h"

namespace futured::cli::cheatsheet {

namespace {

constexpr double kRounding = 1e-9;  // the task adds in another order

double number_of(const std::string& result) {
  double value = 0;
  const char* const end = result.data() + result.size();
  const auto [stopped, problem] = std::from_chars(result.data(), end, value);
  if (problem != std::errc() || stopped != end) throw WrongResult("task sum returned no number");
  return value;
}

void check_total(double total, const Numbers& numbers) {
  if (std::abs(total - numbers.sum) <= kRounding * numbers.sum) return;
  throw WrongResult("task sum returned " + std::to_string(total) + ", not " + std::to_string(numbers.sum));
}

client::Part array_part(std::span<const double> values) {
  const auto bytes = std::as_bytes(values);
  client::Part part;
  part.bytes.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  part.segment.dtype = "float64";
  part.segment.shape = {static_cast<std::int64_t>(values.size())};
  return part;
}

}  // namespace

void check_sum(const std::string& result, std::uint64_t expected) {
  if (result == std::to_string(expected)) return;
  throw WrongResult("task sum_squares returned " + result + ", not " + std::to_string(expected));
}

Numbers make_numbers(std::uint64_t bytes, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Numbers numbers;
  numbers.values.resize(bytes / sizeof(double));
  for (double& value : numbers.values) {
    value = 1 + static_cast<double>(random() >> 11) * 0x1p-53;
    numbers.sum += value;
  }
  return numbers;
}

void sum_through_grpc(const client::Client& /*client*/, const client::Executor& executor, const Numbers& numbers) {
  constexpr std::size_t kValuesMax = limits::kPayloadBytesMax / sizeof(double);
  std::vector<client::Future> futures;
  std::span<const double> left = numbers.values;
  while (!left.empty()) {
    const auto values = left.first(std::min(left.size(), kValuesMax));
    left = left.subspan(values.size());
    futures.push_back(executor.submit("sum", std::vector<client::Part>{array_part(values)}));
  }
  double total = 0;
  for (const client::Future& future : futures) total += number_of(future.result());
  check_total(total, numbers);
}

void sum_through_segment(const client::Client& client, const client::Executor& executor, const Numbers& numbers) {
  const client::Segment segment = client.put(std::as_bytes(std::span(numbers.values)), "float64",
                                             {static_cast<std::int64_t>(numbers.values.size())});
  check_total(number_of(executor.submit("sum", std::vector<client::Part>{client::part_of(segment)}).result()), numbers);
  client.drop(segment);
}

std::uint64_t jobs_through_grpc(std::uint64_t bytes) {
  return (bytes + limits::kPayloadBytesMax - 1) / limits::kPayloadBytesMax;
}

double median_of(std::uint32_t repeats, std::uint64_t bytes, const std::function<void(const Numbers&)>& send) {
  const auto seed = static_cast<std::uint64_t>(monotonic_now().ns);
  std::vector<double> all;
  for (std::uint32_t i = 0; i < repeats; ++i) {
    const Numbers numbers = make_numbers(bytes, seed + i);
    all.push_back(timed([&] { send(numbers); }));
  }
  return median(std::move(all));
}

double starts_per_second(std::span<const std::int64_t> started_us) {
  const auto [first, last] = std::minmax_element(started_us.begin(), started_us.end());
  if (first == last || *first <= 0 || *first == *last) throw WrongResult("the jobs tell no different times of start");
  return static_cast<double>(started_us.size() - 1) * 1e6 / static_cast<double>(*last - *first);
}

double starts_per_second(const client::Client& client, std::span<const client::Future> futures) {
  std::vector<std::int64_t> started_us;
  for (const client::Future& future : futures) started_us.push_back(client.job(future.id()).started_us);
  return starts_per_second(started_us);
}

std::string rate_text(double started, double asked) {
  char text[64];
  std::snprintf(text, sizeof text, "%.1f/s of %.1f/s", started, asked);
  return text;
}

}  // namespace futured::cli::cheatsheet
