// SPDX-License-Identifier: Apache-2.0
//
// What opennrt/backend.h promises, held against every backend that runs here.
#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "tests/unit/backends/plugin.h"

namespace opennrt::test {
namespace {

class BackendContract : public testing::TestWithParam<std::string> {
 protected:
  Opened b{GetParam()};
  const opennrt_backend_api_t& api = b.api;
  opennrt_device_t* const device = b.device;
};

TEST_P(BackendContract, givenTheWrongMajorThenEntryReturnsNull) {
  const std::string path = build_dir() + "/lib/opennrt/backends/libopennrt_backend_" + GetParam() + ".so";
  void* library = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr);
  const auto entry = reinterpret_cast<opennrt_backend_entry_t>(::dlsym(library, OPENNRT_BACKEND_ENTRY));
  EXPECT_EQ(entry(OPENNRT_BACKEND_ABI_MAJOR + 1), nullptr);
  EXPECT_EQ(entry(0), nullptr);
  EXPECT_EQ(api.size, sizeof(opennrt_backend_api_t));
  EXPECT_EQ(api.name, GetParam());
}

TEST_P(BackendContract, describesItsDevice) {
  opennrt_device_info_t info{};
  ASSERT_EQ(api.device_info(device, &info), 0);
  EXPECT_EQ(info.architecture, 1u);
  EXPECT_EQ(info.core_count, 4u);
  EXPECT_EQ(info.first_core, 0u);
  EXPECT_GT(info.dram_channel_bytes, 0u);
  EXPECT_TRUE(info.virtual_time);
  opennrt_driver_version_t version{};
  ASSERT_EQ(api.version(b.backend, &version), 0);
  EXPECT_EQ(version.major, 2u);
  EXPECT_EQ(version.minor, 24u);
  EXPECT_STREQ(version.text, "2.24");
  EXPECT_EQ(version.compatible_min, 2u);
  EXPECT_EQ(version.compatible_max, 7u);
  uint32_t count = 0;
  EXPECT_EQ(api.devices(b.backend, nullptr, &count), 0);
  EXPECT_EQ(count, 1u);
  uint32_t number = 99;
  EXPECT_EQ(api.devices(b.backend, &number, &count), 0);
  EXPECT_EQ(number, 0u);
  opennrt_device_t* none = nullptr;
  EXPECT_EQ(api.device_open(b.backend, 1, &none), -ENODEV);
}

TEST_P(BackendContract, memoryKeepsWhatWasWritten) {
  for (const bool host : {false, true}) {
    const opennrt_mem_t memory = b.allocate(10000, host, 2);
    const auto data = pattern(10000);
    ASSERT_EQ(api.mem_write(device, memory, 0, data.data(), data.size()), 0);
    std::vector<std::byte> back(10000);
    ASSERT_EQ(api.mem_read(device, memory, 0, back.data(), back.size()), 0);
    EXPECT_EQ(back, data);
    ASSERT_EQ(api.mem_read(device, memory, 777, back.data(), 100), 0);
    EXPECT_TRUE(std::equal(back.begin(), back.begin() + 100, data.begin() + 777));
    opennrt_mem_info_t info{};
    ASSERT_EQ(api.mem_info(device, memory, &info), 0);
    EXPECT_EQ(info.bytes, 10000u);
    EXPECT_EQ(info.host_memory, host);
    EXPECT_EQ(info.pid, ::getpid());
    EXPECT_EQ((info.device_address >> 46) & 1, host ? 1u : 0u);
    EXPECT_EQ(api.mem_free(device, memory), 0);
  }
}

TEST_P(BackendContract, outOfBoundsIsRefusedAndNothingMoves) {
  for (const bool host : {false, true}) {
    const opennrt_mem_t memory = b.allocate(100, host);
    const auto data = pattern(200);
    ASSERT_EQ(api.mem_write(device, memory, 0, data.data(), 100), 0);
    EXPECT_EQ(api.mem_write(device, memory, 0, data.data(), 101), -EINVAL);
    EXPECT_EQ(api.mem_write(device, memory, 101, data.data(), 0), -EINVAL);
    EXPECT_EQ(api.mem_write(device, memory, UINT64_MAX, data.data(), 2), -EINVAL);
    EXPECT_EQ(api.mem_write(device, memory, 50, data.data() + 100, UINT64_MAX - 10), -EINVAL);
    EXPECT_EQ(api.mem_set(device, memory, 99, 7, 2), -EINVAL);
    EXPECT_EQ(api.mem_copy(device, memory, 0, memory, 60, 41), -EINVAL);
    EXPECT_EQ(api.mem_write(device, memory, 0, nullptr, 4), -EINVAL);
    EXPECT_EQ(api.mem_write(device, memory, 100, data.data(), 0), 0);
    std::vector<std::byte> back(100);
    EXPECT_EQ(api.mem_read(device, memory, 1, back.data(), 100), -EINVAL);
    ASSERT_EQ(api.mem_read(device, memory, 0, back.data(), 100), 0);
    EXPECT_TRUE(std::equal(back.begin(), back.end(), data.begin()));
  }
}

TEST_P(BackendContract, handlesThatAreNotOnesAreRefused) {
  const opennrt_mem_t memory = b.allocate(64, false);
  ASSERT_EQ(api.mem_free(device, memory), 0);
  const opennrt_mem_t other = b.allocate(64, false);
  EXPECT_NE(other, memory) << "a handle came back to life";
  char byte = 0;
  opennrt_mem_info_t info{};
  void* at = nullptr;
  for (const opennrt_mem_t bad : {memory, opennrt_mem_t{0}, opennrt_mem_t{~0ull}}) {
    EXPECT_EQ(api.mem_free(device, bad), -EINVAL);
    EXPECT_EQ(api.mem_info(device, bad, &info), -EINVAL);
    EXPECT_EQ(api.mem_read(device, bad, 0, &byte, 1), -EINVAL);
    EXPECT_EQ(api.mem_write(device, bad, 0, &byte, 1), -EINVAL);
    EXPECT_EQ(api.mem_copy(device, bad, 0, other, 0, 1), -EINVAL);
    EXPECT_EQ(api.mem_copy(device, other, 0, bad, 0, 1), -EINVAL);
    EXPECT_EQ(api.mem_map(device, bad, &at), -EINVAL);
    EXPECT_EQ(api.mem_unmap(device, bad), -EINVAL);
  }
}

TEST_P(BackendContract, allocationParametersAreChecked) {
  opennrt_mem_params_t good{};
  good.bytes = 4096;
  good.category = OPENNRT_MEM_TENSORS_DEVICE;
  opennrt_mem_t memory = 0;
  const auto with = [&](auto change) {
    opennrt_mem_params_t params = good;
    change(params);
    return api.mem_alloc(device, &params, &memory);
  };
  EXPECT_EQ(with([](auto& p) { p.bytes = 0; }), -EINVAL);
  EXPECT_EQ(with([](auto& p) { p.alignment = 3; }), -EINVAL);
  EXPECT_EQ(with([](auto& p) { p.core = 4; }), -EINVAL);
  EXPECT_EQ(with([](auto& p) { p.dram_channel = 2; }), -EINVAL);
  EXPECT_EQ(with([](auto& p) { p.dram_region = 4; }), -EINVAL);
  EXPECT_EQ(with([](auto& p) { p.bytes = UINT64_MAX; }), -ENOMEM);
  EXPECT_EQ(api.mem_alloc(device, nullptr, &memory), -EINVAL);
  EXPECT_EQ(api.mem_alloc(nullptr, &good, &memory), -EINVAL);
  ASSERT_EQ(with([](auto& p) { p.alignment = 1 << 20; }), 0);
  EXPECT_EQ(b.address(memory) % (1 << 20), 0u);
}

TEST_P(BackendContract, fullMemoryIsEnomemAndFreeingMakesRoom) {
  opennrt_device_info_t info{};
  ASSERT_EQ(api.device_info(device, &info), 0);
  opennrt_mem_stats_t before{}, full{}, after{};
  ASSERT_EQ(api.mem_stats(device, 1, &before), 0);
  EXPECT_EQ(before.used, 0u);
  EXPECT_EQ(before.capacity, info.dram_channel_bytes * info.dram_channels);
  const std::uint32_t regions = std::max(1u, info.dram_regions);
  const std::uint64_t region = info.dram_channel_bytes / regions, quarter = region / 4;
  std::vector<opennrt_mem_t> held;
  for (int i = 0; i < 4; ++i) held.push_back(b.allocate(quarter, false, 1));
  opennrt_mem_params_t params{};
  params.bytes = 1;
  params.core = 1;
  params.category = OPENNRT_MEM_TENSORS_DEVICE;
  opennrt_mem_t memory = 0;
  EXPECT_EQ(api.mem_alloc(device, &params, &memory), -ENOMEM);
  ASSERT_EQ(api.mem_stats(device, 1, &full), 0);
  EXPECT_EQ(full.used_by_process, 4 * quarter);
  EXPECT_EQ(full.capacity - full.used, info.dram_channel_bytes * info.dram_channels - region);
  if (regions > 1) {
    params.dram_region = 1;
    EXPECT_EQ(api.mem_alloc(device, &params, &memory), 0) << "a region of its own";
    ASSERT_EQ(api.mem_free(device, memory), 0);
    params.dram_region = 0;
  }
  ASSERT_EQ(api.mem_free(device, held[2]), 0);
  params.bytes = quarter;
  EXPECT_EQ(api.mem_alloc(device, &params, &memory), 0);
  ASSERT_EQ(api.mem_free(device, memory), 0);
  for (const int i : {0, 1, 3}) ASSERT_EQ(api.mem_free(device, held[static_cast<std::size_t>(i)]), 0);
  params.bytes = region;  // in one piece again: freed neighbours are joined
  EXPECT_EQ(api.mem_alloc(device, &params, &memory), 0);
  ASSERT_EQ(api.mem_free(device, memory), 0);
  ASSERT_EQ(api.mem_stats(device, 1, &after), 0);
  EXPECT_EQ(after.used, 0u);
  EXPECT_EQ(api.mem_stats(device, 4, &after), -EINVAL);
}

TEST_P(BackendContract, copiesOfEverySizeBetweenEveryKindOfMemory) {
  const std::size_t sizes[] = {0, 1, 4, 63, 0xffff, 0x10000, 0x10001, 5 * 1024 * 1024 + 3};
  for (const std::size_t bytes : sizes) {
    for (const bool from_host : {true, false}) {
      for (const bool to_host : {true, false}) {
        const auto data = pattern(bytes + 16, static_cast<unsigned>(bytes + 1));
        const opennrt_mem_t from = b.allocate(bytes + 16, from_host), to = b.allocate(bytes + 16, to_host, 3);
        ASSERT_EQ(api.mem_write(device, from, 0, data.data(), bytes + 16), 0);
        ASSERT_EQ(api.mem_set(device, to, 0, 0xee, bytes + 16), 0);
        ASSERT_EQ(api.mem_copy(device, from, 5, to, 11, bytes), 0);
        std::vector<std::byte> back(bytes + 16);
        ASSERT_EQ(api.mem_read(device, to, 0, back.data(), back.size()), 0);
        std::vector<std::byte> expected(bytes + 16, std::byte{0xee});
        std::copy_n(data.begin() + 5, bytes, expected.begin() + 11);
        ASSERT_TRUE(back == expected) << bytes << " bytes, host " << from_host << " to host " << to_host;
        ASSERT_EQ(api.mem_free(device, from), 0);
        ASSERT_EQ(api.mem_free(device, to), 0);
      }
    }
  }
}

TEST_P(BackendContract, setFillsExactlyTheRange) {
  const std::size_t bytes = 300'000;
  const opennrt_mem_t memory = b.allocate(bytes, false);
  ASSERT_EQ(api.mem_set(device, memory, 0, 0x55, bytes), 0);
  ASSERT_EQ(api.mem_set(device, memory, 1001, 0x1aa, 200'001), 0);  // a byte value: the low 8 bits
  std::vector<std::byte> back(bytes), expected(bytes, std::byte{0x55});
  std::fill_n(expected.begin() + 1001, 200'001, std::byte{0xaa});
  ASSERT_EQ(api.mem_read(device, memory, 0, back.data(), bytes), 0);
  EXPECT_TRUE(back == expected);
}

TEST_P(BackendContract, hostMemoryMapsAndDeviceMemoryDoesNot) {
  const opennrt_mem_t host = b.allocate(100, true), dram = b.allocate(100, false);
  std::byte* at = b.map(host);
  ASSERT_NE(at, nullptr);
  at[42] = std::byte{42};
  std::byte back{};
  ASSERT_EQ(api.mem_read(device, host, 42, &back, 1), 0);
  EXPECT_EQ(back, std::byte{42});
  EXPECT_EQ(api.mem_unmap(device, host), 0);
  void* none = nullptr;
  EXPECT_EQ(api.mem_map(device, dram, &none), -ENOTSUP);
}

TEST_P(BackendContract, semaphoresAndEventsCount) {
  uint32_t value = 99;
  ASSERT_EQ(api.semaphore_write(device, 3, 31, 7), 0);
  ASSERT_EQ(api.semaphore_increment(device, 3, 31, 5), 0);
  ASSERT_EQ(api.semaphore_decrement(device, 3, 31, 2), 0);
  ASSERT_EQ(api.semaphore_read(device, 3, 31, &value), 0);
  EXPECT_EQ(value, 10u);
  ASSERT_EQ(api.semaphore_read(device, 2, 31, &value), 0);
  EXPECT_EQ(value, 0u) << "a semaphore of another core changed";
  ASSERT_EQ(api.event_set(device, 1, 255, 1), 0);
  ASSERT_EQ(api.event_get(device, 1, 255, &value), 0);
  EXPECT_EQ(value, 1u);
  ASSERT_EQ(api.event_get(device, 1, 254, &value), 0);
  EXPECT_EQ(value, 0u);
  EXPECT_EQ(api.semaphore_read(device, 4, 0, &value), -EINVAL);
  EXPECT_EQ(api.semaphore_read(device, 0, 32, &value), -EINVAL);
  EXPECT_EQ(api.semaphore_write(device, 0, 32, 0), -EINVAL);
  EXPECT_EQ(api.event_get(device, 0, 256, &value), -EINVAL);
  EXPECT_EQ(api.event_set(device, 4, 0, 1), -EINVAL);
  // A reset clears them, on its cores only.
  ASSERT_EQ(api.semaphore_write(device, 0, 1, 3), 0);
  uint32_t request = 0;
  int32_t result = -1;
  ASSERT_EQ(api.reset_start(device, 1u << 3, &request), 0);
  ASSERT_EQ(api.reset_wait(device, request, &result), 0);
  EXPECT_EQ(result, 0);
  ASSERT_EQ(api.semaphore_read(device, 3, 31, &value), 0);
  EXPECT_EQ(value, 0u);
  ASSERT_EQ(api.semaphore_read(device, 0, 1, &value), 0);
  EXPECT_EQ(value, 3u);
  EXPECT_EQ(api.reset_start(device, 0, &request), -EINVAL);
  EXPECT_EQ(api.reset_start(device, 1u << 4, &request), -EINVAL);
  EXPECT_EQ(api.reset_wait(device, request + 100, &result), -EINVAL);
}

TEST_P(BackendContract, notificationQueuesAreMadeFoundAndChecked) {
  opennrt_nq_t queue{}, again{};
  ASSERT_EQ(api.nq_init(device, 1, OPENNRT_NQ_NOTIFY, 2, 4096, &queue), 0);
  ASSERT_NE(queue.entries, nullptr);
  EXPECT_EQ(queue.bytes, 4096u);
  EXPECT_EQ(*static_cast<const volatile std::uint8_t*>(queue.entries), 0);
  ASSERT_EQ(api.nq_init(device, 1, OPENNRT_NQ_NOTIFY, 2, 4096, &again), 0);
  EXPECT_EQ(again.memory, queue.memory);
  EXPECT_EQ(again.entries, queue.entries);
  EXPECT_EQ(api.nq_init(device, 1, OPENNRT_NQ_NOTIFY, 2, 1000, &again), -EINVAL);
  EXPECT_EQ(api.nq_init(device, 1, OPENNRT_NQ_NOTIFY, 2, 16, &again), -EINVAL);
  EXPECT_EQ(api.nq_init(device, 1, OPENNRT_NQ_NOTIFY, 4, 4096, &again), -EINVAL);
  EXPECT_EQ(api.nq_init(device, 4, OPENNRT_NQ_NOTIFY, 0, 4096, &again), -EINVAL);
  EXPECT_EQ(api.nq_init(device, 0, OPENNRT_NQ_ERROR, 1, 4096, &again), -EINVAL);
  EXPECT_EQ(api.nq_consume(device, 1, OPENNRT_NQ_NOTIFY, 2, 0), 0);
  EXPECT_EQ(api.nq_consume(device, 1, OPENNRT_NQ_NOTIFY, 2, 1), -EINVAL) << "consumed what was never written";
  EXPECT_EQ(api.nq_consume(device, 1, OPENNRT_NQ_NOTIFY, 3, 0), -EINVAL);
  EXPECT_EQ(api.nq_destroy(device, 1, OPENNRT_NQ_NOTIFY, 2), 0);
  opennrt_mem_info_t info{};
  EXPECT_EQ(api.mem_info(device, queue.memory, &info), -EINVAL) << "its memory is still there";
  EXPECT_EQ(api.nq_destroy(device, 1, OPENNRT_NQ_NOTIFY, 2), 0);
}

TEST_P(BackendContract, queueInitRefusesWhatTheHardwareCannotDo) {
  const opennrt_mem_t tx = b.allocate(64 * 16, true), rx = b.allocate(64 * 16, false);
  const opennrt_queue_init_t good{0, 3, 64, 64, tx, rx};
  ASSERT_EQ(api.dma_queue_init(device, &good, 1), 0);
  const auto with = [&](auto change) {
    opennrt_queue_init_t init = good;
    change(init);
    return api.dma_queue_init(device, &init, 1);
  };
  EXPECT_EQ(with([](auto& q) { q.engine = 12; }), -EINVAL);
  EXPECT_EQ(with([](auto& q) { q.queue = 16; }), -EINVAL);
  EXPECT_EQ(with([](auto& q) { q.tx_count = 33; }), -EINVAL);
  EXPECT_EQ(with([](auto& q) { q.rx_count = 16; }), -EINVAL);
  EXPECT_EQ(with([](auto& q) { q.tx_count = 80; }), -EINVAL) << "more descriptors than the ring's memory holds";
  EXPECT_EQ(with([](auto& q) { q.tx_ring = 0; }), -EINVAL);
  EXPECT_EQ(api.dma_queue_init(device, nullptr, 1), -EINVAL);
  EXPECT_EQ(api.dma_queue_init(device, nullptr, 0), 0);
  EXPECT_EQ(api.dma_queue_start(device, 0, 3, 65, 64), -EINVAL);
  EXPECT_EQ(api.dma_queue_start(device, 0, 4, 1, 1), -EINVAL) << "was never initialised";
  EXPECT_EQ(api.dma_queue_start(device, 12, 0, 1, 1), -EINVAL);
  EXPECT_EQ(api.dma_queue_release(device, 0, 3), 0);
  EXPECT_EQ(api.dma_queue_release(device, 0, 16), -EINVAL);
  EXPECT_EQ(api.dma_quiesce(device, 4), -EINVAL);
  EXPECT_EQ(api.dma_quiesce(device, 0), 0);
}

TEST_P(BackendContract, descriptorsMustNameLiveHostMemory) {
  struct Descriptor {
    std::uint32_t control, meta;
    std::uint64_t address;
  };
  const opennrt_mem_t ring = b.allocate(64 * 16, true), target = b.allocate(4096, true);
  const Descriptor good{4096, 0, b.address(target)};
  ASSERT_EQ(api.dma_write_descriptors(device, ring, 16, &good, 1, OPENNRT_QUEUE_TX), 0);
  Descriptor back{};
  ASSERT_EQ(api.mem_read(device, ring, 16, &back, sizeof(back)), 0);
  EXPECT_EQ(back.address, good.address);
  EXPECT_EQ(back.control, good.control);
  EXPECT_EQ(api.dma_write_descriptors(device, ring, 16, &good, 1, OPENNRT_QUEUE_COMPLETION), -EINVAL);
  EXPECT_EQ(api.dma_write_descriptors(device, ring, 63 * 16 + 16, &good, 1, OPENNRT_QUEUE_RX), -EINVAL);
  const Descriptor dram{64, 0, 0x1000};
  EXPECT_EQ(api.dma_write_descriptors(device, ring, 0, &dram, 1, OPENNRT_QUEUE_RX), 0);
  const Descriptor stray[] = {dram, {64, 0, std::uint64_t{1} << 46 | 0x3fff'0000'0000ull}};
  EXPECT_EQ(api.dma_write_descriptors(device, ring, 0, stray, 2, OPENNRT_QUEUE_RX), -EINVAL);
  ASSERT_EQ(api.mem_free(device, target), 0);
  EXPECT_EQ(api.dma_write_descriptors(device, ring, 16, &good, 1, OPENNRT_QUEUE_TX), -EINVAL) << "the memory is gone";
}

TEST_P(BackendContract, coresBelongToOneReservation) {
  opennrt_core_map_t first{}, second{}, third{};
  uint32_t available = 99;
  ASSERT_EQ(api.cores_reserve(b.backend, 1, 1, 1, &first, &available), 0);
  EXPECT_EQ(first.bits[0], 0b0010u);
  EXPECT_EQ(api.cores_reserve(b.backend, 3, 0, 3, &third, &available), -EBUSY) << "three are free, but not in a row";
  EXPECT_EQ(available, 2u) << "the longest run";
  EXPECT_EQ(third.bits[0], 0u);
  ASSERT_EQ(api.cores_reserve(b.backend, 2, 0, 3, &second, &available), 0);
  EXPECT_EQ(second.bits[0], 0b1100u) << "the first run of two";
  EXPECT_EQ(api.cores_reserve(b.backend, 2, 0, 3, &third, &available), -EBUSY);
  EXPECT_EQ(available, 1u);
  EXPECT_EQ(api.cores_reserve(b.backend, 5, 0, 3, &third, &available), -EBUSY) << "more than there can be";
  EXPECT_EQ(available, 1u);
  opennrt_core_holder_t holder{};
  ASSERT_EQ(api.core_holder(b.backend, 2, &holder), 0);
  EXPECT_EQ(holder.pid, ::getpid());
  ASSERT_EQ(api.core_holder(b.backend, 0, &holder), 0);
  EXPECT_EQ(holder.pid, 0) << "a refused reservation kept a core";
  ASSERT_EQ(api.cores_release(b.backend, &first), 0);
  ASSERT_EQ(api.cores_reserve(b.backend, 1, 0, 3, &third, &available), 0);
  EXPECT_EQ(third.bits[0], 0b0001u) << "the lowest free one";
  EXPECT_EQ(api.cores_reserve(b.backend, 0, 0, 3, &second, &available), -EINVAL);
  EXPECT_EQ(api.cores_reserve(b.backend, 1, 2, 1, &second, &available), -EINVAL);
  EXPECT_EQ(api.cores_reserve(b.backend, 1, 0, 4, &second, &available), -EINVAL);
  EXPECT_EQ(api.core_holder(b.backend, 4, &holder), -EINVAL);
}

TEST_P(BackendContract, countersAreOnePerDeviceAndEndWithIt) {
  void *address = nullptr, *again = nullptr;
  size_t bytes = 0;
  if (api.counters_map == nullptr || api.counters_map(device, 0, &address, &bytes) == -ENOTSUP) return;
  ASSERT_NE(address, nullptr);
  ASSERT_EQ(bytes, 256u * 1024);
  EXPECT_EQ(static_cast<char*>(address)[bytes - 1], 0);
  static_cast<char*>(address)[bytes - 1] = 'c';
  ASSERT_EQ(api.counters_map(device, 0, &again, &bytes), 0);
  EXPECT_EQ(again, address);
  EXPECT_EQ(api.counters_map(device, 0, nullptr, &bytes), -EINVAL);
  EXPECT_EQ(api.counters_map(device, INT_MAX, &again, &bytes), -ENOENT);
  EXPECT_EQ(api.counters_map(device, -1, &again, &bytes), -EINVAL);
  EXPECT_EQ(api.counters_unmap(device, &bytes), -EINVAL);
  api.device_close(device);
  opennrt_device_t* reopened = nullptr;
  ASSERT_EQ(api.device_open(b.backend, 0, &reopened), 0);
  ASSERT_EQ(api.counters_map(reopened, 0, &address, &bytes), 0);
  EXPECT_EQ(static_cast<char*>(address)[bytes - 1], 0) << "device_close frees what the caller forgot";
  EXPECT_EQ(api.counters_unmap(reopened, address), 0);
  EXPECT_EQ(api.counters_unmap(reopened, address), -EINVAL);
  api.device_close(reopened);
}

TEST_P(BackendContract, waitingForNothingEndsAtOnce) {
  opennrt_nq_t queue{};
  ASSERT_EQ(api.nq_init(device, 0, OPENNRT_NQ_ERROR, 0, 4096, &queue), 0);
  const std::uint64_t deadline = b.now() + 30'000'000'000;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(api.wait(device, 0, 0, deadline), -ETIMEDOUT);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(api.wait(device, 4, 0, deadline), -EINVAL);
}

TEST_P(BackendContract, opensAgainAfterClosingWithEverythingLeftOpen) {
  const std::string name = GetParam();
  b.allocate(1 << 20, false);
  b.allocate(1 << 20, true);
  opennrt_nq_t queue{};
  ASSERT_EQ(api.nq_init(device, 0, OPENNRT_NQ_ERROR, 0, 4096, &queue), 0);
  api.close(b.backend);
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(api.open(b.host.table(), &b.backend), 0);
    ASSERT_EQ(api.device_open(b.backend, 0, &b.device), 0);
    opennrt_mem_stats_t stats{};
    ASSERT_EQ(api.mem_stats(b.device, 0, &stats), 0);
    EXPECT_EQ(stats.used, 0u);
    const opennrt_mem_t memory = b.allocate(100'000, false);
    const auto data = pattern(100'000, static_cast<unsigned>(round));
    std::vector<std::byte> back(data.size());
    ASSERT_EQ(api.mem_write(b.device, memory, 0, data.data(), data.size()), 0);
    ASSERT_EQ(api.mem_read(b.device, memory, 0, back.data(), back.size()), 0);
    EXPECT_TRUE(back == data);
    if (round < 2) api.close(b.backend);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, BackendContract, testing::Values("null", "sim"),
                         [](const auto& tested) { return tested.param; });

}  // namespace
}  // namespace opennrt::test
