// SPDX-License-Identifier: Apache-2.0
#include "core/vendor/self_binding.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace opennrt::vendor {
namespace {

// Relocations that hold the address of a symbol (System V ABI supplements of the processors).
#if defined(__x86_64__)
constexpr std::uint32_t kSlot = R_X86_64_JUMP_SLOT, kGlobal = R_X86_64_GLOB_DAT, kAbsolute = R_X86_64_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kSlot = R_AARCH64_JUMP_SLOT, kGlobal = R_AARCH64_GLOB_DAT, kAbsolute = R_AARCH64_ABS64;
#else
#error "which relocations does this machine have?"
#endif

struct Tables {
  std::uintptr_t base = 0;
  const Elf64_Sym* symbols = nullptr;
  const char* strings = nullptr;
  std::span<const Elf64_Rela> data, calls;
};

Tables tables_of(const link_map& map) {
  Tables tables;
  tables.base = map.l_addr;
  // glibc has added the base already, unless the section is read-only.
  const auto at = [&](Elf64_Addr address) { return address < map.l_addr ? address + map.l_addr : address; };
  std::uintptr_t data = 0, calls = 0;
  std::size_t data_bytes = 0, call_bytes = 0;
  for (const Elf64_Dyn* entry = map.l_ld; entry->d_tag != DT_NULL; ++entry) {
    switch (entry->d_tag) {
      case DT_SYMTAB:
        tables.symbols = reinterpret_cast<const Elf64_Sym*>(at(entry->d_un.d_ptr));
        break;
      case DT_STRTAB:
        tables.strings = reinterpret_cast<const char*>(at(entry->d_un.d_ptr));
        break;
      case DT_RELA:
        data = at(entry->d_un.d_ptr);
        break;
      case DT_RELASZ:
        data_bytes = entry->d_un.d_val;
        break;
      case DT_JMPREL:
        calls = at(entry->d_un.d_ptr);
        break;
      case DT_PLTRELSZ:
        call_bytes = entry->d_un.d_val;
        break;
      default:
        break;
    }
  }
  const auto table = [](std::uintptr_t begin, std::size_t bytes) {
    return begin == 0 ? std::span<const Elf64_Rela>()
                      : std::span(reinterpret_cast<const Elf64_Rela*>(begin), bytes / sizeof(Elf64_Rela));
  };
  tables.data = table(data, data_bytes);
  tables.calls = table(calls, call_bytes);
  return tables;
}

/// What the dynamic linker has made read-only after it had relocated it (PT_GNU_RELRO), writable for a while.
class WritableRelro {
 public:
  explicit WritableRelro(const link_map& map) {
    struct Wanted {
      const link_map* map;
      std::uintptr_t begin, end;
    } wanted{&map, 0, 0};
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* to) {
          auto& found = *static_cast<Wanted*>(to);
          if (info->dlpi_addr != found.map->l_addr || std::strcmp(info->dlpi_name, found.map->l_name) != 0) return 0;
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            const Elf64_Phdr& segment = info->dlpi_phdr[i];
            if (segment.p_type != PT_GNU_RELRO) continue;
            found.begin = info->dlpi_addr + segment.p_vaddr;
            found.end = found.begin + segment.p_memsz;
          }
          return 1;
        },
        &wanted);
    // glibc protects whole pages only, so both ends are rounded down (elf/dl-reloc.c).
    const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    begin_ = wanted.begin & ~(page - 1);
    end_ = wanted.end & ~(page - 1);
    if (end_ > begin_ && !protect(PROT_READ | PROT_WRITE)) error_ = errno;
  }
  ~WritableRelro() {
    if (end_ > begin_ && error_ == 0) (void)protect(PROT_READ);
  }
  WritableRelro(const WritableRelro&) = delete;
  WritableRelro& operator=(const WritableRelro&) = delete;
  int error() const { return error_; }

 private:
  bool protect(int access) const { return mprotect(reinterpret_cast<void*>(begin_), end_ - begin_, access) == 0; }
  std::uintptr_t begin_ = 0, end_ = 0;
  int error_ = 0;
};

}  // namespace

Result<std::size_t> bind_to_itself(void* handle, std::span<const char* const> names) {
  link_map* map = nullptr;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || map == nullptr)
    return make_error(ErrorCode::kUnsupported, "its link map cannot be had: {}", dlerror());
  const Tables tables = tables_of(*map);
  if (tables.symbols == nullptr || tables.strings == nullptr)
    return make_error(ErrorCode::kUnsupported, "it has no table of dynamic symbols");
  const WritableRelro writable(*map);
  if (writable.error() != 0)
    return make_error(ErrorCode::kUnsupported, "its relocated data cannot be changed: {}",
                      std::strerror(writable.error()));
  std::size_t changed = 0;
  for (const auto& table : {tables.data, tables.calls}) {
    for (const Elf64_Rela& relocation : table) {
      const auto index = ELF64_R_SYM(relocation.r_info);
      if (index == 0) continue;
      const Elf64_Sym& symbol = tables.symbols[index];
      if (symbol.st_shndx == SHN_UNDEF) continue;
      const std::string_view name(tables.strings + symbol.st_name);
      if (!std::binary_search(names.begin(), names.end(), name)) continue;
      const auto kind = static_cast<std::uint32_t>(ELF64_R_TYPE(relocation.r_info));
      if ((kind != kSlot && kind != kGlobal && kind != kAbsolute) || ELF64_ST_TYPE(symbol.st_info) != STT_FUNC) {
        return make_error(ErrorCode::kUnsupported,
                          "its own use of {} is a relocation of type {}, which is not known here", name, kind);
      }
      auto* slot = reinterpret_cast<std::uintptr_t*>(tables.base + relocation.r_offset);
      const std::uintptr_t own =
          tables.base + symbol.st_value + (kind == kAbsolute ? static_cast<std::uintptr_t>(relocation.r_addend) : 0);
      if (*slot == own) continue;
      __atomic_store_n(slot, own, __ATOMIC_RELEASE);
      ++changed;
    }
  }
  return changed;
}

}  // namespace opennrt::vendor
