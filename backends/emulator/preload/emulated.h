// SPDX-License-Identifier: Apache-2.0
//
// The provider in front of the emulated machine of `opennrt emulate`.
#pragma once

#include <fcntl.h>

#include <cstdint>
#include <memory>

#include "backends/emulator/preload/provider.h"
#include "backends/emulator/protocol.h"

namespace opennrt::emulator {

std::unique_ptr<Provider> make_emulated_machine(const char* socket_path);

/// What the abstract name of a descriptor says (protocol.h).
struct OpenedFile {
  int device = -1;  ///< -1: the descriptor is none of ours
  std::uint64_t number = 0;
  /// O_ACCMODE of open(2): the last bits of the number, so that every process that holds the descriptor knows them.
  unsigned mode() const { return static_cast<unsigned>(number & O_ACCMODE); }
  /// The driver's "free access", which serves the requests that need no device: the bit of O_WRONLY, which the mode 3 has
  /// as well (neuron_cdev.c, IS_NEURON_DEVICE_FREE_ACCESS).
  bool free_access() const { return (mode() & O_WRONLY) != 0; }
  bool readable() const { return mode() == O_RDONLY || mode() == O_RDWR; }
  bool writable() const { return mode() == O_WRONLY || mode() == O_RDWR; }
};
OpenedFile opened_file(int fd);

}  // namespace opennrt::emulator
