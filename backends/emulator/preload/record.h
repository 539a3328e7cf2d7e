// SPDX-License-Identifier: Apache-2.0
//
// The recorder of conversations with /dev/neuron<N> (docs/ioctl-recording.md): a provider that hands every call on and
// writes down what was asked and answered.
#pragma once

#include <memory>
#include <string>

#include "backends/emulator/preload/provider.h"

namespace opennrt::emulator {

inline constexpr char kRecordVariable[] = "OPENNRT_IOCTL_RECORD";    ///< the transcript to append to
inline constexpr char kPayloadVariable[] = "OPENNRT_IOCTL_PAYLOAD";  ///< "yes": with the user's data

/// Nothing is written before the first call that concerns a device. Several processes may write one file: a line, with
/// what belongs to it, is appended by one write(2). Not for calls from signal handlers.
std::unique_ptr<Provider> make_recorder(std::unique_ptr<Provider> inner, std::string path);

/// The devices of this machine, as the kernel's driver gives them.
std::unique_ptr<Provider> make_real_devices();

}  // namespace opennrt::emulator
