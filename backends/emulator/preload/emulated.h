// SPDX-License-Identifier: Apache-2.0
//
// The provider in front of the emulated machine of `opennrt emulate`.
#pragma once

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
  /// Opened with O_WRONLY: the driver's "free access", which serves the requests that need no device. It is bit 0 of
  /// the number, so that every process that holds the descriptor knows it.
  bool free_access() const { return (number & 1) != 0; }
};
OpenedFile opened_file(int fd);

}  // namespace opennrt::emulator
