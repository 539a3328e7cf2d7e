// SPDX-License-Identifier: Apache-2.0
#include "core/observe/calls.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "core/common/per_process.h"

namespace opennrt::observe::calls {
namespace {

constexpr std::size_t kMaxFunctions = 256;
constexpr std::size_t kMaxLine = 1024;

/// A line of the cache each: threads mostly call different functions at a time.
struct alignas(64) Cell {
  std::atomic<std::uint64_t> calls{0}, failures{0}, nanoseconds{0};
};
std::array<Cell, kMaxFunctions> cells;
std::atomic<bool> timing{false};
/// Of the record. A file that was replaced stays open: a thread may be writing to it.
std::atomic<int> record_file{-1};
std::atomic<std::uint64_t> record_begin{0};
std::atomic<std::uint32_t> threads{0};

struct Configured {
  std::mutex mutex;
  Settings settings;
  std::span<const char* const> names;
};
/// A forked child has none: the file of the counts belongs to its parent.
Configured& configured() {
  return per_process<Configured>();
}

/// Small numbers in the order of first calls, the same in every run of a program with one thread.
std::uint32_t thread_number() {
  thread_local const std::uint32_t number = threads.fetch_add(1, std::memory_order_relaxed);
  return number;
}

}  // namespace

Status configure(const Settings& settings, std::span<const char* const> names) {
  Configured& now = configured();
  const std::lock_guard lock(now.mutex);
  if (names.size() > kMaxFunctions) {
    return make_error(ErrorCode::kInternal, "{} functions, expected at most {}", names.size(), kMaxFunctions);
  }
  if (settings.record != now.settings.record) {
    int file = -1;
    if (!settings.record.empty()) {
      file = open(settings.record.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
      if (file < 0) {
        return make_error(ErrorCode::kInvalidArgument,
                          "OPENNRT_CALL_RECORD is \"{}\", expected a file to append to: {}", settings.record,
                          std::strerror(errno));
      }
    }
    record_begin.store(0, std::memory_order_relaxed);
    record_file.store(file, std::memory_order_release);
  }
  now.settings = settings;
  now.names = names;
  timing.store(!settings.record.empty() || !settings.stats.empty(), std::memory_order_relaxed);
  return {};
}

bool timed() {
  return timing.load(std::memory_order_relaxed);
}

bool recording() {
  return record_file.load(std::memory_order_relaxed) >= 0;
}

void count(std::size_t function, bool failed) noexcept {
  if (function >= kMaxFunctions) return;
  cells[function].calls.fetch_add(1, std::memory_order_relaxed);
  if (failed) cells[function].failures.fetch_add(1, std::memory_order_relaxed);
}

void time(std::size_t function, bool failed, std::uint64_t begin_ns, std::uint64_t end_ns,
          std::string_view text) noexcept {
  if (function >= kMaxFunctions) return;
  count(function, failed);
  cells[function].nanoseconds.fetch_add(end_ns - begin_ns, std::memory_order_relaxed);
  const int file = record_file.load(std::memory_order_acquire);
  if (file < 0 || text.empty()) return;
  std::uint64_t first = 0;
  record_begin.compare_exchange_strong(first, begin_ns, std::memory_order_relaxed);
  if (first == 0 || first > begin_ns) first = begin_ns;
  std::array<char, kMaxLine> line;
  // What differs from run to run comes behind the semicolon.
  const auto end = fmt::format_to_n(line.data(), line.size() - 1, "T{} {} ; {} ns at {} ns, process {}",
                                    thread_number(), text, end_ns - begin_ns, begin_ns - first, getpid());
  *end.out = '\n';
  const int saved = errno;
  [[maybe_unused]] const auto written = write(file, line.data(), static_cast<std::size_t>(end.out - line.data()) + 1);
  errno = saved;
}

Count of(std::size_t function) {
  if (function >= kMaxFunctions) return {};
  const Cell& cell = cells[function];
  return {cell.calls.load(std::memory_order_relaxed), cell.failures.load(std::memory_order_relaxed),
          cell.nanoseconds.load(std::memory_order_relaxed)};
}

Count total() {
  Count sum;
  for (std::size_t i = 0; i < kMaxFunctions; ++i) {
    const Count one = of(i);
    sum.calls += one.calls;
    sum.failures += one.failures;
    sum.nanoseconds += one.nanoseconds;
  }
  return sum;
}

Status write_stats(std::string_view backend) {
  Configured& now = configured();
  const std::lock_guard lock(now.mutex);
  if (now.settings.stats.empty()) return {};
  nlohmann::ordered_json functions = nlohmann::ordered_json::object();
  for (std::size_t i = 0; i < now.names.size(); ++i) {
    const Count one = of(i);
    if (one.calls == 0) continue;
    functions[now.names[i]] = {{"calls", one.calls}, {"failures", one.failures}, {"nanoseconds", one.nanoseconds}};
  }
  const nlohmann::ordered_json page = {
      {"backend", backend}, {"process", getpid()}, {"functions", std::move(functions)}};
  std::ofstream file(now.settings.stats, std::ios::trunc);
  file << page.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  file.close();
  if (!file) {
    return make_error(ErrorCode::kInvalidArgument, "OPENNRT_CALL_STATS is \"{}\", expected a file to write to",
                      now.settings.stats);
  }
  return {};
}

}  // namespace opennrt::observe::calls
