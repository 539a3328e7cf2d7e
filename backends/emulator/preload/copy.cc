// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/copy.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <algorithm>

#include "backends/emulator/preload/system.h"

namespace opennrt::emulator {
namespace {

void* pointer(std::uint64_t address) {
  return reinterpret_cast<void*>(address);
}

/// Where process_vm_readv is forbidden (a seccomp profile, a kernel without it): the bytes go through a pipe, because
/// read(2) and write(2) answer a bad address with EFAULT, too.
int copy_by_pipe(void* to, const void* from, std::size_t bytes) {
  int ends[2];
  if (const long r = system_call(SYS_pipe2, ends, O_CLOEXEC); r < 0) return static_cast<int>(r);
  auto* out = static_cast<char*>(to);
  const auto* in = static_cast<const char*>(from);
  int error = 0;
  for (std::size_t done = 0; done < bytes && error == 0;) {
    const long wrote = system_call(SYS_write, ends[1], in + done, std::min<std::size_t>(bytes - done, 4096));
    if (wrote < 0) {
      error = wrote == -EINTR ? 0 : -EFAULT;
      continue;
    }
    for (long left = wrote; left > 0 && error == 0;) {
      const long got = system_call(SYS_read, ends[0], out + done, static_cast<std::size_t>(left));
      if (got < 0) {
        error = got == -EINTR ? 0 : -EFAULT;
      } else {
        done += static_cast<std::size_t>(got);
        left -= got;
      }
    }
  }
  system_call(SYS_close, ends[0]);
  system_call(SYS_close, ends[1]);
  return error;
}

/// The kernel's answer to an ever shorter rest: a call moves as much as is mapped, and EFAULT when nothing was.
int transfer(long call, void* own, void* users, std::size_t bytes, bool to_user) {
  const auto self = static_cast<pid_t>(system_call(SYS_getpid));
  for (std::size_t done = 0; done < bytes;) {
    iovec mine{static_cast<char*>(own) + done, bytes - done};
    iovec theirs{static_cast<char*>(users) + done, bytes - done};
    const long n = system_call(call, self, &mine, 1ul, &theirs, 1ul, 0ul);
    if (n == -ENOSYS || n == -EPERM || n == -EACCES) {
      return to_user ? copy_by_pipe(theirs.iov_base, mine.iov_base, bytes - done)
                     : copy_by_pipe(mine.iov_base, theirs.iov_base, bytes - done);
    }
    if (n == -EINTR) continue;
    if (n <= 0) return -EFAULT;
    done += static_cast<std::size_t>(n);
  }
  return 0;
}

}  // namespace

int copy_from_user(void* to, std::uint64_t from, std::size_t bytes) {
  return bytes == 0 ? 0 : transfer(SYS_process_vm_readv, to, pointer(from), bytes, false);
}

int copy_to_user(std::uint64_t to, const void* from, std::size_t bytes) {
  return bytes == 0 ? 0 : transfer(SYS_process_vm_writev, const_cast<void*>(from), pointer(to), bytes, true);
}

}  // namespace opennrt::emulator
