// SPDX-License-Identifier: Apache-2.0
//
// copy_from_user and copy_to_user of the preload library: EFAULT instead of a crash, with and without process_vm_readv.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <numeric>
#include <vector>

#include "backends/emulator/preload/copy.h"

namespace opennrt::emulator {
namespace {

constexpr std::size_t kPage = 4096, kPages = 4;

/// Mapped pages with a hole after them, and one that can only be read.
struct Memory {
  Memory() {
    base = static_cast<std::uint8_t*>(
        ::mmap(nullptr, (kPages + 1) * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ::munmap(base + kPages * kPage, kPage);
  }
  ~Memory() { ::munmap(base, kPages * kPage); }
  std::uint64_t at(std::size_t offset) const { return reinterpret_cast<std::uint64_t>(base + offset); }
  std::uint8_t* base;
};

/// True when every promise of copy.h holds.
bool holds() {
  Memory memory;
  std::vector<std::uint8_t> in(3 * kPage + 100), out(in.size());
  std::iota(in.begin(), in.end(), std::uint8_t{1});
  bool good = copy_to_user(memory.at(50), in.data(), in.size()) == 0;
  good = good && copy_from_user(out.data(), memory.at(50), out.size()) == 0 && out == in;
  good = good && copy_from_user(out.data(), memory.at(kPages * kPage - 8), 16) == -EFAULT;
  good = good && copy_to_user(memory.at(kPages * kPage - 8), in.data(), 16) == -EFAULT;
  good = good && copy_from_user(out.data(), memory.at(kPages * kPage - 8), 8) == 0;
  good = good && copy_from_user(out.data(), 0, 1) == -EFAULT && copy_to_user(0, in.data(), 1) == -EFAULT;
  good = good && copy_from_user(out.data(), ~0ull - 3, 8) == -EFAULT;
  good = good && copy_from_user(out.data(), 0, 0) == 0;
  ::mprotect(memory.base, kPage, PROT_READ);
  good =
      good && copy_to_user(memory.at(0), in.data(), 8) == -EFAULT && copy_from_user(out.data(), memory.at(0), 8) == 0;
  ::mprotect(memory.base, kPage, PROT_NONE);
  return good && copy_from_user(out.data(), memory.at(0), 8) == -EFAULT;
}

TEST(PreloadCopy, givenMappedPartlyMappedAndUnmappedMemoryWhenCopiedThenAllOrEfault) {
  errno = 4711;
  EXPECT_TRUE(holds());
  EXPECT_EQ(errno, 4711);
}

TEST(PreloadCopy, givenASandboxThatForbidsProcessVmWhenCopiedThenTheSame) {
  const pid_t child = ::fork();
  if (child == 0) {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_writev, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
      ::_exit(77);
    }
    ::_exit(holds() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "this kernel has no seccomp filters";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace opennrt::emulator
