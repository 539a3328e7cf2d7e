// SPDX-License-Identifier: Apache-2.0
//
// The driver's semantics as a library, below the plug-in's table: pools per channel and region, DMA engine states,
// which model has been started.
#include <cerrno>
#include <memory>
#include <vector>

#include "backends/sim/device.h"
#include "tests/unit/backends/plugin.h"

namespace opennrt::driver {
namespace {

class SimDriver : public testing::Test {
 protected:
  SimDriver() {
    sim::MachineConfig config;
    config.instance = "inf1.6xlarge";
    config.chips_dir = test::build_dir() + "/lib/opennrt/chips";
    config.pci_revision = inf1::kPciRevisionEmulator;
    auto machine = sim::Machine::power_on(config);
    if (!machine) throw std::runtime_error(machine.error().message);
    platform_ = std::make_unique<Platform>(host_.table(), std::move(*machine), false);
    device_ = std::make_unique<Device>(*platform_, 2);
  }

  opennrt_mem_t allocate(std::uint64_t bytes, bool host, std::uint32_t channel = 0, std::uint32_t region = 0) {
    opennrt_mem_params_t params{bytes, 0, host, channel, region, 1, OPENNRT_MEM_TENSORS_DEVICE};
    opennrt_mem_t memory = 0;
    EXPECT_EQ(device_->mem_alloc(params, memory), 0) << bytes << " bytes in region " << region;
    return memory;
  }
  std::uint64_t address(opennrt_mem_t memory) {
    opennrt_mem_info_t info{};
    EXPECT_EQ(device_->mem_info(memory, info), 0);
    return info.device_address;
  }
  opennrt_dma_engine_state_t state(std::uint32_t engine) {
    opennrt_dma_engine_state_t result{};
    EXPECT_EQ(device_->engine_get_state(engine, result), 0);
    return result;
  }

