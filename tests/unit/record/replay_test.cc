// SPDX-License-Identifier: Apache-2.0
//
// A transcript answers for the devices, and says where a program does something else (docs/ioctl-recording.md).
#include "backends/emulator/preload/replay.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "backends/emulator/preload/record.h"
#include "backends/emulator/preload/transcript.h"
#include "tests/unit/record/fake_devices.h"
#include "tests/unit/tools/process.h"

namespace opennrt::emulator::test {
namespace {

const std::string kHeader = transcript_header("2.24.7.0", false);
const std::string kOpen = "1.1 process\n1.1 open device=0 flags=O_RDWR -> fd1\n";

struct Replay : testing::Test {
  opennrt::test::TemporaryFolder folder;
  const std::string file = (folder / "transcript").string();

  void SetUp() override {
    opennrt::test::write_text(folder / "count", "");
    setenv(kReplayStateVariable, (folder / "count").c_str(), 1);
    testing::internal::CaptureStderr();
  }
  void TearDown() override {
    testing::internal::GetCapturedStderr();
    unsetenv(kReplayStateVariable);
    unsetenv(kPayloadVariable);
  }
  Provider& replay(const std::string& lines, const std::string& header = kHeader) {
    opennrt::test::write_text(file, header + lines);
    return keep(make_replayer(file));
  }
  std::string said() {
    std::string text = testing::internal::GetCapturedStderr();
    testing::internal::CaptureStderr();
    return text;
  }
};

TEST_F(Replay, givenARecordingThenAProgramGetsTheSameAnswers) {
  struct Answers {
    std::uint64_t bytes = 0, inside = 0;
    bool self = false, same_offset = false;
    std::uint32_t semaphore = 0, free_cores = 0;
    std::vector<int> results;
    bool operator==(const Answers&) const = default;
  };
  const auto use = [](Provider& devices) {
    Answers answers;
    Program program{devices, devices.open(0, O_RDWR)};
    const std::uint64_t one = program.alloc(4096), two = program.alloc(64);
    const auto info = program.info(one);
    answers.bytes = info.size;
    answers.self = info.pid == static_cast<std::uint64_t>(getpid());
    abi::MemGetMcMmapInfo find{info.pa + 0x40, 0, 0};
    answers.results.push_back(devices.ioctl(program.fd, abi::kMemMcGetInfo, &find));
    answers.inside = find.size;
    answers.same_offset = find.mmap_offset == info.mmap_offset;
    char buffer[70000];
    program.copy(two, buffer, sizeof buffer, true);
    while ((answers.semaphore = program.semaphore(3)) == 0) {
    }
    abi::CrwlNcMap map{4, 0, 3, 0, 0};
    answers.results.push_back(devices.ioctl(program.fd, abi::kCrwlNcRangeMark, &map));
    answers.free_cores = map.max_nc_available;
    answers.results.push_back(devices.ioctl(program.fd, 0x4e99, nullptr));
    answers.results.push_back(devices.open(7, O_RDWR));
    program.free(one);
    answers.results.push_back(program.result);
    program.free(one);
    answers.results.push_back(program.result);
    devices.closing(program.fd);
    ::close(program.fd);
    return answers;
  };
  auto inner = std::make_unique<FakeDevices>(7);
  inner->polls = 5;
  const Answers then = use(keep(make_recorder(std::move(inner), file)));
  EXPECT_EQ(then.results, (std::vector<int>{0, -EBUSY, -ENOTTY, -ENOENT, 0, -EINVAL}));
  EXPECT_EQ(then.semaphore, 7u);
  EXPECT_EQ(then.free_cores, 2u);
  EXPECT_TRUE(then.self && then.same_offset);
  EXPECT_EQ(use(keep(make_replayer(file))), then);
  EXPECT_EQ(said(), "");
}

TEST_F(Replay, givenAProgramThatDoesSomethingElseThenLineAndDifferenceAreNamedAndEverythingIsEio) {
  Provider& devices = replay(kOpen +
                             "1.1 ioctl fd1 MEM_ALLOC_V2 size=8 align=0 host_memory=1 dram_channel=0 dram_region=0 "
                             "nc_id=0 -> 0 mem_handle=mh1\n"
                             "1.1 ioctl fd1 MEM_FREE mem_handle=mh1 -> 0\n");
  Program program{devices, devices.open(0, O_RDWR)};
  program.alloc(8);
  EXPECT_EQ(program.result, 0);
  program.free(99);
  EXPECT_EQ(program.result, -EIO);
  EXPECT_EQ(
      said(),
      "opennrt ioctl replay: " + file +
          ":7: expected 'ioctl fd1 MEM_FREE mem_handle=mh1', the program did 'ioctl fd1 MEM_FREE mem_handle=0x63'\n");
  EXPECT_EQ(devices.open(0, O_RDWR), -EIO);
  EXPECT_EQ(devices.mmap(nullptr, 4096, PROT_READ, MAP_SHARED, program.fd, 0), MAP_FAILED);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(said(), "") << "once";
}

TEST_F(Replay, givenAProgramThatGoesOnWhereTheRecordingEndsThenItIsToldSo) {
  Provider& devices = replay(kOpen);
  Program program{devices, devices.open(0, O_RDWR)};
  program.semaphore(1);
  EXPECT_EQ(program.result, -EIO);
  EXPECT_EQ(said(),
            "opennrt ioctl replay: " + file +
                ": process 1: expected '(nothing more from this thread)', the program did 'ioctl fd1 SEMAPHORE_READ "
                "nc_id=0 semaphore_index=1'\n");
}

TEST_F(Replay, givenAPollThenItMayBeMadeMoreOrLessOften) {
  const std::string poll = "1.1 ioctl fd1 SEMAPHORE_READ nc_id=0 semaphore_index=3 -> 0 value=";
  const std::string other = "1.1 ioctl fd1 SEMAPHORE_READ nc_id=0 semaphore_index=4 -> 0 value=9\n";
  Provider& devices = replay(kOpen + poll + "0\n1.1 again 2\n" + poll + "7\n" + other);
  Program program{devices, devices.open(0, O_RDWR)};
  for (const std::uint32_t value : {0u, 0u, 0u, 7u, 7u, 7u}) EXPECT_EQ(program.semaphore(3), value);
  EXPECT_EQ(program.semaphore(4), 9u);
  EXPECT_EQ(said(), "");
  opennrt::test::write_text(folder / "count", "");
  Provider& again = replay(kOpen + poll + "0\n1.1 again 1000\n" + other);
  Program fewer{again, again.open(0, O_RDWR)};
  EXPECT_EQ(fewer.semaphore(3), 0u);
  EXPECT_EQ(fewer.semaphore(4), 9u);
  EXPECT_EQ(fewer.result, 0);
  EXPECT_EQ(said(), "");
}

TEST_F(Replay, givenANotificationQueueThenAPollingProgramFindsItsEntriesInTime) {
  Provider& devices =
      replay(kOpen +
             "1.1 ioctl fd1 NOTIFICATIONS_INIT_V1 nc_id=0 nq_type=1 engine_index=0 size=4096 -> 0 mmap_offset=mo1\n"
             "1.1 mmap fd1 offset=mo1 bytes=4096 prot=r-- flags=shared -> map1\n"
             "1.1 ioctl fd1 DMA_QUEUE_COPY_START eng_id=1 qid=2 tx_desc_count=3 rx_desc_count=4 -> 0\n"
             "1.1 memory map1+0x10 22220000000000000100000000000080\n"
             "1.1 close fd1\n");
  const int fd = devices.open(0, O_RDWR);
  abi::NotificationsInitV1 init{0, 1, 0, 4096, 0};
  EXPECT_EQ(devices.ioctl(fd, abi::kNotificationsInitV1, &init), 0);
  void* at = devices.mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(init.mmap_offset));
  ASSERT_NE(at, MAP_FAILED) << said();
  auto* words = static_cast<std::atomic<std::uint64_t>*>(at);
  EXPECT_EQ(words[3].load(), 0u);
  abi::DmaQueueCopyStart start{1, 2, 3, 4};
  std::thread poller([&] {
    while (words[3].load(std::memory_order_acquire) == 0) std::this_thread::yield();
    EXPECT_EQ(words[2].load(), 0x2222u);
  });
  EXPECT_EQ(devices.ioctl(fd, abi::kDmaQueueCopyStart, &start), 0);
  poller.join();
  EXPECT_EQ(words[0].load(), 0u);
  devices.closing(fd);
  EXPECT_EQ(said(), "");
}

TEST_F(Replay, givenPayloadThatWasLeftOutThenItReadsAsZerosAndThatIsSaidOnce) {
  const std::string read =
      "1.1 ioctl fd1 MEM_BUF_COPY mem_handle=mh1 size=8 offset=0 copy_to_mem_handle=0 -> 0 buffer=<8 bytes>\n";
  Provider& devices = replay(kOpen + read + read);
  Program program{devices, devices.open(0, O_RDWR)};
  for (int i = 0; i < 2; ++i) {
    char buffer[] = "unchangd";
    program.copy(5, buffer, 8, false);
    EXPECT_EQ(std::string(buffer, 8), std::string(8, '\0'));
  }
  EXPECT_EQ(said(), "opennrt ioctl replay: " + file +
                        ":6: buffer (<8 bytes>) was not recorded (opennrt ioctl record --payload) and reads as zeros, "
                        "as do all others\n");
}

TEST_F(Replay, givenPayloadThatWasRecordedThenItIsRead) {
  setenv(kPayloadVariable, "yes", 1);
  const auto use = [](Provider& devices) {
    Program program{devices, devices.open(0, O_RDWR)};
    std::string bytes(300, '\0'), got(300, 'x');
    bytes[1] = 'a';
    bytes[299] = 'z';
    const std::uint64_t handle = program.alloc(300);
    program.copy(handle, bytes.data(), 300, true);
    program.copy(handle, got.data(), 300, false);
    EXPECT_EQ(got, bytes);
  };
  use(keep(make_recorder(std::make_unique<FakeDevices>(3), file)));
  use(keep(make_replayer(file)));
  EXPECT_EQ(said(), "");
}

TEST_F(Replay, givenThreadsThatComeInAnotherOrderThenEachFindsItsPart) {
  const auto poll = [](int thread, int index) {
    return "1." + std::to_string(thread) +
           " ioctl fd1 SEMAPHORE_READ nc_id=0 semaphore_index=" + std::to_string(index) +
           " -> 0 value=" + std::to_string(index * 10) + "\n";
  };
  Provider& devices = replay(kOpen + poll(2, 2) + poll(3, 3) + poll(2, 4) + poll(3, 5));
  Program program{devices, devices.open(0, O_RDWR)};
  for (const auto& [first, second] : {std::pair{3u, 5u}, std::pair{2u, 4u}}) {
    std::thread([&, first = first, second = second] {
      EXPECT_EQ(program.semaphore(first), first * 10);
      EXPECT_EQ(program.semaphore(second), second * 10);
    }).join();
  }
  EXPECT_EQ(said(), "");
}

TEST_F(Replay, givenAChildThenItFollowsThePartOfItsOwn) {
  Provider& devices = replay(kOpen +
                             "2.1 process forked=1\n2.1 found fd1 device=0\n"
                             "2.1 ioctl fd1 SEMAPHORE_READ nc_id=0 semaphore_index=5 -> 0 value=50\n"
                             "1.1 ioctl fd1 SEMAPHORE_READ nc_id=0 semaphore_index=1 -> 0 value=10\n");
  Program program{devices, devices.open(0, O_RDWR)};
  const pid_t child = fork();
  if (child == 0) _exit(devices.device_of(program.fd) == 0 && program.semaphore(5) == 50 ? 0 : 1);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(program.semaphore(1), 10u);
  EXPECT_EQ(said(), "");
}

TEST_F(Replay, givenFilesThenTheyAreThereAsRecorded) {
  Provider& devices = replay(kOpen +
                             "1.1 file \"/sys/class/neuron_device/neuron0/core_count\" -> \"4\\n\"\n"
                             "1.1 file \"/sys/x/total\" -> \"1\\n\"\n1.1 file \"/sys/x/total\" -> \"2\\n\"\n"
                             "1.1 folder \"/sys/class/neuron_device\" -> \"neuron0\"\n");
  EXPECT_EQ(devices.file("/sys/module/neuron/version"), "2.24.7.0\n");
  EXPECT_EQ(devices.file("/sys/class/neuron_device/neuron0/core_count"), "4\n");
  EXPECT_EQ(devices.file("/sys/x/total"), "1\n");
  EXPECT_EQ(devices.file("/sys/x/total"), "2\n");
  EXPECT_EQ(devices.file("/sys/x/total"), "2\n");
  EXPECT_EQ(devices.file("/etc/passwd"), std::nullopt);
  EXPECT_EQ(devices.folder("/dev"), std::vector<std::string>{"neuron0"}) << "since it was opened";
  EXPECT_EQ(devices.folder("/sys/class/neuron_device"), std::vector<std::string>{"neuron0"});
  EXPECT_EQ(devices.folder("/etc"), std::nullopt);
}

TEST_F(Replay, givenNoTranscriptThenEveryCallIsRefused) {
  Provider& devices = replay("1.1 opens\n");
  EXPECT_EQ(said(),
            "opennrt ioctl replay: " + file + ":4:5: expected a verb (open, ioctl, mmap, close …), found 'opens'\n");
  EXPECT_EQ(devices.open(0, O_RDWR), -EIO);
  const auto missing = make_replayer("/nowhere");
  EXPECT_EQ(said(), "opennrt ioctl replay: /nowhere: cannot be read\n");
  EXPECT_EQ(missing->folder("/dev"), std::nullopt);
}

}  // namespace
}  // namespace opennrt::emulator::test
