// SPDX-License-Identifier: Apache-2.0
//
// Plays the public kernel driver for one chip: the register writes, in its order, and the reads, all through the
// firmware's mailbox, of aws-neuron-driver neuron_fw_io.c, neuron_reset.c, udma/udma_main.c, udma/udma_iofic.c,
// udma/udma_m2m.c, neuron_ring.c, neuron_dma.c, neuron_nq.c and neuron_core.c as they act on this generation.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "simulator/firmware/crc32c.h"
#include "tests/unit/chip/testbench.h"

namespace opennrt::sim::test {

inline constexpr std::uint64_t kMillisecond = 1'000'000;

/// neuron_fw_io.c: requests and responses in host memory.
class FirmwareClient {
 public:
  FirmwareClient(Machine& machine, std::uint32_t device)
      : machine_(machine), device_(device), request_(machine, 0xffff), response_(machine, 0xffff) {}

  struct Answer {
    std::uint8_t error;
    std::vector<std::byte> data;
  };
  /// Nothing: no answer within the driver's second.
  std::optional<Answer> execute(std::uint8_t command, const void* data, std::size_t bytes,
                                std::uint32_t crc_error = 0) {
    write(inf1::kFwRequestLow, static_cast<std::uint32_t>(request_.address()));
    write(inf1::kFwRequestHigh, static_cast<std::uint32_t>(request_.address() >> 32));
    write(inf1::kFwResponseLow, static_cast<std::uint32_t>(response_.address()));
    write(inf1::kFwResponseHigh, static_cast<std::uint32_t>(response_.address() >> 32));
    if (++sequence_ == 0) sequence_ = 1;
    inf1::FwRequest header{sequence_, command, static_cast<std::uint16_t>(sizeof header + bytes), 0};
    std::memcpy(request_.data(), &header, sizeof header);
    if (bytes != 0) std::memcpy(request_.data() + sizeof header, data, bytes);
    header.crc32c = crc32c({request_.data(), header.bytes}) ^ crc_error;
    std::memcpy(request_.data(), &header, sizeof header);
    std::atomic_ref<std::uint8_t> arrived(*response_.as<std::uint8_t>());
    arrived.store(0);
    write(inf1::kFwDoorbell, 1);
    if (machine_.run_until([&] { return arrived.load() == sequence_; }, machine_.now_ns() + kSecond) !=
        Ran::kConditionMet) {
      return std::nullopt;
    }
    inf1::FwResponse answer;
    std::memcpy(&answer, response_.data(), sizeof answer);
    return Answer{answer.error, {response_.data() + sizeof answer, response_.data() + answer.bytes}};
  }

  /// Registers by their device addresses.
  std::optional<std::vector<std::uint32_t>> read(const std::vector<std::uint64_t>& addresses) {
    const auto answer = execute(inf1::kFwCommandRead, addresses.data(), addresses.size() * 8);
    if (!answer || answer->error != inf1::kFwOk || answer->data.size() != addresses.size() * 4) return std::nullopt;
    std::vector<std::uint32_t> values(addresses.size());
    std::memcpy(values.data(), answer->data.data(), answer->data.size());
    return values;
  }
  void write(std::uint32_t word, std::uint32_t value) { machine_.bar_write(device_, 0, inf1::kMiscRam + word, value); }

 private:
  Machine& machine_;
  const std::uint32_t device_;
  HostBuffer request_, response_;
  std::uint8_t sequence_ = 1;
};

class Driver {
 public:
  static constexpr std::uint64_t kDeviceResetDelay = 7 * kSecond, kCoreResetDelay = 3 * kSecond,
                                 kResetPoll = 500 * kMillisecond;
  static constexpr std::uint32_t kCopyDescriptors = 8192;  // neuron_ring.c: 4096, plus a cache line, to a power of two
  static constexpr std::uint32_t kDescriptorsPerBatch = 2031;  // neuron_dma.c: half of 4096 less 17

  explicit Driver(Machine& machine, std::uint32_t device = 0)
      : machine_(machine), device_(device), firmware_(machine, device) {}

