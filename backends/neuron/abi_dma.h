// SPDX-License-Identifier: Apache-2.0
//
// Requests of the Neuron kernel driver about DMA engines, queues and descriptors, from aws-neuron-driver neuron_ioctl.h and
// share/neuron_driver_shared.h (2.24.7.0). Conventions: abi_memory.h.
#pragma once

#include "backends/neuron/abi_memory.h"

namespace opennrt::neuron::abi {

struct DmaEngInit {  // deprecated: does nothing
  std::uint32_t eng_id;
};
static_assert(sizeof(DmaEngInit) == 4);

struct DmaEngSetState {
  std::uint32_t eng_id, state;
};
static_assert(sizeof(DmaEngSetState) == 8);

struct DmaEngGetState {
  std::uint32_t eng_id, hole;
  UserPointer state;  ///< DmaEngState
};
static_assert(sizeof(DmaEngGetState) == 16 && offsetof(DmaEngGetState, state) == 8);

struct DmaEngState {
  std::uint32_t revision_id, max_queues, num_queues, tx_state, rx_state;
};
static_assert(sizeof(DmaEngState) == 20);

struct DmaQueueInit {
  std::uint32_t eng_id, qid, tx_desc_count, rx_desc_count;
  std::uint64_t tx_handle, rx_handle, rxc_handle;  ///< 0: no such ring
  std::uint32_t axi_port, hole;
};
static_assert(sizeof(DmaQueueInit) == 48 && offsetof(DmaQueueInit, tx_handle) == 16 &&
              offsetof(DmaQueueInit, axi_port) == 40);

inline constexpr std::uint32_t kMaxQueueInitBatch = 256;  ///< the driver takes one less (neuron_cdev.c)
struct DmaQueueInitBatch {
  std::uint32_t count, hole;
  DmaQueueInit entries[kMaxQueueInitBatch];
};
static_assert(sizeof(DmaQueueInitBatch) == 12296 && offsetof(DmaQueueInitBatch, entries) == 8);

struct DmaQueueRelease {
  std::uint32_t eng_id, qid;
};
static_assert(sizeof(DmaQueueRelease) == 8);

inline constexpr std::uint32_t kQuiesceMaxEngines = 64;
struct DmaQuiesceQueues {
  std::uint32_t nc_id, engine_count, queue_mask[kQuiesceMaxEngines];
};
static_assert(sizeof(DmaQuiesceQueues) == 264);

struct DmaAckCompleted {
  std::uint32_t eng_id, qid, count;
};
static_assert(sizeof(DmaAckCompleted) == 12);

struct DmaQueueCopyStart {
  std::uint32_t eng_id, qid, tx_desc_count, rx_desc_count;
};
static_assert(sizeof(DmaQueueCopyStart) == 16);

struct DmaQueueGetState {
  std::uint32_t eng_id, qid;
  UserPointer tx, rx;  ///< DmaQueueState
};
static_assert(sizeof(DmaQueueGetState) == 24);

struct DmaQueueState {
  std::uint32_t hw_status, sw_status;
  std::uint64_t base_addr;
  std::uint32_t length, head_pointer, tail_pointer, hole;
  std::uint64_t completion_base_addr;
  std::uint32_t completion_head, hole2;
};
static_assert(sizeof(DmaQueueState) == 48 && offsetof(DmaQueueState, base_addr) == 8 &&
              offsetof(DmaQueueState, completion_base_addr) == 32);

enum class QueueType : std::uint32_t { kTx = 0, kRx = 1, kCompletion = 2 };

struct DmaCopyDescriptors {
  std::uint64_t mem_handle;
  UserPointer buffer;
  std::uint32_t num_descs, offset;  ///< offset in bytes
  QueueType queue_type;
  std::uint32_t hole;
};
static_assert(sizeof(DmaCopyDescriptors) == 32 && offsetof(DmaCopyDescriptors, queue_type) == 24);

struct DmaCopyDescriptors64 {
  std::uint64_t mem_handle;
  UserPointer buffer;
  std::uint32_t num_descs, hole;
  std::uint64_t offset;
  QueueType queue_type;
  std::uint32_t hole2;
};
static_assert(sizeof(DmaCopyDescriptors64) == 40 && offsetof(DmaCopyDescriptors64, offset) == 24);

struct DmaDescriptorCopyout {
  std::uint32_t eng_id, qid;
  QueueType type;
  std::uint32_t start_index, count, hole;
  UserPointer buffer;
};
static_assert(sizeof(DmaDescriptorCopyout) == 32 && offsetof(DmaDescriptorCopyout, buffer) == 24);

inline constexpr unsigned long kDmaEngInit = _IOR('N', 30, DmaEngInit*);
inline constexpr unsigned long kDmaEngSetState = _IOR('N', 31, DmaEngSetState*);
inline constexpr unsigned long kDmaEngGetState = _IOWR('N', 32, DmaEngGetState*);
inline constexpr unsigned long kDmaQueueInit = _IOR('N', 33, DmaQueueInit*);
inline constexpr unsigned long kDmaQueueInitBatch = _IOR('N', 133, DmaQueueInitBatch);
inline constexpr unsigned long kDmaQueueRelease = _IOR('N', 34, DmaQueueRelease*);
inline constexpr unsigned long kDmaQueueCopyStart = _IOR('N', 35, DmaQueueCopyStart*);
inline constexpr unsigned long kDmaAckCompleted = _IOR('N', 36, DmaAckCompleted*);
inline constexpr unsigned long kDmaQueueGetState = _IOWR('N', 37, DmaQueueGetState*);
inline constexpr unsigned long kDmaCopyDescriptors = _IOR('N', 38, DmaCopyDescriptors*);
inline constexpr unsigned long kDmaCopyDescriptors64 = _IOR('N', 38, DmaCopyDescriptors64);
inline constexpr unsigned long kDmaDescriptorCopyout = _IOWR('N', 39, DmaDescriptorCopyout*);
inline constexpr unsigned long kDmaQuiesceQueues = _IOR('N', 40, DmaQuiesceQueues*);

}  // namespace opennrt::neuron::abi
