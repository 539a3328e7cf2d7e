// SPDX-License-Identifier: Apache-2.0
//
// How processes of one machine find each other: names of sockets.
#pragma once

#include <sys/types.h>

#include <string>

#include "core/common/error.h"

namespace opennrt::collectives {

/// Whether `host`, a name or an address, is this machine. kUnsupported: it is another one. kInvalidArgument: nobody knows it.
/// Asks the resolver, which may take time.
Status check_local(const std::string& host);

/// A descriptor, closed by the destructor.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  int get() const { return fd_; }
  int release();

 private:
  int fd_;
};

// Sockets of the abstract namespace (unix(7)): no file, gone with the process; names are of a user, and either side makes sure
// that the other is of the same user. None survives exec(2).

/// kState: somebody has the name. kResource.
Result<Descriptor> listen_at(const std::string& what);
/// kState: nobody has the name, or is too busy; try again. kResource.
Result<Descriptor> connect_to(const std::string& what);
/// kState: nobody is waiting any more. kResource.
Result<Descriptor> accept_from(int listener);
/// Process at the other end. kInvalidArgument: it is of another user.
Result<pid_t> peer_of(int socket);
/// A descriptor that becomes readable when the process ends; kState: it has ended; kResource: the kernel does not say.
Result<Descriptor> watch_process(pid_t pid);

}  // namespace opennrt::collectives