  FirmwareClient& firmware() { return firmware_; }

  std::uint32_t read0(std::uint64_t offset) { return read(inf1::kApbBase + offset); }
  std::uint32_t read2(std::uint64_t offset) { return read(inf1::kTpbBase + offset); }
  std::uint32_t read(std::uint64_t address) {
    const auto values = firmware_.read({address});
    EXPECT_TRUE(values.has_value()) << std::hex << address;
    return values ? values->front() : 0xdead'beef;
  }
  std::uint32_t misc(std::uint32_t word) { return read0(inf1::kMiscRam + word); }

  /// neuron_reset.c and v1/neuron_dhal_v1.c. False: the driver would have given up or asked again.
  bool reset(bool whole_device, std::uint32_t core_map) {
    if (!whole_device) firmware_.write(inf1::kFwResetCores, core_map);
    firmware_.write(inf1::kFwReset, whole_device ? inf1::kFwResetDevice : inf1::kFwResetByMap);
    firmware_.write(inf1::kFwDoorbell, 1);
    sleep((whole_device ? kDeviceResetDelay : kCoreResetDelay) + kResetPoll);
    if (misc(inf1::kFwReset) != 0 || (misc(inf1::kFwStatus) & inf1::kFwReady) == 0) return false;
    firmware_.write(inf1::kFwDeviceId, device_);
    return true;
  }
  void sleep(std::uint64_t nanoseconds) {
    (void)machine_.run_until([] { return false; }, machine_.now_ns() + nanoseconds);
  }

