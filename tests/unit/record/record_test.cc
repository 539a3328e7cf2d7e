// SPDX-License-Identifier: Apache-2.0
//
// What a recording says, and what it does not (docs/ioctl-recording.md, "What is left out").
#include "backends/emulator/preload/record.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <thread>

#include "tests/unit/record/fake_devices.h"
#include "tests/unit/tools/process.h"

namespace opennrt::emulator::test {
namespace {

struct Record : testing::Test {
  opennrt::test::TemporaryFolder folder;
  void TearDown() override { unsetenv(kPayloadVariable); }

  /// The transcript of `body` with devices of that salt, in a process of its own, so that exit writes what is held back.
  std::string recorded(std::uint64_t salt, const std::function<void(Program&, FakeDevices&)>& body) {
    const std::string file = (folder / std::to_string(++count_)).string();
    const pid_t pid = fork();
    if (pid == 0) {
      auto inner = std::make_unique<FakeDevices>(salt);
      FakeDevices& devices = *inner;
      Provider& recorder = keep(make_recorder(std::move(inner), file));
      for (std::uint64_t i = 0; i < salt; ++i) (void)dup(1);  // other descriptors
      Program program{recorder, recorder.open(0, O_RDWR | O_CLOEXEC)};
      body(program, devices);
      exit(testing::Test::HasFailure() ? 1 : 0);
    }
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    return opennrt::test::read_text(file);
  }
  int count_ = 0;
};

const std::string kStart =
    "opennrt-ioctl-transcript 1\ndriver \"2.24.7.0\"\npayload no\n1.1 process\n"
    "1.1 open device=0 flags=O_RDWR|O_CLOEXEC -> fd1\n";

TEST_F(Record, givenMemoryThenHandlesAndAddressesAreRenamed) {
  const auto body = [](Program& program, FakeDevices&) {
    const std::uint64_t one = program.alloc(4096), two = program.alloc(64);
    const auto info = program.info(one);
    abi::MemGetMcMmapInfo find{info.pa + 0x40, 0, 0};
    program.devices.ioctl(program.fd, abi::kMemMcGetInfo, &find);
    program.free(one);
    program.free(one);
    program.info(two);
    program.devices.closing(program.fd);
  };
  const std::string first = recorded(1, body);
  const std::string alloc =
      "1.1 ioctl fd1 MEM_ALLOC_V2 size=4096 align=0 host_memory=1 dram_channel=0 dram_region=0 nc_id=0 -> 0 ";
  EXPECT_EQ(first, kStart + alloc +
                       "mem_handle=mh1\n"
                       "1.1 ioctl fd1 MEM_ALLOC_V2 size=64 align=0 host_memory=1 dram_channel=0 dram_region=0 nc_id=0 "
                       "-> 0 mem_handle=mh2\n"
                       "1.1 ioctl fd1 MEM_GET_EXTENDED_INFO mem_handle=mh1 version=1 -> 0 host_memory=1 "
                       "mmap_offset=mo1 pa=pa1 pid=self size=4096\n"
                       "1.1 ioctl fd1 MEM_MC_GET_INFO pa=pa1+0x40 -> 0 mmap_offset=mo1 size=4096\n"
                       "1.1 ioctl fd1 MEM_FREE mem_handle=mh1 -> 0\n"
                       "1.1 ioctl fd1 MEM_FREE mem_handle=mh3 -> EINVAL\n"
                       "1.1 ioctl fd1 MEM_GET_EXTENDED_INFO mem_handle=mh2 version=1 -> 0 host_memory=1 "
                       "mmap_offset=mo2 pa=pa2 pid=self size=64\n"
                       "1.1 close fd1\n");
  EXPECT_EQ(first, recorded(5, body)) << "another run, with other numbers, is the same text";
}

TEST_F(Record, givenAPollThatRepeatsThenItIsFolded) {
  const std::string text = recorded(1, [](Program& program, FakeDevices& devices) {
    devices.polls = 18;
    while (program.semaphore(3) == 0) {
    }
    program.semaphore(3);
  });
  const std::string poll = "1.1 ioctl fd1 SEMAPHORE_READ nc_id=0 semaphore_index=3 -> 0 value=";
  EXPECT_EQ(text, kStart + poll + "0\n1.1 again 17\n" + poll + "7\n1.1 again 1\n");
}

TEST_F(Record, givenARefusalThatTellsSomethingThenItIsRecorded) {
  const std::string text = recorded(1, [](Program& program, FakeDevices&) {
    abi::CrwlNcMap map{4, 0, 3, 0, 0};
    EXPECT_EQ(program.devices.ioctl(program.fd, abi::kCrwlNcRangeMark, &map), -EBUSY);
    EXPECT_EQ(program.devices.ioctl(program.fd, 0x4e99, nullptr), -ENOTTY);
    EXPECT_EQ(program.devices.open(9, O_RDWR), -ENOENT);
  });
  EXPECT_EQ(text, kStart +
                      "1.1 ioctl fd1 CRWL_NC_RANGE_MARK nc_count=4 start_nc_index=0 end_nc_index=3 -> EBUSY "
                      "max_nc_available=2 bitmap=0x0\n"
                      "1.1 ioctl fd1 request=0x4e99 -> ENOTTY\n"
                      "1.1 open device=9 flags=O_RDWR -> ENOENT\n");
}

void talk_of_secrets(Program& program) {
  char tensor[128] = "the user's weights";
  program.copy(program.alloc(128), tensor, sizeof tensor, true);
  program.copy(1001, tensor, sizeof tensor, false);
  char log[] = "model resnet50-secret failed on ip-10-1-2-3";
  abi::Printk printk{reinterpret_cast<std::uintptr_t>(log), sizeof log, 0};
  program.devices.ioctl(program.fd, abi::kPrintk, &printk);
  abi::Crwl lock{0, {}};
  std::memcpy(lock.uuid.value, "0123456789abcdef0123456789abcdef", 32);
  program.devices.ioctl(program.fd, abi::kCrwlWriterEnter, &lock);
  program.devices.file("/sys/class/neuron_device/neuron0/info/serial_number");
  program.devices.file("/sys/class/neuron_device/neuron0/core_count");
  program.devices.folder("/dev");
}

TEST_F(Record, givenPayloadAndSecretsThenOnlyTheirSizesAreThere) {
  const std::string text = recorded(1, [](Program& program, FakeDevices&) { talk_of_secrets(program); });
  EXPECT_NE(text.find("MEM_BUF_COPY mem_handle=mh1 buffer=<128 bytes> size=128 offset=0 copy_to_mem_handle=1 -> 0\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("copy_to_mem_handle=0 -> 0 buffer=<128 bytes>\n"), std::string::npos) << text;
  EXPECT_NE(text.find("PRINTK buffer=<44 bytes> size=44 action=0 -> 0\n"), std::string::npos) << text;
  EXPECT_NE(text.find("CRWL_WRITER_ENTER nc_id=0 uuid=<32 bytes> -> 0\n"), std::string::npos) << text;
  EXPECT_NE(text.find("serial_number\" -> <14 bytes>\n"), std::string::npos) << text;
  EXPECT_NE(text.find("1.1 file \"/sys/class/neuron_device/neuron0/core_count\" -> \"4\\n\"\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("1.1 folder \"/dev\" -> \"neuron0\" \"neuron1\"\n"), std::string::npos) << text;
  const char* const secrets[] = {"weights", "resnet50",           kHostName, "0123456789",
                                 kSerial,   "746865207573657227", "data "};
  for (const char* secret : secrets) EXPECT_EQ(text.find(secret), std::string::npos) << secret << " in\n" << text;
}

TEST_F(Record, givenPayloadIsAskedForThenItIsThereButNoSecret) {
  setenv(kPayloadVariable, "yes", 1);
  const std::string text = recorded(1, [](Program& program, FakeDevices&) { talk_of_secrets(program); });
  EXPECT_NE(text.find("payload yes\n"), std::string::npos);
  // "the user's weights", once as it is written and once as it is read; the second line of zeros is left out.
  const std::string line = "1.1 data buffer+0x0 746865207573657227732077656967687473";
  const std::size_t first = text.find(line);
  ASSERT_NE(first, std::string::npos) << text;
  EXPECT_NE(text.find(line, first + 1), std::string::npos) << text;
  EXPECT_EQ(text.find("data buffer+0x40 0000"), std::string::npos) << text;
  for (const char* secret : {"0123456789", kSerial}) EXPECT_EQ(text.find(secret), std::string::npos) << secret;
}

TEST_F(Record, givenAMappedNotificationQueueThenWhatAppearsInItIsRecordedBetweenTheCalls) {
  const std::string text = recorded(3, [](Program& program, FakeDevices& devices) {
    abi::NotificationsInitV1 init{0, 1, 0, 4096, 0};
    program.devices.ioctl(program.fd, abi::kNotificationsInitV1, &init);
    void* nq =
        program.devices.mmap(nullptr, 4096, PROT_READ, MAP_SHARED, program.fd, static_cast<off_t>(init.mmap_offset));
    ASSERT_NE(nq, MAP_FAILED);
    EXPECT_EQ(program.devices.mmap(nullptr, 4096, PROT_READ, MAP_SHARED, program.fd, 0x5000), MAP_FAILED);
    EXPECT_EQ(errno, EINVAL);
    abi::DmaQueueCopyStart start{1, 2, 3, 4};
    program.devices.ioctl(program.fd, abi::kDmaQueueCopyStart, &start);
    devices.notify();  // by itself
    program.semaphore(0);
    program.devices.unmapping(static_cast<char*>(nq) + 100, 8);
    devices.notify();
    program.semaphore(1);
  });
  const std::string poll = " -> 0 value=7\n";
  EXPECT_EQ(text,
            kStart +
                "1.1 ioctl fd1 NOTIFICATIONS_INIT_V1 nc_id=0 nq_type=1 engine_index=0 size=4096 -> 0 mmap_offset=mo1\n"
                "1.1 mmap fd1 offset=mo1 bytes=4096 prot=r-- flags=shared -> map1\n"
                "1.1 mmap fd1 offset=mo2 bytes=4096 prot=r-- flags=shared -> EINVAL\n"
                "1.1 ioctl fd1 DMA_QUEUE_COPY_START eng_id=1 qid=2 tx_desc_count=3 rx_desc_count=4 -> 0\n"
                "1.1 memory map1+0x0 11110000000000000100000000000080\n"
                "1.1 memory map1+0x10 22220000000000000100000000000080\n"
                "1.1 ioctl fd1 SEMAPHORE_READ nc_id=0 semaphore_index=0 -> 0 value=7\n"
                "1.1 unmap map1\n"
                "1.1 ioctl fd1 SEMAPHORE_READ nc_id=0 semaphore_index=1 -> 0 value=7\n");
}

TEST_F(Record, givenThreadsChildrenAndCopiedDescriptorsThenEachHasANumber) {
  const std::string text = recorded(1, [](Program& program, FakeDevices&) {
    const std::uint64_t handle = program.alloc(8);
    std::thread([&] { program.free(4711); }).join();
    program.fd = dup(program.fd);
    const pid_t child = fork();
    if (child == 0) {
      program.free(handle);
      program.free(4711);
      _exit(0);
    }
    waitpid(child, nullptr, 0);
    program.devices.closing(program.fd);
  });
  EXPECT_EQ(text, kStart +
                      "1.1 ioctl fd1 MEM_ALLOC_V2 size=8 align=0 host_memory=1 dram_channel=0 dram_region=0 nc_id=0 -> "
                      "0 mem_handle=mh1\n"
                      "1.2 ioctl fd1 MEM_FREE mem_handle=mh2 -> EINVAL\n"
                      "2.1 process forked=1\n"
                      "2.1 found fd2 device=0\n"
                      "2.1 ioctl fd2 MEM_FREE mem_handle=mh1 -> 0\n"
                      "2.1 ioctl fd2 MEM_FREE mem_handle=mh2 -> EINVAL\n"
                      "1.1 found fd2 device=0\n"
                      "1.1 close fd2\n");
}

TEST_F(Record, givenManyThreadsThenNoLineIsTorn) {
  const std::string text = recorded(1, [](Program& program, FakeDevices&) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        Program mine{program.devices, program.fd};
        for (int i = 0; i < 200; ++i) mine.free(1'000'000 + static_cast<std::uint64_t>(i));
      });
    }
    for (auto& thread : threads) thread.join();
  });
  std::istringstream lines(text.substr(kStart.size()));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_TRUE(line.starts_with("1.") && line.find(" ioctl fd1 MEM_FREE mem_handle=mh") == 3 &&
                line.ends_with(" -> EINVAL"))
        << line;
  }
  EXPECT_EQ(count, 800);
}

TEST_F(Record, givenAFileThatCannotBeWrittenThenTheProgramGoesOnAndIsToldOnce) {
  testing::internal::CaptureStderr();
  Provider& recorder = keep(make_recorder(std::make_unique<FakeDevices>(1), "/nowhere/at/all"));
  Program program{recorder, recorder.open(0, O_RDWR)};
  EXPECT_NE(program.alloc(8), 0u);
  EXPECT_EQ(program.result, 0);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "opennrt: cannot write the recording /nowhere/at/all: No such file or directory\n");
}

}  // namespace
}  // namespace opennrt::emulator::test
