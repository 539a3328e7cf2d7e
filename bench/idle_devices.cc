// SPDX-License-Identifier: Apache-2.0
//
// What do devices cost that do nothing? Prints time to power on and memory for 1, 4 and 16 chips, each in a process of
// its own (the elaboration of the SystemC model happens once per process), then the wall time of the same work on one
// core while 4 to 64 are there, and of more work: it must grow with the work, not with the cores.
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

#include "core/isa/inf1.h"
#include "simulator/machine.h"

namespace {

using namespace opennrt;
using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

double resident_megabytes() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t total = 0, resident = 0;
  file >> total >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
}

/// Copies of 4 KiB within DRAM by one queue of core 0, in a ring of its own; wall time in milliseconds, -1: it failed.
double copy(sim::Machine& machine, std::uint32_t copies) {
  constexpr std::uint32_t kLength = 1024;
  std::vector<std::byte> rings(2 * kLength * inf1::kDescriptorBytes), flag(8);
  const std::uint64_t ring = inf1::kHostBase | machine.host_register(rings.data(), rings.size());
  const std::uint64_t word = inf1::kHostBase | machine.host_register(flag.data(), flag.size());
  const std::uint64_t m2s = inf1::udma_base(0) + inf1::kM2sQueues, s2m = inf1::udma_base(0) + inf1::kS2mQueues;
  for (const bool tx : {true, false}) {
    const std::uint64_t at = tx ? m2s : s2m, base = ring + (tx ? 0 : kLength * inf1::kDescriptorBytes);
    machine.bar_write(0, 0, at + (tx ? inf1::kM2sSwControl : inf1::kS2mSwControl), inf1::kQueueReset);
    machine.bar_write(0, 0, at + inf1::kQBaseLow, static_cast<std::uint32_t>(base));
    machine.bar_write(0, 0, at + inf1::kQBaseHigh, static_cast<std::uint32_t>(base >> 32));
    machine.bar_write(0, 0, at + inf1::kQLength, kLength);
    machine.bar_write(0, 0, at + inf1::kQCfg, inf1::kQCfgEnable);
  }
  std::uint32_t position = 0;
  const auto put = [&](std::uint64_t from, std::uint64_t to, std::uint32_t bytes) {
    const std::uint32_t id = (inf1::kInitialRingId + position / kLength) & 3, slot = position++ % kLength;
    for (const bool tx : {true, false}) {
      const std::uint32_t control =
          bytes | id << inf1::kDescRingIdShift | (tx ? inf1::kDescFirst | inf1::kDescLast : 0);
      std::byte* at = rings.data() + ((tx ? 0 : kLength) + slot) * inf1::kDescriptorBytes;
      std::memcpy(at, &control, 4);
      std::memcpy(at + 8, tx ? &from : &to, 8);
    }
  };
  const auto begin = Clock::now();
  bool ok = true;
  for (std::uint32_t done = 0; ok && done < copies;) {
    std::uint32_t batch = 0;
    for (; batch < kLength / 2 && done < copies; ++batch, ++done)
      put(done % 64 * 4096, 0x10'0000 + done % 64 * 4096, 4096);
    const std::uint32_t wanted = done;
    std::memcpy(flag.data(), &wanted, 4);
    put(word, word + 4, 4);
    machine.bar_write(0, 0, s2m + inf1::kQTailIncrement, batch + 1);
    machine.bar_write(0, 0, m2s + inf1::kQTailIncrement, batch + 1);
    ok = machine.run_until(
             [&] {
               return __atomic_load_n(reinterpret_cast<std::uint32_t*>(flag.data() + 4), __ATOMIC_ACQUIRE) == wanted;
             },
             machine.now_ns() + 1'000'000'000) == sim::Ran::kConditionMet;
  }
  const double took = milliseconds_since(begin);
  machine.host_unregister(ring & ~inf1::kHostBase);
  machine.host_unregister(word & ~inf1::kHostBase);
  return ok ? took : -1;
}

int measure(const char* instance) {
  sim::MachineConfig config;
  config.instance = instance;
  config.chips_dir = std::string(OPENNRT_SOURCE_DIR) + "/simulator/chips";
  const double before = resident_megabytes();
  const auto begin = Clock::now();
  auto machine = sim::Machine::power_on(config);
  if (!machine) {
    fmt::print(stderr, "{}\n", machine.error().message);
    return 1;
  }
  const double on = milliseconds_since(begin), memory = resident_megabytes();
  (void)copy(**machine, 1000);  // warm
  const double little = copy(**machine, 20'000), much = copy(**machine, 80'000);
  fmt::print("{:<14} {:>5} {:>12.1f} {:>10.1f} {:>10.1f} {:>14.1f} {:>14.1f}\n", instance,
             (*machine)->facts().devices * 4, on, memory - before, memory, little, much);
  return little < 0 || much < 0 ? 1 : 0;
}

}  // namespace

int main() {
  fmt::print("{:<14} {:>5} {:>12} {:>10} {:>10} {:>14} {:>14}\n", "instance", "cores", "power on/ms", "added/MB",
             "process/MB", "20k copies/ms", "80k copies/ms");
  std::fflush(stdout);
  for (const char* instance : {"inf1.xlarge", "inf1.6xlarge", "inf1.24xlarge"}) {
    const pid_t child = fork();
    if (child == 0) {
      const int result = measure(instance);
      std::fflush(stdout);
      _exit(result);
    }
    int status = 1;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
