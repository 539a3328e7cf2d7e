// SPDX-License-Identifier: Apache-2.0
//
// The requests of protocol.h one by one. Each function returns 0 or a negative errno for the reply.
#pragma once

#include <cstdint>
#include <span>

#include "backends/emulator/machine/machine.h"
#include "backends/emulator/machine/node.h"
#include "backends/emulator/machine/process.h"
#include "backends/emulator/machine/pump.h"
#include "backends/emulator/protocol.h"

namespace opennrt::emulator {

/// One request on its way to its reply.
struct Exchange {
  Machine& machine;
  Process& process;
  const Request& request;
  Window window;
  Reply reply;
  Node* node;            ///< null for requests that need none
  std::uint32_t device;  ///< of the file
  Pump& pump;

  std::uint64_t a(int index) const { return request.a[index]; }
  /// An argument that the driver has as 32 bits.
  std::uint32_t word(int index) const { return static_cast<std::uint32_t>(request.a[index]); }
  pid_t pid() const { return process.pid(); }
  driver::Device& chip() const { return node->device(); }
  std::span<std::byte> input() const { return window.data.first(request.bytes); }

  /// Room for `bytes` of output in the window: empty, with ENOBUFS for the reply, when there is less.
  int room(std::uint64_t bytes);
  int out(const void* data, std::uint64_t bytes);
  /// The program may be polling: let the machine run.
  void kick(std::uint32_t core) const {
    if (!process.paravirtual) pump.kick(node->device(), core);
  }
};

/// What ncdev_misc_ioctl serves on a file opened O_WRONLY.
bool served_with_free_access(Op op);
bool needs_no_device(Op op);
/// What ncdev_ioctl refuses to processes that have not opened the device (EACCES).
bool for_attached_only(Op op);

int serve_machine(Exchange& exchange);
int serve_file(Exchange& exchange);
// Each serves some operations; -ENOTSUP: it is none of them.
int serve_cores(Exchange& exchange);
int serve_memory(Exchange& exchange);
int serve_dma(Exchange& exchange);
int serve_control(Exchange& exchange);

}  // namespace opennrt::emulator
