// SPDX-License-Identifier: Apache-2.0
//
// One thread of a client: its socket, its window, its requests one after the other.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "backends/emulator/machine/machine.h"

namespace opennrt::emulator {

/// The shared memory beside a channel: a memfd of the client.
class ClientWindow {
 public:
  /// Takes over the descriptor. False: it is none that can be trusted: no memfd, not sealed against shrinking.
  bool take(int fd);
  ~ClientWindow();
  /// The first `bytes`; nothing when the file is shorter or they cannot be mapped.
  std::span<std::byte> map(std::uint64_t bytes);

 private:
  int fd_ = -1;
  std::byte* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};

/// Serves a channel until the client closes it or dies. The socket, which stays open, has said
/// ChannelHello; the reply to that, with the descriptor of the host memory, is sent first.
void serve_channel(Machine& machine, int socket, std::shared_ptr<Process> process, ClientWindow& window);

/// Sends a reply, with a descriptor if it is not negative. False: the client is not there any more.
bool send_reply(int socket, const Reply& reply, int descriptor = -1);

}  // namespace opennrt::emulator