  /// udma_m2m_init_engine and tdma_init_engine.
  void init_engine(std::uint32_t engine) {
    const std::uint64_t base = inf1::udma_base(engine), s2m = 0x2'0000, general = 0x3'8000, extra = 0x3'c000;
    const auto put = [&](std::uint64_t offset, std::uint32_t value) {
      machine_.bar_write(device_, 0, base + offset, value);
    };
    for (std::uint32_t q = 0; q < inf1::kQueuesPerDmaEngine; ++q) {
      put(queue_offset(q, true) + inf1::kQCfg, inf1::kQCfgEnable);
      put(queue_offset(q, false) + inf1::kQCfg, inf1::kQCfgEnable);
    }
    put(0x310, 1024 | 0x100 << 16);                             // data FIFO
    put(0x124, 128 | 128 << 8 | 128 << 16 | 32u << 24);         // outstanding reads and writes
    put(general + 0x2300, 100'000'000);                         // bus timeout
    put(0x408, 0);                                              // acknowledge timeout
    put(inf1::kM2sLengthCfg, 1u << 24 | inf1::kMaxPacketMask);  // length 0 is 64 KiB
    put(0x258, 1 << 1 | 1 << 8);                                // stream: threshold mode
    for (std::uint32_t q = 0; q < 16; ++q) put(extra + 0x400 + q * 0x40, 0xffff'ffff);
    put(s2m + 0x38c, 0);
    for (std::uint32_t q = 0; q < 16; ++q) {
      for (std::uint32_t i = 1; i <= 3; ++i) put(extra + 0x400 + q * 0x40 + i * 4, 0xffff'ffff);
    }
    put(s2m + 0x124, 128 | 0x40 << 16);
    put(s2m + 0x128, 128u | 0x40u << 8 | 128u << 16 | 0x40u << 24);
    put(general + 0x3460, 1);  // heads of completion rings are not reported
    unmask_errors(base + inf1::kM2sErrors, base + general, 0x0fff'ffff);
    unmask_errors(base + inf1::kS2mErrors, base + general, 0xffff'ef07);
    put(inf1::kS2mCompletionCfg1, 1 << 12 | 4);
    put(inf1::kM2sPrefetchCfg2, inf1::kDescPerPacket | 1 << 16);
    put(0x30c, inf1::kDescPerPacket << 8 | 8 << 4 | 1);
    const std::uint64_t tdma = engine / inf1::kDmaEnginesPerCore * inf1::kTdmaCoreStride +
                               engine % inf1::kDmaEnginesPerCore * inf1::kTdmaEngineStride;
    machine_.bar_write(device_, 0, tdma + 0x1c, 1);    // read reorder buffer on
    machine_.bar_write(device_, 0, tdma + 0x20, ~1u);  // write reorder buffer off
    machine_.bar_write(device_, 0, tdma + 0x0, 1);     // event acceleration on
  }

  static std::uint64_t queue_offset(std::uint32_t queue, bool tx) {
    return (tx ? inf1::kM2sQueues : inf1::kS2mQueues) + queue * inf1::kUdmaQueueStride;
  }

  /// udma_m2m_init_queue without a completion ring.
  void init_queue(std::uint32_t engine, std::uint32_t queue, std::uint64_t tx_ring, std::uint64_t rx_ring,
                  std::uint32_t descriptors) {
    constexpr std::uint32_t kBurst = 3u << 24;  // of the configuration's reset value
    for (const bool tx : {true, false}) {
      const std::uint64_t at = inf1::udma_base(engine) + queue_offset(queue, tx), ring = tx ? tx_ring : rx_ring;
      const auto put = [&](std::uint64_t offset, std::uint32_t value) {
        machine_.bar_write(device_, 0, at + offset, value);
      };
      put(inf1::kQCfg, kBurst);
      put(tx ? inf1::kM2sSwControl : inf1::kS2mSwControl, inf1::kQueueReset);
      put(inf1::kQBaseLow, static_cast<std::uint32_t>(ring));
      put(inf1::kQBaseHigh, static_cast<std::uint32_t>(ring >> 32));
      put(inf1::kQLength, descriptors);
      put(tx ? inf1::kM2sCompletionCfg : inf1::kS2mCompletionCfg, 0);
      put(inf1::kQCfg, kBurst | inf1::kQCfgEnable);
    }
  }

  void start(std::uint32_t engine, std::uint32_t queue, std::uint32_t count) {
    for (const bool tx : {false, true}) {
      machine_.bar_write(device_, 0, inf1::udma_base(engine) + queue_offset(queue, tx) + inf1::kQTailIncrement, count);
    }
  }

  /// nnq_set_hwaddr: base low, base high, size.
  static std::uint64_t notification_register(std::uint32_t core, inf1::NotificationType type, std::uint32_t engine) {
    using enum inf1::NotificationType;
    const std::uint64_t putils = inf1::kPutilsBase + core * inf1::kPutilsStride;
    switch (type) {
      case kTrace:
        return putils + inf1::kNqTraceBaseLow + engine * inf1::kNqEngineStride;
      case kNotify:
        return putils + inf1::kNqNotifyBaseLow + engine * inf1::kNqEngineStride;
      case kEvent:
        return putils + inf1::kNqEventBaseLow;
      case kError:
        return putils + inf1::kNqErrorBaseLow;
    }
    return 0;
  }
  void set_notifications(std::uint32_t core, inf1::NotificationType type, std::uint32_t engine, std::uint64_t address,
                         std::uint32_t bytes) {
    const std::uint64_t at = notification_register(core, type, engine);
    machine_.bar_write(device_, 0, at, static_cast<std::uint32_t>(address));
    machine_.bar_write(device_, 0, at + 4, static_cast<std::uint32_t>(address >> 32));
    machine_.bar_write(device_, 0, at + 8, bytes);
  }

  Machine& machine() { return machine_; }
  std::uint32_t device() const { return device_; }

 private:
  void unmask_errors(std::uint64_t group, std::uint64_t primary, std::uint32_t mask) {
    constexpr std::uint32_t kOnEdgeNoMsi = 1 << 3 | 1 << 5;
    const auto put = [&](std::uint64_t offset, std::uint32_t value) { machine_.bar_write(device_, 0, offset, value); };
    put(group + 0x28, kOnEdgeNoMsi);
    put(primary + 3 * 0x40 + 0x28, kOnEdgeNoMsi);
    put(group + 0x30, ~mask);
    put(group + 0x18, ~mask);
    put(primary + 3 * 0x40 + 0x18, ~0xffu);
  }

  Machine& machine_;
  const std::uint32_t device_;
  FirmwareClient firmware_;
};

/// neuron_dma.c over the driver's own ring of one core, or over any other queue.
class CopyQueue {
 public:
  CopyQueue(Driver& driver, std::uint32_t engine, std::uint32_t queue,
            std::uint32_t descriptors = Driver::kCopyDescriptors)
      : driver_(driver),
        engine_(engine),
        queue_(queue),
        count_(descriptors),
        tx_(driver.machine(), descriptors * inf1::kDescriptorBytes),
        rx_(driver.machine(), descriptors * inf1::kDescriptorBytes),
        completion_(driver.machine(), 8) {
    init();
  }
  void init() {
    driver_.init_queue(engine_, queue_, tx_.address(), rx_.address(), count_);
    next_ = 0;
    id_ = inf1::kInitialRingId;
  }

  /// ndma_memcpy: pieces of `piece` bytes, a barrier on the last, then the completion marker. False: the driver's time
  /// is up.
  bool copy(std::uint64_t from, std::uint64_t to, std::uint64_t bytes, std::uint32_t piece = inf1::kDescMaxBytes) {
    for (std::uint64_t offset = 0; offset < bytes;) {
      std::uint32_t pending = 0;
      for (bool done = false; !done; ++pending) {
        const auto part = static_cast<std::uint32_t>(std::min<std::uint64_t>(piece, bytes - offset));
        done = part == bytes - offset || pending == limit();
        put(from + offset, to + offset, part, done);
        offset += part;
      }
      if (!finish(pending)) return false;
    }
    return true;
  }
  void put(std::uint64_t from, std::uint64_t to, std::uint32_t bytes, bool barrier) {
    // udma_m2m.c, the driver's one value: first and last block, copy source data, operation 2.
    constexpr std::uint32_t kMeta = 1 | 1 << 1 | 1 << 19 | 2 << 23;
    const std::uint32_t length = (bytes & inf1::kDescLengthMask) | id_ << inf1::kDescRingIdShift;
    write(tx_, length | inf1::kDescFirst | inf1::kDescLast | (barrier ? inf1::kDescBarrier : 0), kMeta, from);
    write(rx_, length, 0, to);
    if (++next_ == count_) {
      next_ = 0;
      id_ = (id_ + 1) & 3;
    }
  }
  /// Adds the marker, rings and spins as long as the driver does on silicon.
  bool finish(std::uint32_t pending) {
    *completion_.as<std::uint32_t>(0) = 0xabcdef01;
    std::atomic_ref<std::uint32_t> arrived(*completion_.as<std::uint32_t>(4));
    arrived.store(0);
    put(completion_.address(0), completion_.address(4), 4, false);
    driver_.start(engine_, queue_, pending + 1);
    const std::uint64_t estimate = 16'000ull * pending;
    return driver_.machine().run_until([&] { return arrived.load() == 0xabcdef01; },
                                       driver_.machine().now_ns() + estimate * 1000) == Ran::kConditionMet;
  }
  std::uint64_t reg(bool tx, std::uint32_t offset) const {
    return inf1::udma_base(engine_) + Driver::queue_offset(queue_, tx) + offset;
  }
  std::uint32_t next() const { return next_; }
  std::uint32_t id() const { return id_; }

 private:
  std::uint32_t limit() const { return std::min(Driver::kDescriptorsPerBatch, count_ / 2 - 2); }
  void write(HostBuffer& ring, std::uint32_t control, std::uint32_t meta, std::uint64_t address) const {
    std::byte* at = ring.data() + next_ * inf1::kDescriptorBytes;
    std::memcpy(at, &control, 4);
    std::memcpy(at + 4, &meta, 4);
    std::memcpy(at + 8, &address, 8);
  }

  Driver& driver_;
  const std::uint32_t engine_, queue_, count_;
  HostBuffer tx_, rx_, completion_;
  std::uint32_t next_ = 0, id_ = inf1::kInitialRingId;
};

}  // namespace opennrt::sim::test
