// SPDX-License-Identifier: Apache-2.0
//
// Copies between memory of the device and of the caller (neuron_cdev.c).
#include <atomic>
#include <cerrno>

#include "backends/emulator/preload/cdev.h"
#include "backends/neuron/abi.h"
#include "core/isa/inf1.h"

namespace opennrt::emulator {
namespace {

namespace abi = neuron::abi;

constexpr std::uint64_t kUnasked = 1 << 20;  ///< so much is copied before the machine is asked whether it is in bounds

/// Is [offset, offset + bytes) within the allocation? 0 or -EINVAL (or why it cannot be known).
int in_bounds(const Call& call, std::uint64_t handle, std::uint64_t offset, std::uint64_t bytes) {
  if (const int r = call.ask(Op::kMemInfo, {handle}); r != 0) return r;
  const std::uint64_t size = call.session.v(2);
  return offset <= size && bytes <= size - offset ? 0 : -EINVAL;
}

int buffer_copy(Call& call, std::uint64_t handle, std::uint64_t buffer, std::uint64_t offset, std::uint64_t bytes,
                bool to_device) {
  if (bytes > kUnasked) {
    if (const int r = in_bounds(call, handle, offset, bytes); r != 0) return r;
  }
  if (to_device) {
    if (int r = call.fill(buffer, bytes); r != 0) {
      const int bounds = in_bounds(call, handle, offset, bytes);  // which the driver looks at first
      return bounds != 0 ? bounds : r;
    }
    return call.ask(Op::kMemWrite, {handle, offset, bytes}, bytes);
  }
  if (call.session.room(bytes) == nullptr) return -ENOMEM;
  if (const int r = call.ask(Op::kMemRead, {handle, offset, bytes}); r != 0) return r;
  if (call.session.reply().bytes < bytes) return -EPROTO;
  return copy_to_user(buffer, call.session.window(), bytes);
}

/// Asynchronous transfers under way, two for each device: what ASYNC_WAIT may wait for. The transfer itself is over
/// when the request that started it returns.
constinit std::atomic<std::uint8_t> in_use[64];

std::uint8_t bit(abi::CopyHandle handle) {
  return handle == abi::CopyHandle::kAsync1 ? 1 : handle == abi::CopyHandle::kAsync2 ? 2 : 0;
}

template <class T>
int async(Call& call) {
  T arg;
  if (const int r = call.get(arg); r != 0) return r;
  // The order of checks: handles and bounds, then the handle of the transfer before (neuron_dma.c).
  if (int r = in_bounds(call, arg.src_mem_handle, arg.src_offset, arg.size); r != 0) return r;
  if (int r = in_bounds(call, arg.dst_mem_handle, arg.dst_offset, arg.size); r != 0) return r;
  const auto before = static_cast<abi::CopyHandle>(arg.pwait_handle);
  abi::CopyHandle own;
  switch (before) {
    case abi::CopyHandle::kNone:
    case abi::CopyHandle::kAsync2:
      own = abi::CopyHandle::kAsync1;
      break;
    case abi::CopyHandle::kAsync1:
      own = abi::CopyHandle::kAsync2;
      break;
    case abi::CopyHandle::kSync:
      own = abi::CopyHandle::kSync;
      break;
    default:
      return -EINVAL;
  }
  if (const int r =
          call.ask(Op::kMemCopy, {arg.src_mem_handle, arg.src_offset, arg.dst_mem_handle, arg.dst_offset, arg.size});
      r != 0) {
    return r;
  }
  auto& bits = in_use[call.file.device % 64];
  bits.fetch_and(static_cast<std::uint8_t>(~bit(before)));  // waited for
  bits.fetch_or(bit(own));
  arg.wait_handle = static_cast<std::uint32_t>(own);
  return call.put(arg);
}

/// Where instructions go: the cores' part of the address map (v1/neuron_dhal_v1.c ncdev_mem_regions_v1,
/// v1/address_map.h).
bool programmable(const Call& call, std::uint64_t address, std::uint64_t bytes) {
  constexpr std::uint64_t kPerCore = 64 << 20;
  const std::uint64_t size = kPerCore * call.machine.cores_per_device;
  return address >= inf1::kTpbBase && address - inf1::kTpbBase <= size && bytes <= size - (address - inf1::kTpbBase);
}

int program(Call& call, std::uint64_t core, std::uint64_t destination, std::uint64_t buffer, std::uint64_t offset,
            std::uint64_t bytes) {
  // Nothing to copy is an allocation of 0 bytes in the driver.
  if (!programmable(call, destination + offset, bytes) || bytes == 0) return -ENOMEM;
  if (const int r = call.fill(buffer + offset, bytes); r != 0) return r;
  return call.ask(Op::kProgramEngine, {core, destination + offset, bytes}, bytes);
}

}  // namespace

int mem_copy(Call& call) {
  const auto copy = [&](auto arg) {
    if (const int r = call.get(arg); r != 0) return r;
    return call.ask(Op::kMemCopy, {arg.src_mem_handle, arg.src_offset, arg.dst_mem_handle, arg.dst_offset, arg.size});
  };
  if (call.command == abi::kMemCopy) return copy(abi::MemCopy{});
  if (call.command == abi::kMemCopy64) return copy(abi::MemCopy64{});
  return -EINVAL;
}

int mem_copy_async(Call& call) {
  if (call.command == abi::kMemCopyAsync) {
    if (const int r = call.attached(); r != 0) return r;
  }
  if (call.command == abi::kMemCopyAsync) return async<abi::MemCopyAsync>(call);
  if (call.command == abi::kMemCopyAsync64) return async<abi::MemCopyAsync64>(call);
  return -EINVAL;
}

int mem_copy_async_wait(Call& call) {
  if (const int r = call.attached(); r != 0) return r;
  abi::MemCopyAsyncWait arg;
  if (const int r = call.get(arg); r != 0) return r;
  if (const int r = in_bounds(call, arg.src_mem_handle, 0, 0); r != 0) return r;
  if (const int r = in_bounds(call, arg.dst_mem_handle, 0, 0); r != 0) return r;
  const std::uint8_t mine = bit(static_cast<abi::CopyHandle>(arg.pwait_handle));
  if (mine == 0) return -EINVAL;
  const std::uint8_t before = in_use[call.file.device % 64].fetch_and(static_cast<std::uint8_t>(~mine));
  return (before & mine) != 0 ? 0 : -EINVAL;
}

int mem_buf_copy(Call& call) {
  const auto copy = [&](auto arg) {
    if (const int r = call.get(arg); r != 0) return r;
    return buffer_copy(call, arg.mem_handle, arg.buffer, arg.offset, arg.size, arg.copy_to_mem_handle != 0);
  };
  if (call.command == abi::kMemBufCopy) return copy(abi::MemBufCopy{});
  if (call.command == abi::kMemBufCopy64) return copy(abi::MemBufCopy64{});
  return -EINVAL;
}

int mem_buf_zerocopy(Call& call) {
  abi::MemBufCopy64 arg;
  if (const int r = call.get(arg); r != 0) return r;
  return buffer_copy(call, arg.mem_handle, arg.buffer, arg.offset, arg.size, arg.copy_to_mem_handle != 0);
}

int program_engine(Call& call) {
  abi::ProgramEngine arg;
  if (const int r = call.get(arg); r != 0) return r;
  return program(call, 0, arg.dst, arg.buffer, arg.offset, arg.size);
}

int program_engine_nc(Call& call) {
  const auto run = [&](auto arg) {
    if (const int r = call.get(arg); r != 0) return r;
    return program(call, arg.nc_id, arg.dst, arg.buffer, arg.offset, arg.size);
  };
  if (call.command == abi::kProgramEngineNc) return run(abi::ProgramEngineNc{});
  if (call.command == abi::kProgramEngineNc64) return run(abi::ProgramEngineNc64{});
  return -EINVAL;
}

}  // namespace opennrt::emulator
