// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/machine/requests.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "backends/emulator/machine/sysfs.h"
#include "backends/neuron/paravirtual.h"
#include "core/faults/plan.h"

namespace opennrt::emulator {

int Exchange::room(std::uint64_t bytes) {
  reply.bytes = bytes;
  return bytes <= window.data.size() ? 0 : -ENOBUFS;
}

int Exchange::out(const void* data, std::uint64_t bytes) {
  if (const int error = room(bytes); error != 0) return error;
  if (bytes != 0) std::memcpy(window.data.data(), data, bytes);
  return 0;
}

bool served_with_free_access(Op op) {
  switch (op) {
    case Op::kRangeMark:
    case Op::kRangeUnmark:
    case Op::kBdf:
    case Op::kPrint:
    case Op::kDeviceInfo:  // DEVICE_BASIC_INFO and DRIVER_INFO_GET
    case Op::kHello:
    case Op::kMmap:  // ncdev_mmap does not ask
    case Op::kUnmap:
      return true;
    default:
      return false;
  }
}

bool needs_no_device(Op op) {
  return op == Op::kRangeMark || op == Op::kRangeUnmark || op == Op::kPrint || op == Op::kBdf;
}

bool for_attached_only(Op op) {
  switch (op) {
    case Op::kCheckAttached:
    case Op::kMemAlloc:
    case Op::kMemFree:
    case Op::kMemCopy:
    case Op::kBarWrite:
    case Op::kNqInit:
    case Op::kEngineSetState:
    case Op::kQueueInit:
    case Op::kQueueAck:
    case Op::kQueueRelease:
    case Op::kWriteDescriptors:
    // What the driver does not have: only for those who have opened the device themselves.
    case Op::kWait:
    case Op::kConsume:
    case Op::kQuiesce:
    case Op::kMarker:
      return true;
    default:
      return false;
  }
}

int serve_machine(Exchange& exchange) {
  const Machine& machine = exchange.machine;
  if (exchange.request.op == Op::kSysfs) {
    const auto input = exchange.input();
    const std::string path(reinterpret_cast<const char*>(input.data()), input.size());
    std::string text;
    const int error = read_sysfs(exchange.machine, path.c_str(), text);  // up to a 0, if there is one
    if (error != 0 && error != -EISDIR) return error;
    const int too_long = exchange.out(text.data(), text.size());
    return too_long != 0 ? too_long : error;
  }
  const DriverVersion& version = machine.version();
  const driver::Config& config = machine.config();
  const std::uint64_t values[8] = {
      config.visible.size(),  config.cores_per_device, version.major,          version.minor,
      version.compatible_min, version.compatible_max,  machine.visible_mask(), 1};
  std::copy(std::begin(values), std::end(values), exchange.reply.v);
  std::string text =
      config.machine.instance.starts_with("inf1.") ? config.machine.instance : "inf1." + config.machine.instance;
  text += '\0';
  text += version.text + '\0';
  const int error = exchange.out(text.data(), text.size());
  return version.present ? error : -ENODEV;
}

namespace {

int hello(Exchange& exchange) {
  namespace paravirtual = neuron::paravirtual;
  opennrt_device_info_t info{};
  exchange.chip().info(info);
  paravirtual::Hello answer{};
  answer.version = paravirtual::kVersion;
  answer.open_isa_version = info.open_isa_version;
  answer.sbuf_bytes_per_partition = info.sbuf_bytes_per_partition;
  answer.psum_bytes_per_partition = info.psum_bytes_per_partition;
  std::memcpy(answer.instance_type, info.instance_type, sizeof(answer.instance_type));
  answer.fault_plan = faults::chip_identity(exchange.machine.config().machine.fault_plan);
  if (const int error = exchange.out(&answer, sizeof(answer)); error != 0) return error;
  if (exchange.word(0) != 0) exchange.process.paravirtual = true;  // version 0 only asks
  return 0;
}

int bdf(Exchange& exchange) {
  Node* of = exchange.machine.node(exchange.word(0));
  if (of == nullptr) return -EINVAL;
  opennrt_device_info_t info{};
  of->device().info(info);
  const std::uint64_t values[4] = {info.pci_domain, info.pci_bus, info.pci_slot, info.pci_function};
  std::copy(std::begin(values), std::end(values), exchange.reply.v);
  return 0;
}

}  // namespace

int serve_file(Exchange& exchange) {
  switch (exchange.request.op) {
    case Op::kCheckAttached:
      return 0;  // it is
    case Op::kHello:
      return hello(exchange);
    case Op::kDeviceInfo: {
      opennrt_device_info_t info{};
      exchange.chip().info(info);
      return exchange.out(&info, sizeof(info));
    }
    case Op::kBdf:
      return bdf(exchange);
    case Op::kApps: {
      const auto list = exchange.node->apps(exchange.a(0));
      return exchange.out(list.data(), list.size() * sizeof(AppInfo));
    }
    case Op::kPrint: {
      const auto input = exchange.input();
      exchange.machine.log().text(OPENNRT_LOG_ERROR, "printk",
                                  std::string(reinterpret_cast<const char*>(input.data()), input.size()));
      return 0;
    }
    case Op::kDsAcquire: {
      Allocation memory;
      const int error = exchange.node->ds_acquire(exchange.pid(), static_cast<pid_t>(exchange.a(0)), memory);
      exchange.reply.v[0] = memory.address;
      exchange.reply.v[1] = memory.bytes;
      return error;
    }
    case Op::kDsRelease:
      exchange.node->ds_release(exchange.pid(), static_cast<pid_t>(exchange.a(0)));
      return 0;
    default:
      break;
  }
  for (const auto serve : {serve_cores, serve_memory, serve_dma, serve_control}) {
    if (const int result = serve(exchange); result != -ENOTSUP) return result;
  }
  return -EINVAL;
}

int serve_cores(Exchange& exchange) {
  Reply& reply = exchange.reply;
  const auto lock = [&](opennrt_lock_mode_t mode, bool take) {
    const auto input = exchange.input();
    std::uint8_t uuid[32] = {};
    if (input.size() != sizeof(uuid)) return -EINVAL;
    std::memcpy(uuid, input.data(), sizeof(uuid));
    return take ? exchange.chip().core_lock(exchange.word(0), mode, uuid, exchange.pid())
                : exchange.chip().core_unlock(exchange.word(0), mode, uuid, exchange.pid());
  };
  switch (exchange.request.op) {
    case Op::kRangeMark: {
      opennrt_core_map_t taken{};
      std::uint32_t longest = 0;
      const int error = exchange.machine.marks().mark(exchange.pid(), exchange.word(0), exchange.word(1),
                                                      exchange.word(2), taken, longest);
      reply.v[0] = longest;
      if (error != 0) return error;
      const int too_small = exchange.out(&taken, sizeof(taken));
      if (too_small != 0) exchange.machine.marks().unmark(exchange.pid(), taken);
      return too_small;
    }
    case Op::kRangeUnmark: {
      const auto input = exchange.input();
      opennrt_core_map_t cores{};
      if (input.size() != sizeof(cores)) return -EINVAL;
      std::memcpy(&cores, input.data(), sizeof(cores));
      reply.v[0] = exchange.machine.marks().unmark(exchange.pid(), cores);
      return 0;
    }
    case Op::kReaderEnter:
      return lock(OPENNRT_LOCK_READ, true);
    case Op::kReaderExit:
      return lock(OPENNRT_LOCK_READ, false);
    case Op::kWriterEnter:
      return lock(OPENNRT_LOCK_WRITE, true);
    case Op::kWriterDowngrade:
      return lock(OPENNRT_LOCK_WRITE, false);
    case Op::kModelStarted:
      return exchange.chip().model_started_count(exchange.word(0), reply.v[0]);
    case Op::kInitState: {
      std::uint32_t now = 0;
      const int error = exchange.node->init_state(exchange.word(0), exchange.word(1), now, exchange.process.gone());
      reply.v[0] = now;
      return error;
    }
    default:
      return -ENOTSUP;
  }
}

}  // namespace opennrt::emulator
