// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/machine/channel.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <new>

namespace opennrt::emulator {
namespace {

/// The largest window: more than the DRAM of a device, which nobody copies at once.
constexpr std::uint64_t kMaxWindow = 16ull << 30;

Reply serve(Machine& machine, Process& process, ClientWindow& window, const Request& request) {
  Reply reply;
  const std::span<std::byte> data = window.map(request.window);
  if (data.size() != request.window) {
    reply.error = -EINVAL;
    return reply;
  }
  if (Machine::looks_at_others(request.op)) machine.processes().sweep();
  if (!process.enter()) {
    reply.error = -ESRCH;
    return reply;
  }
  try {
    reply = machine.serve(process, request, {data});
  } catch (const std::bad_alloc&) {
    reply.error = -ENOMEM;
  } catch (const std::exception& error) {
    machine.log().error("serve", "request {}: {}", static_cast<std::uint32_t>(request.op), error.what());
    reply.error = -EIO;
  }
  process.leave();
  return reply;
}

}  // namespace

bool ClientWindow::take(int fd) {
  fd_ = fd;
  struct statfs where {};
  // What can shrink, or has pages that a machine may run out of (hugetlbfs), could stop the machine with SIGBUS.
  return fd >= 0 && ::fstatfs(fd, &where) == 0 && where.f_type == TMPFS_MAGIC &&
         (::fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK) != 0 && ::fcntl(fd, F_GET_SEALS) >= 0;
}

ClientWindow::~ClientWindow() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
  if (fd_ >= 0) ::close(fd_);
}

std::span<std::byte> ClientWindow::map(std::uint64_t bytes) {
  if (bytes <= bytes_) return {data_, bytes};
  struct stat status {};
  if (bytes > kMaxWindow || ::fstat(fd_, &status) != 0 || bytes > static_cast<std::uint64_t>(status.st_size)) return {};
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_, 0);
  if (data == MAP_FAILED) return {};
  if (data_ != nullptr) ::munmap(data_, bytes_);
  data_ = static_cast<std::byte*>(data);
  bytes_ = bytes;
  return {data_, bytes};
}

bool send_reply(int socket, const Reply& reply, int descriptor) {
  iovec part{const_cast<Reply*>(&reply), sizeof(reply)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptor >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(sizeof(reply));
}

void serve_channel(Machine& machine, int socket, std::shared_ptr<Process> process, ClientWindow& window) {
  bool there = send_reply(socket, Reply{}, machine.arena().descriptor());
  while (there) {
    Request request;
    iovec part{&request, sizeof(request)};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    // Without room for control data: descriptors that come along unasked are closed by the kernel.
    const ssize_t size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    Reply reply;
    if (size != static_cast<ssize_t>(sizeof(request)) || (message.msg_flags & MSG_TRUNC) != 0) {
      reply.error = -EINVAL;
    } else {
      reply = serve(machine, *process, window, request);
    }
    there = send_reply(socket, reply);
  }
}

}  // namespace opennrt::emulator