  test::Host host_;
  std::unique_ptr<Platform> platform_;
  std::unique_ptr<Device> device_;
};

TEST_F(SimDriver, givenEveryChannelAndRegionWhenMemoryIsAllocatedThenItLiesInThatQuarterOfTheChannel) {
  constexpr std::uint64_t kRegion = inf1::kDramChannelSize / 4;
  for (std::uint32_t channel = 0; channel < 2; ++channel) {
    for (std::uint32_t region = 0; region < 4; ++region) {
      const opennrt_mem_t whole = allocate(kRegion, false, channel, region);
      EXPECT_EQ(address(whole), inf1::kDramChannelBase[channel] + region * kRegion);
      opennrt_mem_params_t more{1, 0, false, channel, region, 1, OPENNRT_MEM_TENSORS_DEVICE};
      opennrt_mem_t memory = 0;
      EXPECT_EQ(device_->mem_alloc(more, memory), -ENOMEM) << "it borrows from no other region";
    }
  }
  opennrt_mem_params_t params{kRegion + 1, 0, false, 0, 4, 1, OPENNRT_MEM_TENSORS_DEVICE};
  opennrt_mem_t memory = 0;
  EXPECT_EQ(device_->mem_alloc(params, memory), -EINVAL);
}

TEST_F(SimDriver, givenARegionWhenMoreThanItHoldsIsAskedForThenThatIsRefusedThoughTheChannelIsEmpty) {
  opennrt_mem_params_t params{inf1::kDramChannelSize / 4 + 1, 0, false, 0, 0, 1, OPENNRT_MEM_TENSORS_DEVICE};
  opennrt_mem_t memory = 0;
  EXPECT_EQ(device_->mem_alloc(params, memory), -ENOMEM);
}

TEST_F(SimDriver, givenTheDevicesOfAChainWhenOneIsAskedThenItNamesItsEastNeighbourFirst) {
  opennrt_device_info_t info{};
  device_->info(info);
  ASSERT_EQ(info.connected_count, 2u);
  EXPECT_EQ(info.connected[0], 3u);
  EXPECT_EQ(info.connected[1], 1u);
  EXPECT_EQ(info.revision, inf1::kPciRevisionEmulator);
  EXPECT_EQ(info.dram_regions, 4u);
}

TEST_F(SimDriver, givenAnEngineWhenItsStateIsSetThenAllItsQueuesStopAndTheChipIsAskedForItsState) {
  const opennrt_mem_t memory = allocate(65536, false);
  std::vector<std::byte> bytes(65536, std::byte{3}), back(65536);
  constexpr std::uint32_t kEngine = 5;  // of core 1, with its copy ring
  EXPECT_EQ(state(kEngine).tx_state, OPENNRT_DMA_IDLE);
  EXPECT_EQ(state(kEngine).max_queues, 16u);
  ASSERT_EQ(device_->engine_set_state(kEngine, OPENNRT_DMA_ABORT), 0);
  EXPECT_EQ(state(kEngine).tx_state, OPENNRT_DMA_ABORT);
  EXPECT_EQ(state(kEngine).rx_state, OPENNRT_DMA_ABORT);
  EXPECT_EQ(state(kEngine + 1).tx_state, OPENNRT_DMA_IDLE);
  EXPECT_EQ(device_->mem_write(memory, 0, bytes.data(), bytes.size()), -EIO);
  ASSERT_EQ(device_->engine_set_state(kEngine, OPENNRT_DMA_NORMAL), 0);
  ASSERT_EQ(device_->mem_write(memory, 0, bytes.data(), bytes.size()), 0);
  ASSERT_EQ(device_->mem_read(memory, 0, back.data(), back.size()), 0);
  EXPECT_EQ(bytes, back);
  EXPECT_EQ(state(kEngine).tx_state, OPENNRT_DMA_IDLE);
  ASSERT_EQ(device_->engine_set_state(kEngine, OPENNRT_DMA_DISABLE), 0);
  EXPECT_EQ(state(kEngine).tx_state, OPENNRT_DMA_IDLE);
  EXPECT_EQ(device_->mem_write(memory, 0, bytes.data(), 64), -EIO);
  std::uint32_t request = 0;
  ASSERT_EQ(device_->reset_start(1u << 1, request), 0) << "a reset enables it again";
  EXPECT_EQ(device_->mem_write(memory, 0, bytes.data(), 64), 0);
  EXPECT_EQ(device_->engine_set_state(kEngine, OPENNRT_DMA_RESET), -EINVAL);
  EXPECT_EQ(device_->engine_set_state(12, OPENNRT_DMA_NORMAL), -EINVAL);
}

TEST_F(SimDriver, givenARingThatFillsAnInstructionFifoWhenItIsStartedThenThatIsAModelStarted) {
  const opennrt_mem_t code = allocate(64, true), rings[2] = {allocate(1024, true), allocate(1024, true)};
  const opennrt_queue_init_t init{3, 0, 64, 64, rings[0], rings[1]};
  ASSERT_EQ(device_->queue_init(init), 0);
  const auto descriptor = [](std::uint64_t at, std::uint32_t flags) {
    std::vector<std::byte> bytes(inf1::kDescriptorBytes);
    const std::uint32_t control = 64 | inf1::kInitialRingId << inf1::kDescRingIdShift | flags;
    std::memcpy(bytes.data(), &control, 4);
    std::memcpy(bytes.data() + 8, &at, 8);
    return bytes;
  };
  const auto count = [&](std::uint32_t core) {
    std::uint64_t value = 99;
    EXPECT_EQ(device_->model_started_count(core, value), 0);
    return value;
  };
  const auto tx = descriptor(address(code), inf1::kDescFirst | inf1::kDescLast);
  const auto act = descriptor(inf1::core_base(1) + inf1::chosen::kActFifoOffset, 0);
  const auto pe = descriptor((inf1::core_base(1) + inf1::kPeFifoOffset + 64) | inf1::kPort1, 0);
  ASSERT_EQ(device_->write_descriptors(rings[0], 0, tx, OPENNRT_QUEUE_TX), 0);
  ASSERT_EQ(device_->write_descriptors(rings[0], 16, pe, OPENNRT_QUEUE_TX), 0) << "a source starts nothing";
  ASSERT_EQ(device_->write_descriptors(rings[1], 0, act, OPENNRT_QUEUE_RX), 0);
  ASSERT_EQ(device_->queue_start(3, 0, 1, 1), 0);
  EXPECT_EQ(count(1), 0u) << "the driver looks at the PE's FIFO";
  ASSERT_EQ(device_->write_descriptors(rings[1], 16, pe, OPENNRT_QUEUE_RX), 0);
  EXPECT_EQ(count(1), 0u) << "written, not started";
  ASSERT_EQ(device_->queue_start(3, 0, 0, 1), 0);
  ASSERT_EQ(device_->queue_start(3, 0, 0, 1), 0);
  EXPECT_EQ(count(1), 2u);
  EXPECT_EQ(count(0), 0u);
  std::uint32_t request = 0;
  ASSERT_EQ(device_->reset_start(1u << 1, request), 0);
  EXPECT_EQ(count(1), 0u);
  std::uint64_t value = 0;
  EXPECT_EQ(device_->model_started_count(4, value), -EINVAL);
}

}  // namespace
}  // namespace opennrt::driver
