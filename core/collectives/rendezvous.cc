// SPDX-License-Identifier: Apache-2.0
#include "core/collectives/rendezvous.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

namespace opennrt::collectives {
namespace {

constexpr int kBacklog = 1024;  // all ranks of a machine at once

struct Address {
  sockaddr_un value{};
  socklen_t length = 0;
};

Address abstract_address(const std::string& what) {
  Address address;
  address.value.sun_family = AF_UNIX;
  const std::string name = fmt::format("opennrt-{}-{}", geteuid(), what);
  const std::size_t length = std::min(name.size(), sizeof(address.value.sun_path) - 1);
  std::memcpy(address.value.sun_path + 1, name.data(), length);  // sun_path[0] == 0: abstract
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  return address;
}

const sockaddr* generic(const Address& address) {
  return reinterpret_cast<const sockaddr*>(&address.value);
}

Descriptor new_socket(int domain, int type) {
  return Descriptor(socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

tl::unexpected<Error> refused(const char* what, int error) {
  return make_error(ErrorCode::kResource, "{}: {}", what, std::strerror(error));
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) close(fd_);
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

int Descriptor::release() {
  return std::exchange(fd_, -1);
}

Status check_local(const std::string& host) {
  if (host == "localhost") return {};  // by its name (RFC 6761, 6.3), on machines without /etc/hosts, too
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0) {
    return make_error(ErrorCode::kInvalidArgument, "host \"{}\" is not known ({}), expected this machine", host,
                      gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, &freeaddrinfo);
  for (const addrinfo* address = found; address != nullptr; address = address->ai_next) {
    // Only an address of this machine can be bound; nothing is ever received there.
    const Descriptor probe = new_socket(address->ai_family, SOCK_DGRAM);
    if (probe.get() >= 0 && bind(probe.get(), address->ai_addr, address->ai_addrlen) == 0) return {};
  }
  return make_error(ErrorCode::kUnsupported,
                    "host \"{}\" is another machine, expected this one: Inf1 has no collectives among machines", host);
}

Result<Descriptor> listen_at(const std::string& what) {
  Descriptor listener = new_socket(AF_UNIX, SOCK_STREAM);
  if (listener.get() < 0) return refused("socket", errno);
  const Address address = abstract_address(what);
  if (bind(listener.get(), generic(address), address.length) != 0) {
    if (errno == EADDRINUSE) return make_error(ErrorCode::kState, "{} is taken", what);
    return refused("bind", errno);
  }
  if (listen(listener.get(), kBacklog) != 0) return refused("listen", errno);
  return listener;
}

Result<Descriptor> connect_to(const std::string& what) {
  Descriptor connection = new_socket(AF_UNIX, SOCK_STREAM);
  if (connection.get() < 0) return refused("socket", errno);
  const Address address = abstract_address(what);
  if (connect(connection.get(), generic(address), address.length) != 0) {
    if (errno == ECONNREFUSED || errno == EAGAIN) return make_error(ErrorCode::kState, "nobody is at {}", what);
    return refused("connect", errno);
  }
  return connection;
}

Result<Descriptor> accept_from(int listener) {
  Descriptor connection(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (connection.get() >= 0) return connection;
  if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR) return make_error(ErrorCode::kState, "nobody waits");
  return refused("accept", errno);
}

Result<pid_t> peer_of(int socket) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return refused("SO_PEERCRED", errno);
  if (peer.uid != geteuid()) {
    return make_error(ErrorCode::kInvalidArgument, "process {} is of user {}, expected user {}", peer.pid, peer.uid,
                      geteuid());
  }
  return peer.pid;
}

Result<Descriptor> watch_process(pid_t pid) {
  // glibc 2.36 has pidfd_open; the system call needs nothing newer than the kernel (Linux 5.3).
  Descriptor watch(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (watch.get() >= 0) return watch;
  if (errno == ESRCH) return make_error(ErrorCode::kState, "process {} has ended", pid);
  return refused("pidfd_open", errno);
}

}  // namespace opennrt::collectives
