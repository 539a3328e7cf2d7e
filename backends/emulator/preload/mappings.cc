// SPDX-License-Identifier: Apache-2.0
#include "backends/emulator/preload/mappings.h"

#include <sys/mman.h>
#include <array>
#include <atomic>
#include <cerrno>

#include "backends/emulator/preload/client.h"
#include "backends/emulator/preload/system.h"

namespace opennrt::emulator {
namespace {

constexpr std::size_t kPage = 4096;

/// A mapping of this process. Slots are claimed without a lock, so that no fork can leave one behind; a mapping that
/// finds no slot works all the same, only its end is not told.
struct Slot {
  std::atomic<const void*> address{nullptr};
  std::size_t bytes = 0;
  std::uint64_t file = 0, offset = 0;
  pid_t pid = 0;
};
constinit std::array<Slot, 4096> slots;
constinit std::atomic<unsigned> used{0};
const char kClaimed = 0;  ///< its address marks a slot that is being written

void remember(const void* address, std::size_t bytes, std::uint64_t file, std::uint64_t offset) {
  for (Slot& slot : slots) {
    const void* free = nullptr;
    if (!slot.address.compare_exchange_strong(free, &kClaimed)) continue;
    slot.bytes = bytes;
    slot.file = file;
    slot.offset = offset;
    slot.pid = static_cast<pid_t>(system_call(SYS_getpid));
    used.fetch_add(1, std::memory_order_relaxed);
    slot.address.store(address, std::memory_order_release);
    return;
  }
}

void* failed(int error) {
  errno = -error;
  return MAP_FAILED;
}

}  // namespace

void* map_device(const OpenedFile& file, void* address, std::size_t bytes, int protection, int flags, off_t offset) {
  if (bytes == 0 || static_cast<std::size_t>(offset) % kPage != 0) return failed(-EINVAL);
  if (bytes > SIZE_MAX - kPage) return failed(-ENOMEM);
  // What the kernel asks of every file before its driver (mm/mmap.c, do_mmap).
  const int kind = flags & MAP_TYPE;
  if (kind != MAP_SHARED && kind != MAP_PRIVATE && kind != MAP_SHARED_VALIDATE) return failed(-EINVAL);
  if (!file.readable() || (kind != MAP_PRIVATE && (protection & PROT_WRITE) != 0 && !file.writable()))
    return failed(-EACCES);
  const std::size_t whole = (bytes + kPage - 1) / kPage * kPage;
  Session session(true);
  const auto at = static_cast<std::uint64_t>(offset);
  if (const int r = session.call(Op::kMmap, file.number, {at, whole, (protection & PROT_WRITE) != 0}); r != 0) {
    return failed(r);
  }
  // Memory of another process is mapped without the right to write (neuron_mmap.c nmmap_mem).
  if (session.v(1) == 0) protection &= ~PROT_WRITE;
  const long mapped = system_call(SYS_mmap, address, bytes, protection, flags & ~MAP_ANONYMOUS, session.host_memory(),
                                  static_cast<unsigned long>(session.v(0)));
  if (mapped < 0 && mapped > -4096) return failed(static_cast<int>(mapped));
  void* result = reinterpret_cast<void*>(mapped);
  // VM_DONTCOPY and VM_DONTDUMP.
  system_call(SYS_madvise, result, whole, MADV_DONTFORK);
  system_call(SYS_madvise, result, whole, MADV_DONTDUMP);
  remember(result, whole, file.number, at);
  return result;
}

void unmapped(const void* address, std::size_t bytes) {
  if (used.load(std::memory_order_relaxed) == 0) return;
  const std::size_t whole = (bytes + kPage - 1) / kPage * kPage;
  for (Slot& slot : slots) {
    const void* at = slot.address.load(std::memory_order_acquire);
    if (at == nullptr || at != address || slot.bytes != whole) continue;
    const Slot* s = &slot;
    const std::uint64_t file = s->file, offset = s->offset;
    const bool own = s->pid == static_cast<pid_t>(system_call(SYS_getpid));
    if (!slot.address.compare_exchange_strong(at, nullptr)) continue;
    used.fetch_sub(1, std::memory_order_relaxed);
    if (own) Session().call(Op::kUnmap, file, {offset, whole});
    return;
  }
}

}  // namespace opennrt::emulator
