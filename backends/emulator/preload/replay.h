// SPDX-License-Identifier: Apache-2.0
//
// The replayer of recorded conversations with /dev/neuron<N> (docs/ioctl-recording.md): a provider that answers from a
// transcript, as long as it is asked what was asked then.
#pragma once

#include <memory>
#include <string>

#include "backends/emulator/preload/provider.h"

namespace opennrt::emulator {

inline constexpr char kReplayVariable[] = "OPENNRT_IOCTL_REPLAY";  ///< the transcript
/// A file in which the processes of a replay are counted; `opennrt ioctl replay` makes it.
inline constexpr char kReplayStateVariable[] = "OPENNRT_IOCTL_REPLAY_STATE";

/// A transcript that cannot be read is reported on stderr at once, and every open answers EIO.
std::unique_ptr<Provider> make_replayer(std::string path);

}  // namespace opennrt::emulator
