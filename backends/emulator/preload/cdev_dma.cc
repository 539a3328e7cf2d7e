// SPDX-License-Identifier: Apache-2.0
//
// DMA engines, queues, descriptors (neuron_cdev.c ncdev_dma_…).
#include <cerrno>

#include "backends/emulator/preload/cdev.h"
#include "backends/include/opennrt/backend.h"
#include "backends/neuron/abi.h"

namespace opennrt::emulator {
namespace {

namespace abi = neuron::abi;

constexpr std::uint64_t kDescriptorBytes = 16;
constexpr std::uint64_t kUnasked = 1 << 16;  ///< descriptors that are copied before the machine is asked about bounds

int init_queue(Call& call, const abi::DmaQueueInit& arg) {
  return call.ask(Op::kQueueInit, {arg.eng_id, arg.qid, arg.tx_desc_count, arg.rx_desc_count, arg.tx_handle,
                                   arg.rx_handle, arg.rxc_handle});
}

abi::DmaQueueState as_driver(const opennrt_queue_state_t& s) {
  abi::DmaQueueState out{};
  out.hw_status = s.hardware_status;
  out.sw_status = s.software_status;
  out.base_addr = s.base;
  out.length = s.length;
  out.head_pointer = s.head;
  out.tail_pointer = s.tail;
  return out;
}

struct QueueStates {
  opennrt_queue_state_t tx, rx;
};

}  // namespace

/// Does nothing, but only for those who may.
int dma_eng_init(Call& call) {
  return call.attached();
}

int dma_eng_set_state(Call& call) {
  abi::DmaEngSetState arg;
  if (const int r = call.get(arg); r != 0) return r;
  return call.ask(Op::kEngineSetState, {arg.eng_id, arg.state});
}

int dma_eng_get_state(Call& call) {
  abi::DmaEngGetState arg;
  if (const int r = call.get(arg); r != 0) return r;
  opennrt_dma_engine_state_t state;
  if (const int r = call.ask_for(state, Op::kEngineGetState, {arg.eng_id}); r != 0) return r;
  const abi::DmaEngState out{state.revision, state.max_queues, state.queues, state.tx_state, state.rx_state};
  return copy_to_user(arg.state, &out, sizeof(out));
}

int dma_queue_init(Call& call) {
  abi::DmaQueueInit arg;
  if (call.get(arg) != 0) return -EACCES;  // so the driver
  return init_queue(call, arg);
}

/// The queues before the one that fails stay initialised, as in the driver.
int dma_queue_init_batch(Call& call) {
  abi::DmaQueueInitBatch arg;
  if (call.get(arg) != 0) return -EACCES;
  if (arg.count >= abi::kMaxQueueInitBatch) return -E2BIG;
  for (std::uint32_t i = 0; i < arg.count; ++i) {
    if (const int r = init_queue(call, arg.entries[i]); r != 0) return r;
  }
  return 0;
}

int dma_queue_release(Call& call) {
  abi::DmaQueueRelease arg;
  if (const int r = call.get(arg); r != 0) return r;
  return call.ask(Op::kQueueRelease, {arg.eng_id, arg.qid});
}

int dma_queue_copy_start(Call& call) {
  abi::DmaQueueCopyStart arg;
  if (const int r = call.get(arg); r != 0) return r;
  return call.ask(Op::kQueueStart, {arg.eng_id, arg.qid, arg.tx_desc_count, arg.rx_desc_count});
}

int dma_ack_completed(Call& call) {
  abi::DmaAckCompleted arg;
  if (const int r = call.get(arg); r != 0) return r;
  return call.ask(Op::kQueueAck, {arg.eng_id, arg.qid, arg.count});
}

int dma_queue_get_state(Call& call) {
  abi::DmaQueueGetState arg;
  if (const int r = call.get(arg); r != 0) return r;
  QueueStates states;
  if (const int r = call.ask_for(states, Op::kQueueState, {arg.eng_id, arg.qid}); r != 0) return r;
  const abi::DmaQueueState tx = as_driver(states.tx), rx = as_driver(states.rx);
  if (const int r = copy_to_user(arg.tx, &tx, sizeof(tx)); r != 0) return r;
  return copy_to_user(arg.rx, &rx, sizeof(rx));
}

int dma_copy_descriptors(Call& call) {
  const auto copy = [&](auto arg) {
    if (const int r = call.get(arg); r != 0) return r;
    const std::uint64_t bytes = arg.num_descs * kDescriptorBytes;
    const auto in_bounds = [&] {
      if (const int r = call.ask(Op::kMemInfo, {arg.mem_handle}); r != 0) return r;
      const std::uint64_t size = call.session.v(2);
      return arg.offset <= size && bytes <= size - arg.offset ? 0 : -EINVAL;
    };
    if (arg.num_descs > kUnasked) {
      if (const int r = in_bounds(); r != 0) return r;
    }
    if (int r = call.fill(arg.buffer, bytes); r != 0) {
      const int bounds = in_bounds();  // which the driver looks at first
      return bounds != 0 ? bounds : r;
    }
    return call.ask(Op::kWriteDescriptors,
                    {arg.mem_handle, arg.offset, arg.num_descs, static_cast<std::uint64_t>(arg.queue_type)}, bytes);
  };
  if (call.command == abi::kDmaCopyDescriptors) return copy(abi::DmaCopyDescriptors{});
  if (call.command == abi::kDmaCopyDescriptors64) return copy(abi::DmaCopyDescriptors64{});
  return -EINVAL;
}

int dma_descriptor_copyout(Call& call) {
  abi::DmaDescriptorCopyout arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (arg.count == 0) return -EINVAL;
  if (arg.type != abi::QueueType::kTx && arg.type != abi::QueueType::kRx) return -EINVAL;
  const std::uint64_t bytes = arg.count * kDescriptorBytes;
  if (arg.count > kUnasked) {
    QueueStates states;
    if (const int r = call.ask_for(states, Op::kQueueState, {arg.eng_id, arg.qid}); r != 0) return -EINVAL;
    const std::uint64_t length = arg.type == abi::QueueType::kTx ? states.tx.length : states.rx.length;
    if (std::uint64_t{arg.start_index} + arg.count > length) return -EFBIG;
  }
  if (call.session.room(bytes) == nullptr) return -ENOMEM;
  if (const int r = call.ask(Op::kReadDescriptors,
                             {arg.eng_id, arg.qid, static_cast<std::uint64_t>(arg.type), arg.start_index, arg.count});
      r != 0) {
    return r;
  }
  if (call.session.reply().bytes < bytes) return -EPROTO;
  return copy_to_user(arg.buffer, call.session.window(), bytes);
}

/// The driver of today no longer does it: ENOIOCTLCMD, which reaches the caller as ENOTTY. Those before 2.17 (a choice)
/// are taken to do it.
int dma_quiesce_queues(Call& call) {
  if (call.machine.minor >= 17) return -ENOTTY;
  abi::DmaQuiesceQueues arg;
  if (const int r = call.get(arg); r != 0) return r;
  return call.core_exists(arg.nc_id) ? call.ask(Op::kQuiesce, {arg.nc_id}) : -EINVAL;
}

}  // namespace opennrt::emulator
