// SPDX-License-Identifier: Apache-2.0
//
// Random requests at the emulated device, by processes that open, close, fork, map, and are killed in the middle of it
// (docs/fidelity.md). Runs as `opennrt emulate -- ioctl_fuzz_test`; the machine is the parent process.
// OPENNRT_FUZZ_SECONDS: how long (40). OPENNRT_FUZZ_SEED: where the numbers start; a failure names it.
#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>

#include "backends/neuron/paravirtual.h"
#include "core/isa/inf1.h"
#include "tests/process/ioctl_client.h"
#include "tests/process/ioctl_requests.h"

namespace opennrt::test {
namespace {

namespace pv = neuron::paravirtual;

/// Notification queues stay with the device, with the pages that it has written.
constexpr std::uint64_t kMayGrowKilobytes = 32 * 1024;

constexpr RequestRow kParavirtual[] = {
    {"HELLO", pv::kHello, sizeof(pv::Hello), 0},           {"WAIT", pv::kWait, sizeof(pv::Wait), 0},
    {"CLOCK", pv::kClock, sizeof(pv::Clock), 0},           {"CONSUME", pv::kConsume, sizeof(pv::Consume), 0},
    {"MEM_STATS", pv::kMemStats, sizeof(pv::MemStats), 0}, {"QUIESCE", pv::kQuiesce, sizeof(pv::Quiesce), 0},
    {"MARKER", pv::kMarker, sizeof(pv::Marker), 0},
};

std::uint64_t number(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// One process that misbehaves. Everything follows from its seed.
class Misuser {
 public:
  explicit Misuser(std::uint64_t seed) : random_(seed), scratch_(1 << 16) {}

  void run(unsigned steps) {
    files_.push_back(::open("/dev/neuron0", O_RDWR));
    while (steps-- > 0) step();
    if (chance(4)) ::raise(SIGKILL);
  }

 private:
  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  bool chance(unsigned one_in) { return below(one_in) == 0; }
  template <class T>
  T any(const std::vector<T>& from, T otherwise) {
    return from.empty() ? otherwise : from[below(from.size())];
  }

  void step() {
    switch (below(24)) {
      case 0:
        files_.push_back(::open(("/dev/neuron" + std::to_string(below(5))).c_str(), chance(4) ? O_WRONLY : O_RDWR));
        break;
      case 1:
        if (files_.size() > 1) {
          const std::size_t at = below(files_.size());
          ::close(files_[at]);
          files_.erase(files_.begin() + static_cast<long>(at));
        }
        break;
      case 2:
        files_.push_back(::dup(any(files_, -1)));
        break;
      case 3:
        map();
        break;
      case 4:
        if (chance(8) && depth_ < 2) fork();
        break;
      case 5: {
        std::ifstream file("/sys/class/neuron_device/neuron" + std::to_string(below(5)) + "/core_count");
        std::string text;
        std::getline(file, text);
        break;
      }
      case 6:
      case 7:
        allocate();
        break;
      default:
        request();
        break;
    }
    if (files_.size() > 40) {
      ::close(files_.back());
      files_.pop_back();
    }
  }

  void allocate() {
    std::uint64_t handle = 0;
    abi::MemAllocV2Mt64 arg{};
    arg.size = 1 + below(1 << 18);
    arg.host_memory = chance(2);
    arg.dram_channel = static_cast<std::uint32_t>(below(3));
    arg.nc_id = static_cast<std::uint32_t>(below(5));
    arg.mem_type = static_cast<std::uint32_t>(below(24));
    arg.mem_handle = Node::address(&handle);
    if (::ioctl(any(files_, -1), abi::kMemAllocV2Mt64, &arg) == 0) handles_.push_back(handle);
    abi::MemGetExtendedInfo info{};
    info.mem_handle = handle;
    if (handle != 0 && ::ioctl(any(files_, -1), abi::kMemGetExtendedInfo, &info) == 0)
      offsets_.push_back(info.mmap_offset);
  }

  void map() {
    if (maps_.size() > 16) {
      ::munmap(maps_.back().first, maps_.back().second);
      maps_.pop_back();
      return;
    }
    const std::size_t bytes = 4096 << below(8);
    void* at = ::mmap(nullptr, bytes, PROT_READ | (chance(2) ? PROT_WRITE : 0), MAP_SHARED, any(files_, -1),
                      static_cast<off_t>(chance(4) ? value() : any(offsets_, std::uint64_t{4096})));
    if (at != MAP_FAILED) maps_.emplace_back(at, bytes);
  }

  void fork() {
    const pid_t child = ::fork();
    if (child == 0) {
      ++depth_;
      random_.seed(random_() ^ 0x9e3779b97f4a7c15);
      for (unsigned i = 0; i < 100; ++i) step();
      ::_exit(0);
    }
    if (chance(2)) ::kill(child, SIGKILL);
    if (chance(2)) ::waitpid(child, nullptr, 0);
  }

  /// A field: what could be meant by it, or nonsense. Never an address of this program's own data.
  std::uint64_t value() {
    switch (below(10)) {
      case 0:
        return 0;
      case 1:
        return ~0ull;
      case 2:
        return 1ull << below(64);
      case 3:
        return any(handles_, std::uint64_t{1});
      case 4:
        return random_() | 1ull << 63;
      case 5:
        return border_.address(below(64));
      case 6:
        return any(offsets_, std::uint64_t{0});
      case 7:
        return inf1::kTpbBase + below(1 << 20);
      default:
        return below(64);
    }
  }

  void request() {
    const RequestRow& row =
        chance(12) ? kParavirtual[below(std::size(kParavirtual))] : kRequests[below(std::size(kRequests))];
    alignas(8) static std::uint8_t argument[16384];
    const std::size_t bytes = std::max<std::size_t>(row.bytes, 8);
    for (std::size_t at = 0; at + 4 <= bytes; at += 4) {
      // Small numbers in most of the 32-bit fields, so that what is asked is often nearly right.
      const auto word = static_cast<std::uint32_t>(chance(6) ? value() : below(chance(3) ? 4096 : 6));
      std::memcpy(argument + at, &word, 4);
    }
    for (std::size_t at = 0; at + 8 <= std::min<std::size_t>(bytes, 128); at += 8) {
      if (chance(2)) continue;
      const std::uint64_t field = chance(3) ? Node::address(scratch_.data() + below(4096)) : value();
      // Sizes that a machine would really fill are none of a fuzzer's business.
      std::memcpy(argument + at, &field, 8);
    }
    if (row.command == abi::kDmaQueueInitBatch)
      argument[0] = static_cast<std::uint8_t>(below(4)), argument[1] = argument[2] = argument[3] = 0;
    if (row.command == abi::kDeviceGetAllAppsInfo) argument[4] = 8, argument[5] = argument[6] = argument[7] = 0;
    // A writer's or reader's turn is waited for, up to two seconds: seldom.
    const bool waits = row.command == abi::kCrwlReaderEnter || row.command == abi::kCrwlWriterEnter;
    if (waits && !chance(64)) return;
    unsigned long command = row.command;
    if (chance(16)) command = (command & ~0x3fff'0000ul) | below(300) << 16;
    if (chance(32)) command = (command & ~0xfful) | below(256);
    ::ioctl(any(files_, -1), command, chance(16) ? value_of_pointer() : Node::address(argument));
  }

  std::uint64_t value_of_pointer() { return chance(2) ? border_.address(below(64)) : random_() | 1ull << 63; }

  std::mt19937_64 random_;
  std::vector<std::uint8_t> scratch_;  ///< what a pointer in a structure may lead to; nothing else of ours is near
  Border border_;
  std::vector<int> files_;
  std::vector<std::uint64_t> handles_, offsets_;
  std::vector<std::pair<void*, std::size_t>> maps_;
  unsigned depth_ = 0;
};

/// The machine answers, and what it answers is right.
void expect_healthy() {
  for (int device = 0; device < 4; ++device) {
    Node node(device);
    ASSERT_GE(node.fd(), 0) << std::strerror(errno);
    // Whoever writes registers and states of engines leaves a device that has to be reset, as on silicon.
    abi::DeviceReset reset{abi::kNcMapDevice, 0};
    ASSERT_EQ(node.ask(abi::kNcReset, reset), 0);
    abi::DeviceReady ready{reset.request_id, -1};
    ASSERT_EQ(node.ask(abi::kNcResetReady, ready), 0);
    ASSERT_EQ(ready.result, 0);
    const std::uint64_t memory = node.allocate(4096, false);
    ASSERT_EQ(node.write(memory, {1, 2, 3, 4}, 100), 0);
    ASSERT_EQ(node.read(memory, 4, 100), (std::vector<std::uint8_t>{1, 2, 3, 4}));
    ASSERT_EQ(node.release(memory), 0);
  }
}

std::uint64_t machine_descriptors() {
  std::uint64_t n = 0;
  for ([[maybe_unused]] const auto& e :
       std::filesystem::directory_iterator("/proc/" + std::to_string(::getppid()) + "/fd"))
    ++n;
  return n;
}

std::uint64_t machine_kilobytes() {
  std::ifstream status("/proc/" + std::to_string(::getppid()) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::strtoull(line.c_str() + 6, nullptr, 10);
  }
  return 0;
}

void bury_all() {
  ::kill(0, SIGCONT);
  while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR) continue;
}

TEST(IoctlFuzz, givenProcessesThatMisuseTheDeviceWhenTheyAreGoneThenItIsAsBefore) {
  using clock = std::chrono::steady_clock;
  const auto end = clock::now() + std::chrono::seconds(number("OPENNRT_FUZZ_SECONDS", 40));
  std::uint64_t seed = number("OPENNRT_FUZZ_SEED", 1);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // what the misusers leave behind is ours to wait for
  expect_healthy();
  const std::uint64_t descriptors = machine_descriptors();
  [[maybe_unused]] std::uint64_t warm = 0;  // what the machine has when it knows every request
  unsigned rounds = 0;
  for (; clock::now() < end; ++rounds) {
    SCOPED_TRACE("OPENNRT_FUZZ_SEED=" + std::to_string(seed));
    for (int process = 0; process < 3; ++process) {
      const std::uint64_t own = seed++;
      const pid_t child = ::fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        Misuser(own).run(1000);
        ::_exit(0);
      }
    }
    int status = 0;
    while (::wait(&status) > 0) {
      ASSERT_FALSE(WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) << "signal " << WTERMSIG(status);
    }
    expect_healthy();
    if (::testing::Test::HasFatalFailure()) return;
    if (rounds == 10) warm = machine_kilobytes();
  }
  bury_all();
  // The ends of connections are noticed one after the other.
  for (int i = 0; i < 10000 && machine_descriptors() > descriptors; ++i) ::usleep(1000);
  EXPECT_LE(machine_descriptors(), descriptors);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which keep what was freed
  if (warm != 0) {
    EXPECT_LT(machine_kilobytes(), warm + kMayGrowKilobytes) << "kilobytes, after " << rounds << " rounds";
  }
#endif
  std::printf("%u rounds, machine: %llu KiB, %llu descriptors\n", rounds,
              static_cast<unsigned long long>(machine_kilobytes()),
              static_cast<unsigned long long>(machine_descriptors()));
}

}  // namespace
}  // namespace opennrt::test
